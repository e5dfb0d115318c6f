"""Touches that are none of a person's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from schemas.events import read_event
from schemas.reasons import INVALID_REASONS
from streams.collector.validity import doubt_of_headers
from tests.collector.conftest import BROWSER, NOW, Headers, browser

if TYPE_CHECKING:
    from streams.collector.app import Collector
    from tests.collector.conftest import MemoryLog

BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
PREVIEW = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"
PROGRAM = "python-requests/2.32.3"
TOUCH = {"event_id": "e1", "type": "landing", "time": NOW, "site": "shop", "visitor_id": "v1"}


async def verdicts(collector: Collector, events: MemoryLog, path: str, agent: str, **headers: str) -> list[list[str]]:
    """The reasons of all verdicts after one request."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with browser(collector, agent=agent) as client:
        if path == "/events":
            await client.post(path, json=TOUCH, headers=sent)
        else:
            await client.get(path, headers=sent)
    values = [json.loads(record.value) for record in events.records]
    return [value["reasons"] for value in values if value["type"] == "verdict"]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"sec-purpose": "prefetch"}, "prefetch"),
        ({"sec-purpose": "prefetch;prerender"}, "prefetch"),
        ({"purpose": "prefetch"}, "prefetch"),
        ({"x-moz": "prefetch"}, "prefetch"),
        ({"x-purpose": "preview"}, "preview"),
        ({"x-purpose": "Preview"}, "preview"),
        ({"sec-purpose": ""}, None),
        ({"sec-fetch-dest": "document"}, None),
        ({}, None),
    ],
)
def test_headers(headers: dict[str, str], reason: str | None) -> None:
    """As browsers of all ages say that nobody asked."""
    assert doubt_of_headers(Headers(httpx.Headers(headers))) == reason


@pytest.mark.parametrize("path", ["/events", "/pixel.gif?type=landing&site=shop", "/c/spring"])
@pytest.mark.parametrize(
    ("agent", "headers", "reasons"),
    [
        (BROWSER, {}, []),
        (BOT, {}, [["bot"]]),
        (PREVIEW, {}, [["preview"]]),
        (BROWSER, {"sec_purpose": "prefetch"}, [["prefetch"]]),
        (BOT, {"sec_purpose": "prefetch"}, [["bot", "prefetch"]]),
        (PREVIEW, {"purpose": "preview"}, [["preview"]]),
    ],
)
async def test_every_way_in(
    collector: Collector, events: MemoryLog, path: str, agent: str, headers: dict[str, str], reasons: list[list[str]]
) -> None:
    """The touch is kept, and a verdict that names it, with reasons of the closed set, follows in its partition."""
    assert await verdicts(collector, events, path, agent, **headers) == reasons
    assert {reason for each in reasons for reason in each} <= set(INVALID_REASONS)
    touch, *others = events.records
    for verdict in others:
        value = json.loads(verdict.value)
        assert (verdict.topic, verdict.key) == ("clicks", touch.key)
        assert value["touch_event_id"] == json.loads(touch.value)["event_id"]
        assert read_event(value, "clicks")["valid"] is False


async def test_programs(collector: Collector, events: MemoryLog) -> None:
    """A shop's server speaks for its visitors, and names them; a program that only fetches an address does not."""
    assert await verdicts(collector, events, "/events", PROGRAM) == []
    assert await verdicts(collector, events, "/pixel.gif?type=landing&site=shop&visitor_id=v1", PROGRAM) == []
    assert await verdicts(collector, events, "/c/spring", PROGRAM) == [["bot"]]


async def test_the_visitors_own_agent_counts(collector: Collector, events: MemoryLog) -> None:
    """Where a server states it."""
    async with browser(collector, agent=PROGRAM) as client:
        await client.post("/events", json=TOUCH | {"user_agent": BOT})
    assert [json.loads(record.value)["type"] for record in events.records] == ["landing", "verdict"]


async def test_only_touches_are_judged(collector: Collector, events: MemoryLog) -> None:
    """Nobody's purchase is taken away, and no consent; what is refused needs no verdict."""
    told: list[dict[str, Any]] = [
        TOUCH | {"type": "conversion", "action": "purchase"},
        TOUCH | {"type": "consent", "consent": "granted"},
        TOUCH | {"site": ""},
    ]
    async with browser(collector, agent=BOT) as client:
        answer = await client.post("/events", json=told)
    assert answer.json()["accepted"] == 2
    assert [record.topic for record in events.records] == ["conversions", "clicks", "dead-letters"]


async def test_sent_again(collector: Collector, events: MemoryLog) -> None:
    """The verdict is the same one, so that both count once; its time follows the touch's when clocks are set right."""
    touch = TOUCH | {"sent_at": NOW - 3_600_000, "time": NOW - 3_600_000}
    async with browser(collector, agent=BOT) as client:
        for _ in range(2):
            await client.post("/events", json=touch)
    first, second = (json.loads(record.value) for record in events.records if b'"verdict"' in record.value)
    assert first == second
    assert (first["time"], first["sent_at"]) == (touch["time"], touch["sent_at"])


async def test_denied(collector: Collector, events: MemoryLog) -> None:
    """A verdict does not tell whose touch it was either."""
    await verdicts(collector, events, "/events", BOT, sec_gpc="1")
    touch, verdict = events.records
    assert touch.key == verdict.key != "v1"
    assert b"v1" not in verdict.value
