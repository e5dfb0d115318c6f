"""`GET /c/{campaign}`, and where it leads."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from streams.collector.campaigns import CampaignBook
from streams.collector.redirects import choose_destination, location
from streams.core.ids import verify_click_id
from streams.core.registry import Campaign, Destination

if TYPE_CHECKING:
    import httpx

    from tests.collector.conftest import MemoryLog

NOW = 1_790_000_000_000
KEYS = [("new", b"new secret"), ("old", b"old secret")]


async def test_click_is_recorded_and_led_on(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """The touch is kept; the destination gets a signed click id that names the visitor."""
    answer = await client.get(
        "/c/spring?sub1=x&medium=cpc&utm_term=shoes", headers={"referer": "https://news.example/"}
    )
    assert answer.status_code == 302
    [record] = events.records
    value = json.loads(record.value)
    assert (value["type"], value["site"], value["campaign"], value["time"]) == ("click", "shop", "spring", NOW)
    assert (value["sub1"], value["medium"], value["term"], value["partner"]) == ("x", "cpc", "shoes", "acme")
    assert value["referrer"] == "https://news.example/"
    goal = urlsplit(answer.headers["location"])
    assert (goal.netloc, goal.path) == ("shop.example", {"a": "/a", "b": "/b"}[value["variant"]])
    assert parse_qs(goal.query)["hw_cid"] == [value["click_id"]]
    click = verify_click_id(value["click_id"], KEYS)
    assert click is not None
    assert (click.visitor_id, click.campaign) == (record.key, "spring")
    assert answer.headers["set-cookie"].startswith(f"hw_vid={record.key};")
    assert answer.headers["cache-control"] == "no-store"


async def test_known_visitor_goes_the_same_way(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """The cookie's visitor, always to the same destination; each click has an id of its own."""
    answers = [await client.get("/c/spring", headers={"cookie": "hw_vid=v1"}) for _ in range(3)]
    assert {record.key for record in events.records} == {"v1"}
    assert len({answer.headers["location"].split("hw_cid")[0] for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 3
    assert len({json.loads(record.value)["event_id"] for record in events.records}) == 3


@pytest.mark.parametrize(
    "path",
    ["/c/unknown", "/c/paused", "/c/https:%2F%2Fevil.example", "/c/spring?site=other", "/c/..%2Fspring", "/c/%00"],
)
async def test_unknown_campaign(client: httpx.AsyncClient, events: MemoryLog, path: str) -> None:
    """404, nothing recorded, and nowhere to go."""
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "location" not in answer.headers
    assert not events.records


@pytest.mark.parametrize("query", ["url=https://evil.example", "to=//evil.example", "destination=https://evil.example"])
async def test_no_open_redirect(client: httpx.AsyncClient, query: str) -> None:
    """No parameter changes the host."""
    answer = await client.get(f"/c/spring?{query}")
    assert urlsplit(answer.headers["location"]).netloc == "shop.example"


async def test_misstated_click_leads_on(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """Whoever clicked is not to blame for the ad's address: the click goes to ``dead-letters``, the visitor on."""
    answer = await client.get("/c/spring?cost=free")
    assert answer.status_code == 302
    assert [record.topic for record in events.records] == ["dead-letters"]


async def test_denied_consent(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """No click id, no cookie, a visitor of this one click."""
    answer = await client.get("/c/spring?consent=denied", headers={"cookie": "hw_vid=v1"})
    assert "hw_cid" not in answer.headers["location"]
    assert "set-cookie" not in answer.headers
    assert events.records[0].key != "v1"
    assert "click_id" not in json.loads(events.records[0].value)


async def test_not_kept(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A click that can't be kept is not led on: it would be lost."""
    events.down = True
    answer = await client.get("/c/spring")
    assert (answer.status_code, "location" in answer.headers) == (503, False)


async def test_before_the_registry_is_read(client: httpx.AsyncClient, book: CampaignBook) -> None:
    """Not knowing a campaign yet is no 404."""
    book.ready = False
    assert (await client.get("/c/spring")).status_code == 503


async def test_head_records_nothing(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A link checker is no visitor."""
    answer = await client.head("/c/spring")
    assert (answer.status_code, events.records) == (302, [])


def test_weights() -> None:
    """Visitors spread over the destinations by weight; weight 0 gets none."""
    destinations = (Destination("a", 3), Destination("b", 1), Destination("c", 0))
    campaign = Campaign("spring", "shop", destinations=destinations)
    found = Counter(choose_destination(campaign, f"v{number}") for number in range(4000))
    assert found[destinations[2]] == 0
    assert 0.72 < found[destinations[0]] / 4000 < 0.78


def test_nowhere_to_go() -> None:
    """A campaign without a destination of any weight has none."""
    assert choose_destination(Campaign("x", "shop"), "v") is None
    assert choose_destination(Campaign("x", "shop", destinations=(Destination("a", 0),)), "v") is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://s.example", "https://s.example?hw_cid=c"),
        ("https://s.example/?", "https://s.example/?hw_cid=c"),
        ("https://s.example/a?x=1", "https://s.example/a?x=1&hw_cid=c"),
        ("https://s.example/a?x=1#top?y", "https://s.example/a?x=1&hw_cid=c#top?y"),
        ("https://s.example/ä b%20c\r\nx: y", "https://s.example/%C3%A4%20b%20c%0D%0Ax:%20y?hw_cid=c"),
    ],
)
def test_location(url: str, expected: str) -> None:
    """The click id joins the parameters, before a fragment; a header can't be broken out of."""
    assert location(url, "c") == expected


def test_book_follows_the_topic(book: CampaignBook) -> None:
    """Later records replace, records without value take out, records that are no entry change nothing."""
    entry = b'{"kind":"campaign","campaign":"new","site":"shop","destinations":["https://shop.example/n"]}'
    book.take([(b"campaign/new/shop/0", entry), (b"campaign/bad", b"{"), (None, b"x")])
    found = book.find("new", "", NOW)
    assert found is not None
    assert found.destinations[0].url == "https://shop.example/n"
    assert book.find("spring", "shop", NOW) is not None
    book.take([(b"campaign/new/shop/0", None)])
    assert book.find("new", "", NOW) is None
