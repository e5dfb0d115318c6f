"""Walks: ad clicks that are led on, and the conversions that a network tells of them, named by the collector itself.

Rule: who sends these knows no event id, so what was recorded is looked up among the input records. A click that was led
on, and a postback that was answered, must be there exactly once; what was asked for without an answer at most once for
each time. What is there is then expected of all that follows, as anything else is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp

from tests.faults.crowds import Group
from tests.faults.routes import Message, send, signed
from tests.reference.events import identity
from tests.reference.model import NOT_CONTENT


@dataclass
class Walk:
    """One visitor's: how often the click was asked for and the postback sent, and what was acknowledged."""

    group: Group
    visitor: str
    site: str
    clicks_sent: int = 0
    clicks: list[str] = field(default_factory=list)
    """Click ids that were handed out."""
    postbacks_sent: int = 0
    postback: bool = False
    """Whether it was answered."""

    async def go(self, session: aiohttp.ClientSession, url: str, *, lost: bool) -> None:
        """Click, and have the network tell of the conversion."""

        def clicked() -> None:
            self.clicks_sent += 1

        def told() -> None:
            self.postbacks_sent += 1

        query = urlencode({"site": self.site, "sub1": self.visitor})
        click = Message("GET", f"/c/walk?{query}", [], lambda status, _: status == 302)
        headers = await send(session, url, click, clicked, cookie=f"hw_vid={self.visitor}", lost=lost)
        click_id = parse_qs(urlsplit(headers["Location"]).query)["hw_cid"][0]
        self.clicks.append(click_id)
        said = {"click_id": click_id, "payout": "12.50", "currency": "EUR"}
        await send(session, url, signed("GET", said, []), told, lost=lost)
        self.postback = True


def look_up(walks: list[Walk], recorded: dict[str, list[dict]]) -> tuple[list[str], list[str]]:
    """Have each walk's group expect what is `recorded` of its visitor; what is lost, and what is there too often."""
    lost, doubled = [], []
    for walk in walks:
        records = recorded.get(walk.visitor, [])
        first: dict[tuple, dict] = {}
        for event in records:
            first.setdefault(identity(event), event)
        clicks = [event for event in first.values() if event["type"] == "click"]
        postbacks = [event for event in first.values() if event["type"] == "conversion"]
        for click_id in walk.clicks:
            number = sum(event["click_id"] == click_id for event in clicks)
            if number == 0:
                lost.append(f"click of {walk.visitor}: led on, and not recorded")
            elif number > 1:
                doubled.append(f"click of {walk.visitor}: recorded {number} times")
        if len(clicks) > walk.clicks_sent:
            doubled.append(f"{walk.visitor}: {len(clicks)} clicks, {walk.clicks_sent} asked for")
        if walk.postback and not postbacks:
            lost.append(f"postback of {walk.visitor}: answered, and not recorded")
        if len(postbacks) > 1:
            doubled.append(f"postback of {walk.visitor}: {len(postbacks)} events")
        _expect(walk, first, records)
    return lost, doubled


def _expect(walk: Walk, first: dict[tuple, dict], records: list[dict]) -> None:
    """Tell the group of events that it does not know yet."""
    known = {identity(event) for event in walk.group.told}
    walk.group.told += [event for name, event in first.items() if name not in known]
    for name, event in first.items():
        copies = [other for other in records if identity(other) == name]
        walk.group.collisions[name] = sum(_content(other) != _content(event) for other in copies)


def _content(event: dict) -> dict:
    return {name: value for name, value in event.items() if name not in NOT_CONTENT}
