"""Crowds as the load sends them: of the last days, each with visitors, orders, campaigns and ids of its own.

Rule: what a crowd comes to is worked out from its own events alone; only sites are shared. Every copy of an event says
the same whichever of the collector's routes it comes by.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from schemas.registry import CampaignEntry, Destination
from streams.core.ids import mint_click_id, read_click_id
from streams.core.registry import Registry
from tests.reference.crowds import OFFSETS, STEPS, Crowd
from tests.reference.events import CLICK_IDS, DAY, HOUR, KEYS, identity
from tests.reference.model import Result, reference

SIZE = 40
"""Events of a crowd, repeats not counted."""
NAMES = ("visitor_id", "event_id", "order_id", "conversion_event_id", "touch_event_id", "campaign")
OWNERS = (("ann", "spring"), ("bob", "spring"), ("ann", "unheard-of"))
"""Whose the click ids of `tests.reference.events` are."""
PARTNER = "net"
"""Who tells of some conversions by postback."""
WALKED = [f"go{era}.example" for era in range(16)]
"""Sites to which ad clicks lead; each has a campaign `walk`."""
ENTRIES = [
    CampaignEntry(campaign="walk", site=site, destinations=(Destination(url=f"https://{site}/"),)) for site in WALKED
]
"""What the registry holds: it says nothing of any other site."""


class NearCrowd(Crowd):
    """A crowd of the last days, as the collector takes it: it knows no receipt and no sender's clock."""

    def __init__(self, seed: int, size: int, now: int) -> None:
        self.now = now
        super().__init__(seed, size)

    def _event(self, kind, latest):
        chance = self.chance
        time = self.now - 11 * HOUR - chance.choice([0, 0, 0, DAY, DAY + 1, 2 * DAY, 5 * DAY])
        time += chance.choice(STEPS) + chance.choice([0, chance.choice(STEPS)])
        if chance.random() < 0.03:
            time = chance.choice([self.now + DAY, self.now - 400 * DAY])
        prefix = chance.choice(["a", "Z", "é", "\U0001d4b3"])
        return {
            "type": kind,
            "event_id": f"{prefix}{chance.randrange(self.ids)}",
            "site": chance.choice(("shop.example", "shop.example", "plain.example")),
            "time": time,
        }

    def _cost(self):
        """What was spent on the last days, which touches fall into: as dates and as hours, stated again and again."""
        event = self._event("cost", 0)
        event["campaign"] = self.chance.choice(["spring", "spring", "spring", "Spring", "%73pring", "unheard-of"])
        event["cost"] = self.chance.choice(["24", "0", "0.000007", "1234.5"])
        if self.chance.random() < 0.3:
            event |= self._some(source=["google", "google%20"], medium=["cpc"], clicks=[7], currency=["EUR"])
            event |= self._some(channel=["Display", "display", "Paid Search"], ad=["x"])
        start = self.now - self.now % DAY - self.chance.choice([DAY, DAY, 2 * DAY])
        if self.chance.random() < 0.5:
            event["date"] = datetime.fromtimestamp(start / 1000, UTC).date().isoformat()
        else:
            start -= self.chance.choice([0, 0, *OFFSETS])
            event |= {"from": start, "to": start + self.chance.choice([DAY] * 5 + [5 * HOUR])}
        return event

    def _registry(self):
        return []


def crowd_events(number: int, era: int, now: int) -> list[dict]:
    """A crowd's events, repeats among them; `era` names its sites."""
    found = []
    swaps = [(b"shop.example", b"shop%d.example" % era), (b"plain.example", b"plain%d.example" % era)]
    for place, (old, (visitor, campaign)) in enumerate(zip(CLICK_IDS, OWNERS, strict=True)):
        swaps.append((old.encode(), mint_click_id(f"{visitor}~{number}", campaign, bytes([place]), KEYS).encode()))
    for event in NearCrowd(number, SIZE, now).events:
        if event.get("consent") == "denied" and event["type"] != "consent":
            # The collector would take the visitor from it.
            event["consent"] = "unknown"
        event |= {name: f"{event[name]}~{number}" for name in NAMES if name in event}
        event.pop("user_agent", None)
        if not event.get("reasons", True):
            # A parameter that says nothing is none.
            del event["reasons"]
        raw = orjson.dumps(event)
        for old, new in swaps:
            raw = raw.replace(old, new)
        found.append(_of_partner(orjson.loads(raw)))
    return found


def _of_partner(event: dict) -> dict:
    """A part of the events about conversions as a postback states them: with its partner, and the visitor it names."""
    if event["type"] in {"conversion", "adjustment"} and random.Random(str(identity(event))).random() < 0.4:
        event["partner"] = PARTNER
        click = read_click_id(event.get("click_id", ""))
        if click is not None:
            event.setdefault("visitor_id", click.visitor_id)
    return event


@dataclass
class Group:
    """A crowd on its way: what is still to be sent, by round, and what was acknowledged."""

    number: int
    sites: frozenset[str]
    now: int
    waiting: list[list[dict]]
    told: list[dict] = field(default_factory=list)
    collisions: Counter[tuple] = field(default_factory=Counter)
    """Copies of an event that were written with other content than the first, and must be refused."""


def undisturbed(group: Group, lost: Iterable[tuple]) -> tuple[Result, set[tuple]]:
    """What the reference model makes of a group's acknowledged events, less those whose identity is in `lost`.

    Also the identities of what it refuses: two sites may use one event id.
    """
    gone = set(lost)
    registry = Registry(ENTRIES)
    events = [{"received_at": group.now} | event for event in group.told if identity(event) not in gone]
    result = reference(events, registry)
    ids = {event_id for event_id, _ in result.refused}
    refused = {identity(event) for event in events if event["event_id"] in ids and reference([event], registry).refused}
    return result, refused
