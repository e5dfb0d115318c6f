"""`POST /events`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

    from tests.collector.conftest import MemoryLog

NOW = 1_790_000_000_000


def touch(**fields: Any) -> dict[str, Any]:
    return {"event_id": "e1", "type": "click", "time": NOW - 1000, "site": "shop", "visitor_id": "v1"} | fields


def conversion(**fields: Any) -> dict[str, Any]:
    stated = {"event_id": "c1", "type": "conversion", "time": NOW - 1000, "site": "shop", "action": "purchase"}
    return stated | fields


async def test_event_is_kept_as_stated(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """The value is the event with all its fields, unknown ones too, and when and from where it came."""
    stated = touch(cost="0.25", currency="USD", colour="red", url=None)
    answer = await client.post("/events", json=stated, headers={"user-agent": "Browser/1"})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": []})
    [record] = events.records
    assert json.loads(record.value) == stated | {"received_at": NOW, "ip": "203.0.113.7", "user_agent": "Browser/1"}
    assert (record.topic, record.key, record.time) == ("clicks", "v1", NOW)


async def test_stated_origin_stays_but_receipt_is_ours(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A server may state its visitor's address and browser; nobody states when we received."""
    await client.post("/events", json=touch(ip="198.51.100.1", user_agent="Phone/2", received_at=5))
    value = json.loads(events.records[0].value)
    assert (value["ip"], value["user_agent"], value["received_at"]) == ("198.51.100.1", "Phone/2", NOW)


@pytest.mark.parametrize(
    ("event", "topic", "key"),
    [
        (touch(type="impression"), "clicks", "v1"),
        (touch(type="consent", consent="denied"), "clicks", "v1"),
        (touch(type="verdict", touch_event_id="e0", valid=False), "clicks", "v1"),
        (conversion(order_id="o1", visitor_id="v1"), "conversions", "o1"),
        (conversion(), "conversions", "c1"),
        (conversion(type="adjustment", adjustment="retract", order_id="o1"), "conversions", "o1"),
        (conversion(type="adjustment", adjustment="retract", conversion_event_id="c0"), "conversions", "c0"),
        (
            {"event_id": "k", "type": "cost", "time": NOW, "site": "shop", "campaign": "spring", "cost": 3}
            | {"date": "2026-09-20"},
            "costs",
            "spring",
        ),
    ],
)
async def test_topic_and_key(
    client: httpx.AsyncClient, events: MemoryLog, event: dict[str, Any], topic: str, key: str
) -> None:
    """Every kind goes to its topic, under the key that decides its partition (contract, section 1)."""
    answer = await client.post("/events", json=event)
    assert answer.json() == {"accepted": 1, "rejected": []}
    assert [(record.topic, record.key) for record in events.records] == [(topic, key)]


async def test_beacons_text(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """`navigator.sendBeacon` sends text/plain; the body is what counts."""
    answer = await client.post(
        "/events", content=json.dumps([touch(), conversion()]), headers={"content-type": "text/plain;charset=UTF-8"}
    )
    assert answer.json() == {"accepted": 2, "rejected": []}
    assert [record.topic for record in events.records] == ["clicks", "conversions"]


async def test_bad_event_leaves_neighbours_alone(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """What is refused is named by its index, and kept with its very bytes; the others are accepted."""
    body = f'[{json.dumps(touch())}, 7 ,{{"type" :"click","n": 1.50}} , {json.dumps(touch(event_id="e2"))}]'
    answer = (await client.post("/events", content=body)).json()
    assert answer["accepted"] == 2
    assert [(refused["index"], refused["reason"]) for refused in answer["rejected"]] == [
        (1, "malformed"),
        (2, "schema"),
    ]
    assert [record.value for record in events.of("dead-letters")] == [b"7", b'{"type" :"click","n": 1.50}']
    headers = dict(events.of("dead-letters")[1].headers or [])
    assert len(headers.pop("id")) == 16
    assert headers == {
        "reason": b"schema",
        "detail": answer["rejected"][1]["detail"].encode(),
        "topic": b"http",
        "partition": b"",
        "offset": b"",
        "time": str(NOW).encode(),
    }


@pytest.mark.parametrize("name", ["event_id", "time", "visitor_id", "site", "type"])
async def test_producer_states_the_essentials(client: httpx.AsyncClient, events: MemoryLog, name: str) -> None:
    """What identifies an event is not made up here: a retry could not repeat it."""
    event = touch()
    del event[name]
    answer = await client.post("/events", json=event)
    assert answer.status_code == 202
    assert [refused["reason"] for refused in answer.json()["rejected"]] == ["schema"]
    assert [record.topic for record in events.records] == ["dead-letters"]


@pytest.mark.parametrize(("time", "reason"), [(NOW - 8 * 86_400_000, "too_old"), (NOW + 11 * 60_000, "in_future")])
async def test_age(client: httpx.AsyncClient, time: int, reason: str) -> None:
    """Age is judged as the worker judges it."""
    answer = await client.post("/events", json=touch(time=time))
    assert [refused["reason"] for refused in answer.json()["rejected"]] == [reason]


async def test_large_event_leaves_neighbours_alone(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """64 KiB an event; larger ones are refused each for itself, alone or in an array."""
    large = touch(event_id="big", pad="x" * 66_000)
    answer = (await client.post("/events", json=[touch(), large, touch(event_id="e2")])).json()
    assert (answer["accepted"], answer["rejected"][0]["reason"]) == (2, "too_large")
    answer = (await client.post("/events", json=large)).json()
    assert (answer["accepted"], answer["rejected"][0]["reason"]) == (0, "too_large")
    assert [json.loads(record.value)["event_id"] for record in events.of("dead-letters")] == ["big", "big"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"3", b'"text"', b"null", b"[" * 900 + b"]" * 900])
async def test_unreadable_body(client: httpx.AsyncClient, events: MemoryLog, body: bytes) -> None:
    """400, and the bytes are kept."""
    answer = await client.post("/events", content=body)
    assert answer.status_code in {400, 202}
    assert [record.value for record in events.of("dead-letters")] == [body if answer.status_code == 400 else body[1:-1]]
    assert not events.of("clicks")


async def test_too_many_events(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """An array of more than 500 is refused as a whole, and kept."""
    events_sent = [touch(event_id=f"e{number}") for number in range(501)]
    answer = await client.post("/events", json=events_sent)
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
    [record] = events.records
    assert (record.topic, json.loads(record.value)) == ("dead-letters", events_sent)
    assert (await client.post("/events", json=events_sent[:500])).json()["accepted"] == 500


async def test_large_body(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A body over the limit is not read to its end; its first bytes are kept."""
    answer = await client.post("/events", content=b" " * 8_000_001)
    assert answer.status_code == 413
    assert [len(record.value) for record in events.records] == [65_536]


async def test_empty_array(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Nothing sent, nothing kept."""
    answer = await client.post("/events", json=[])
    assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "rejected": []})
    assert not events.records


@pytest.mark.parametrize("body", [json.dumps(touch()), "[1]", "{"])
async def test_not_kept_is_not_acknowledged(client: httpx.AsyncClient, events: MemoryLog, body: str) -> None:
    """503 and when to try again, for refused events too: they may not be lost either."""
    events.down = True
    answer = await client.post("/events", content=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_denied_consent_unlinks_the_visitor(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A visitor id for each event, the same on a retry; no click id, no user id, none hidden in an address."""
    stated = {
        "consent": "denied",
        "click_id": "hw1.a.b",
        "user_id": "u",
        "url": "https://s.example/?hw_cid=z&utm_source=q",
    }
    await client.post("/events", json=[touch(**stated), touch(**stated), touch(event_id="e2", **stated)])
    values = [json.loads(record.value) for record in events.records]
    assert values[0] == values[1]
    assert len({"v1", values[0]["visitor_id"], values[2]["visitor_id"]}) == 3
    assert [record.key for record in events.records] == [value["visitor_id"] for value in values]
    assert all("click_id" not in value and "user_id" not in value for value in values)
    assert values[0]["url"] == "https://s.example/?utm_source=q"


async def test_denial_itself_names_its_visitor(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A consent statement is about the visitor's other events, so it must say whose."""
    await client.post("/events", json=touch(type="consent", consent="denied"))
    assert events.records[0].key == "v1"


async def test_cross_site_post(client: httpx.AsyncClient) -> None:
    """Any page may post and read the answer; beacons come with credentials, so its origin is named."""
    answer = await client.post("/events", json=touch(), headers={"origin": "https://shop.example"})
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"
    plain = await client.post("/events", json=touch())
    assert "access-control-allow-origin" not in plain.headers


async def test_preflight(client: httpx.AsyncClient) -> None:
    """A JSON beacon is announced by OPTIONS."""
    answer = await client.options(
        "/events", headers={"origin": "https://shop.example", "access-control-request-headers": "content-type"}
    )
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert answer.headers["access-control-allow-headers"] == "content-type"
    assert answer.headers["access-control-allow-methods"] == "POST"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("198.51.100.9", "198.51.100.9"),
        ("6.6.6.6, 198.51.100.9, 10.9.9.9", "198.51.100.9"),
        ("6.6.6.6, nonsense", "10.1.2.3"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
async def test_forwarded_address_of_a_trusted_proxy(
    proxied: httpx.AsyncClient, events: MemoryLog, forwarded: str, address: str
) -> None:
    """The last address that is no trusted proxy; what stands before it anyone may have written."""
    await proxied.post("/events", json=touch(), headers={"x-forwarded-for": forwarded})
    assert json.loads(events.records[0].value)["ip"] == address


async def test_forwarded_address_of_a_stranger(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Not believed."""
    await client.post("/events", json=touch(), headers={"x-forwarded-for": "198.51.100.9"})
    assert json.loads(events.records[0].value)["ip"] == "203.0.113.7"
