"""Who is let in, and how often."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from streams.collector.app import Collector
from streams.collector.keys import Keys
from streams.collector.metrics import Metrics
from streams.collector.networks import Networks
from streams.collector.partners import Partners
from streams.collector.rules import Rules
from tests.collector.conftest import KEYS, NOW, browser

if TYPE_CHECKING:
    import httpx

    from streams.collector.campaigns import CampaignBook
    from tests.collector.conftest import MemoryLog

TOUCH = {"event_id": "e1", "type": "click", "time": NOW, "site": "shop", "visitor_id": "v1"}
SECRET = "the-shops-own-key"


class Guarded:
    """A collector whose limits are one request a second, ten at once; `now` is in seconds."""

    def __init__(self, events: MemoryLog, book: CampaignBook, **rules: Any) -> None:
        self.now = 100.0
        stated = {
            "rate_per_ip": 1,
            "rate_authenticated": 2,
            "api_keys": Keys(f"shop:{SECRET}", "api_keys"),
            "proxies": Networks("10.0.0.0/8", "trusted_proxies"),
        }
        self.collector = Collector(
            events,
            book,
            Metrics(CollectorRegistry()),
            keys=KEYS,
            rules=Rules(**{**stated, **rules}),
            clock=lambda: NOW,
            steady=lambda: self.now,
        )

    async def ask(self, method: str, path: str, peer: str = "203.0.113.7", **options: Any) -> httpx.Response:
        async with browser(self.collector, peer) as client:
            return await client.request(method, path, **options)

    async def send(self, peer: str = "203.0.113.7", key: str = "", **event: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return await self.ask("POST", "/events", peer, json=TOUCH | event, headers=headers)

    async def statuses(self, number: int, method: str, path: str, **options: Any) -> list[int]:
        return [(await self.ask(method, path, **options)).status_code for _ in range(number)]


@pytest.fixture
def guarded(events: MemoryLog, book: CampaignBook) -> Guarded:
    """The collector under its limits."""
    return Guarded(events, book)


@pytest.mark.parametrize("path", ["/events", "/pixel.gif?type=click&site=shop", "/c/spring"])
async def test_an_address_has_to_wait(guarded: Guarded, events: MemoryLog, path: str) -> None:
    """429 and for how long; nothing of it is kept; others are not concerned; then it is let in again."""
    method, options = ("POST", {"json": TOUCH}) if path == "/events" else ("GET", {})
    assert set(await guarded.statuses(10, method, path, **options)) <= {200, 202, 302}
    kept = len(events.records)
    answer = await guarded.ask(method, path, **options)
    assert (answer.status_code, answer.headers["retry-after"], len(events.records)) == (429, "1", kept)
    assert (await guarded.ask(method, path, "203.0.113.8", **options)).status_code != 429
    guarded.now += 1
    assert (await guarded.ask(method, path, **options)).status_code != 429


async def test_the_image_stays_an_image(guarded: Guarded) -> None:
    """Also where it says 429; a script sees that by its width."""
    await guarded.statuses(10, "GET", "/pixel.gif")
    answer = await guarded.ask("GET", "/pixel.gif")
    assert (answer.status_code, answer.headers["content-type"], answer.content[6]) == (429, "image/gif", 2)


async def test_ipv6_and_proxies(guarded: Guarded) -> None:
    """One who has a /64 is one sender; behind a listed proxy each client is one, behind another all of them are."""
    for number in range(10):
        await guarded.send(f"2001:db8::{number:x}")
    assert (await guarded.send("2001:db8::ffff")).status_code == 429
    assert (await guarded.send("2001:db8:0:1::1")).status_code == 202
    for peer, last in (("10.1.1.1", 202), ("192.0.2.9", 429)):
        answers = [
            await guarded.ask("POST", "/events", peer, json=TOUCH, headers={"x-forwarded-for": f"198.51.100.{number}"})
            for number in range(11)
        ]
        assert answers[-1].status_code == last


async def test_a_proxy_that_is_not_listed_is_told_of(guarded: Guarded) -> None:
    """Once a minute, without a whole address: its visitors are limited as if they were one."""
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            await guarded.ask("POST", "/events", json=TOUCH, headers={"x-forwarded-for": "198.51.100.1"})
        guarded.now += 1
        await guarded.statuses(15, "POST", "/events", json=TOUCH)
    assert logs == [{"event": "proxy_not_listed", "log_level": "warning", "network": "203.0.113.0"}]


async def test_a_proxy_on_the_same_machine_is_told_of(events: MemoryLog, book: CampaignBook) -> None:
    """There no limit holds, for nobody behind it either."""
    guarded = Guarded(events, book, rate_exempt=Networks("127.0.0.0/8", "rate_exempt"))
    with structlog.testing.capture_logs() as logs:
        await guarded.statuses(3, "POST", "/events", peer="127.0.0.1", json=TOUCH)
        assert logs == []
        headers = {"x-forwarded-for": "198.51.100.1"}
        assert set(await guarded.statuses(20, "POST", "/events", peer="127.0.0.1", json=TOUCH, headers=headers)) == {
            202
        }
    assert [line["event"] for line in logs] == ["proxy_not_listed"]


async def test_a_key_is_measured_by_itself(guarded: Guarded) -> None:
    """Not by its server's address, and no other way round."""
    answers = [await guarded.send(key=SECRET) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [202] * 20 + [429]
    assert (await guarded.send("198.51.100.1", key=SECRET)).status_code == 429
    assert (await guarded.send()).status_code == 202


@pytest.mark.parametrize("path", ["/events", "/pixel.gif", "/c/spring", "/import/costs"])
async def test_a_wrong_key_is_refused(guarded: Guarded, events: MemoryLog, path: str) -> None:
    """401 and no word on why; few can be tried, and then a right one among them is not let in either."""
    method = "GET" if path in {"/pixel.gif", "/c/spring"} else "POST"
    found = []
    for number in range(100):
        answer = await guarded.ask(method, path, headers={"authorization": f"Bearer {SECRET}{number}"})
        found.append(answer.status_code)
        assert SECRET not in answer.text
    assert (found[0], found[-1]) == (401, 429)
    assert found.count(401) <= 2
    assert (await guarded.send()).status_code == 202
    assert not events.of("costs")
    assert (await guarded.send(key=SECRET)).status_code == 429


async def test_wrong_signatures_are_few(events: MemoryLog, book: CampaignBook) -> None:
    """Each costs as much as many requests; a burst's worth, then one each 20 s."""
    guarded = Guarded(events, book, partners=Partners(tokens="acme:token-of-acme"))
    for path in ("/postback?token=wrong", "/import/costs"):
        guarded.now += 1000
        method = "POST" if path == "/import/costs" else "GET"
        tried = []
        for _ in range(100):
            tried.append((await guarded.ask(method, path)).status_code)
            guarded.now += 1
        assert tried.count(401) <= 6
        assert tried.count(429) >= 94


@pytest.mark.parametrize("event", [{"type": "cost"}, {"type": "verdict"}, {"type": "adjustment"}])
async def test_what_only_servers_say(guarded: Guarded, events: MemoryLog, event: dict[str, str]) -> None:
    """Nobody spends, judges or withdraws without a key, where one is set; by whatever way in."""
    more = {"campaign": "c", "date": "2026-09-20", "cost": 1, "touch_event_id": "e0", "valid": False}
    stated = TOUCH | more | {"adjustment": "retract", "order_id": "o1", "action": "purchase"} | event
    answer = await guarded.ask("POST", "/events", json=[stated, TOUCH])
    assert [refused["detail"] for refused in answer.json()["rejected"]] == [
        f"type: {event['type']} is taken with an API key alone"
    ]
    query = {name: str(value).lower() if value is False else str(value) for name, value in stated.items()}
    await guarded.ask("GET", "/pixel.gif", params=query)
    assert [record.topic for record in events.records] == ["clicks", "dead-letters", "dead-letters"]
    answer = await guarded.ask("POST", "/events", json=stated, headers={"authorization": f"Bearer {SECRET}"})
    assert answer.json()["accepted"] == 1


async def test_without_keys_nobody_is_asked_for_one(events: MemoryLog, book: CampaignBook) -> None:
    """Whatever some library sends along; everything is taken from everyone."""
    guarded = Guarded(events, book, api_keys=Keys("", "api_keys"))
    assert (await guarded.send(key="anything")).status_code == 202
    assert (await guarded.send(type="verdict", touch_event_id="e0", valid=False)).json()["accepted"] == 1


@pytest.mark.parametrize("key", ["", SECRET])
async def test_large_bodies_weigh_more(guarded: Guarded, key: str) -> None:
    """As the requests that they could have been, whether they are taken or not; the next one waits for that long."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    for body in (json.dumps([TOUCH | {"pad": "x" * 60_000}] * 20), "[" * 1_400_000, " " * 8_000_001):
        guarded.now += 1000
        statuses = [(await guarded.ask("POST", "/events", content=body, headers=headers)).status_code for _ in range(4)]
        assert statuses[-1] == 429
        assert statuses[0] != 429
    guarded.now += 1000
    assert (await guarded.send(key=key)).status_code == 202


async def test_metrics(events: MemoryLog, book: CampaignBook) -> None:
    """From the listed networks alone; nobody else learns that they are there. They cost more than an event."""
    guarded = Guarded(events, book, metrics_networks=Networks("192.0.2.0/24", "metrics_networks"))
    answer = await guarded.ask("GET", "/metrics")
    assert (answer.status_code, answer.text) == (404, (await guarded.ask("GET", "/nothing")).text)
    assert await guarded.statuses(2, "GET", "/metrics", peer="192.0.2.1") == [200, 429]


async def test_health_is_never_limited(guarded: Guarded) -> None:
    """Nor is the script, which any cache may keep, nor a browser's question whether it may send."""
    for method, path in (("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/hw.js"), ("OPTIONS", "/events")):
        assert len(set(await guarded.statuses(30, method, path))) == 1


async def test_exempt(events: MemoryLog, book: CampaignBook) -> None:
    """Networks that no limit holds for; a key is asked for there too."""
    guarded = Guarded(events, book, rate_exempt=Networks("192.0.2.0/24", "rate_exempt"))
    assert set(await guarded.statuses(30, "POST", "/events", peer="192.0.2.1", json=TOUCH)) == {202}
    assert await guarded.statuses(1, "POST", "/import/costs", peer="192.0.2.1") == [401]


async def test_a_beacon_sees_why(guarded: Guarded) -> None:
    """A page of another origin may read 429 and 401 as well."""
    for options in ({}, {"authorization": "Bearer wrong"}):
        headers = {"origin": "https://shop.example", **options}
        answers = [await guarded.ask("POST", "/events", json=TOUCH, headers=headers) for _ in range(12)]
        assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"https://shop.example"}
    assert json.loads(answers[-1].text)["error"]
