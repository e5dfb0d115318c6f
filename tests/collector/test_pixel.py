"""`GET /pixel.gif`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

    from streams.collector.campaigns import CampaignBook
    from tests.collector.conftest import MemoryLog

NOW = 1_790_000_000_000
TOUCH = {"type": "landing", "site": "shop", "url": "https://shop.example/?utm_source=x"}


async def get(client: httpx.AsyncClient, parameters: dict[str, Any], **headers: str) -> httpx.Response:
    answer = await client.get("/pixel.gif", params=parameters, headers=headers)
    assert len(answer.content) == 43
    assert answer.content.startswith(b"GIF89a")
    assert answer.headers["content-type"] == "image/gif"
    assert "no-store" in answer.headers["cache-control"]
    return answer


async def test_bare_touch_is_completed(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Event id, time and visitor are made where the address does not state them; the visitor gets a cookie."""
    answer = await get(client, TOUCH)
    [record] = events.records
    value = json.loads(record.value)
    assert (value["time"], value["site"], value["url"]) == (NOW, "shop", TOUCH["url"])
    assert len(value["event_id"]) == 36
    assert record.key == value["visitor_id"]
    assert answer.headers["set-cookie"].startswith(
        f"hw_vid={record.key}; Max-Age=34560000; Path=/; HttpOnly; SameSite=Lax"
    )


async def test_no_cookie_before_the_registry_is_read(
    client: httpx.AsyncClient, events: MemoryLog, book: CampaignBook
) -> None:
    """A site's default may be denial, and nobody knows yet; a visitor who has granted it may be remembered."""
    book.ready = False
    answer = await get(client, {"type": "click", "site": "shop"})
    assert "set-cookie" not in answer.headers
    assert len(events.records) == 1
    answer = await get(client, {"type": "click", "site": "shop", "consent": "granted"})
    assert "set-cookie" in answer.headers


async def test_stated_values_hold(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Numbers in the address are numbers in the event; a stated visitor needs no cookie."""
    answer = await get(client, TOUCH | {"event_id": "e1", "visitor_id": "v1", "time": str(NOW - 5), "cost": "0.10"})
    value = json.loads(events.records[0].value)
    assert (value["event_id"], value["visitor_id"], value["time"], value["cost"]) == ("e1", "v1", NOW - 5, "0.10")
    assert "set-cookie" not in answer.headers


async def test_cookie_names_the_visitor(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A visitor who came before is the same one."""
    await get(client, TOUCH, cookie="a=b; hw_vid=v-7; c=d")
    assert events.records[0].key == "v-7"


@pytest.mark.parametrize("cookie", ["hw_vid=", "hw_vid=a b", "hw_vid=<script>", "hw_vid=" + "x" * 129])
async def test_odd_cookie_is_no_visitor(client: httpx.AsyncClient, events: MemoryLog, cookie: str) -> None:
    """A cookie that we can't have set is not taken."""
    await get(client, TOUCH, cookie=cookie)
    assert len(str(events.records[0].key)) == 32


async def test_unknown_buyer_stays_unmatched(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A conversion without cookie gets no made-up visitor, which would hide the one that the server states."""
    order = {"type": "conversion", "site": "shop", "action": "purchase", "order_id": "o1", "value": "12.50"}
    await get(client, order)
    await get(client, order, cookie="hw_vid=v1")
    first, second = (json.loads(record.value) for record in events.records)
    assert "visitor_id" not in first
    assert second["visitor_id"] == "v1"
    assert [record.key for record in events.records] == ["o1", "o1"]


async def test_denied_consent_sets_no_cookie(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Each event stands alone, whatever cookie there is; only the denial itself names its visitor, and ends it."""
    for _ in range(2):
        answer = await get(client, TOUCH | {"consent": "denied"}, cookie="hw_vid=v1")
        assert "set-cookie" not in answer.headers
    assert len({"v1", *(record.key for record in events.records)}) == 3
    answer = await get(client, {"type": "consent", "site": "shop", "consent": "denied"}, cookie="hw_vid=v1")
    assert answer.headers["set-cookie"].startswith("hw_vid=; Max-Age=0;")
    assert events.records[-1].key == "v1"


@pytest.mark.parametrize("kind", ["landing", "conversion"])
async def test_global_privacy_control(client: httpx.AsyncClient, events: MemoryLog, kind: str) -> None:
    """Is a denial, whatever the address says of consent; a consent that is granted all the same sets no cookie."""
    stated = TOUCH | {"type": kind, "action": "purchase", "consent": "granted"}
    answer = await get(client, stated, cookie="hw_vid=v1", **{"sec-gpc": "1"})
    value = json.loads(events.records[0].value)
    assert value["consent"] == "denied"
    assert "v1" not in json.dumps(value)
    assert not {"ip", "click_id"} & value.keys()
    assert "set-cookie" not in answer.headers
    answer = await get(client, {"type": "consent", "site": "shop", "consent": "granted"}, **{"sec-gpc": "1"})
    assert json.loads(events.records[1].value)["consent"] == "granted"
    assert "set-cookie" not in answer.headers


async def test_secure_cookie_behind_https(proxied: httpx.AsyncClient) -> None:
    """Where the browser spoke https, its cookie never travels in the clear."""
    answer = await get(proxied, TOUCH, **{"x-forwarded-proto": "https"})
    assert answer.headers["set-cookie"].endswith("; Secure")


async def test_refused_event_is_kept(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A page's image must not look broken; what is wrong is in ``dead-letters``, ready to be replayed."""
    answer = await get(client, {"type": "landing", "visitor_id": "v1"})
    assert answer.status_code == 200
    [record] = events.records
    assert record.topic == "dead-letters"
    assert json.loads(record.value)["visitor_id"] == "v1"
    assert dict(record.headers or [])["reason"] == b"schema"


async def test_flood_of_parameters(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """More than 100 parameters are not read, but kept."""
    await get(client, {f"p{number}": "1" for number in range(101)} | {"ip": "192.0.2.99"})
    assert events.records[0].value.startswith(b"p0=1&p1=1&")
    assert b"192.0.2.99" not in events.records[0].value
    assert dict(events.records[0].headers or [])["reason"] == b"malformed"


async def test_not_kept(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """503 where the event can't be kept, and a GIF all the same."""
    events.down = True
    assert (await get(client, TOUCH)).status_code == 503
