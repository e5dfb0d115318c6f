"""The same shop day after day: touches, orders and what is said of them later, consents, verdicts, costs.

Rule: each day has as many events as any other, so whatever grows is ours.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from schemas.topics import DAY_MS

SITE = "soak.example"
CAMPAIGNS = 50
ORDERS = 0.02
STATEMENTS = 0.02
STAY_DAYS = 40
"""So long a visitor comes back."""


@dataclass(frozen=True, slots=True)
class Days:
    """`events` a day, from the day `first` to before `last` (since the epoch), for a bench's `produce`."""

    first: int
    last: int
    events: int
    seed: int = 1

    def make(self, _end_ms: int = 0) -> Iterator[tuple[str, bytes, bytes]]:
        """(topic, key, value) of each event, in order of receipt."""
        for day in range(self.first, self.last):
            yield from self._day(day)

    def _day(self, day: int) -> Iterator[tuple[str, bytes, bytes]]:
        rng = random.Random(f"{self.seed}/{day}")
        for number in range(self.events):
            time = day * DAY_MS + number * DAY_MS // self.events
            came = day - (day + rng.randrange(STAY_DAYS)) % STAY_DAYS
            visitor = f"v{came}-{rng.randrange(self.events * 10)}"
            common = {"event_id": f"{day}-{number}", "site": SITE, "time": time, "received_at": time + 30}
            campaign = f"campaign-{rng.randrange(CAMPAIGNS)}"
            chance = rng.random()
            if chance < ORDERS:
                order = f"order-{day}-{number}"
                value = {"type": "conversion", "action": "purchase", "order_id": order, "value": number % 900 / 10}
                yield from _told("conversions", order, common | value | {"visitor_id": visitor})
            elif chance < 2 * ORDERS:
                day_before = day - rng.choice([1, 10, 100, 170])
                order = f"order-{day_before}-{number}"
                value = {"type": "adjustment", "action": "purchase", "order_id": order, "adjustment": "reject"}
                yield from _told("conversions", order, common | value)
            elif chance < 2 * ORDERS + STATEMENTS:
                statement: dict[str, Any] = {"type": "consent", "consent": rng.choice(["granted", "denied"])}
                if rng.random() < 0.5:
                    touch = f"{day - 3}-{number}"
                    statement = {"type": "verdict", "touch_event_id": touch, "valid": False, "reasons": ["bot"]}
                yield from _told("clicks", visitor, common | statement | {"visitor_id": visitor})
            else:
                touch = {"type": rng.choice(["click", "landing", "impression"]), "campaign": campaign}
                yield from _told("clicks", visitor, common | touch | {"visitor_id": visitor})
        date = datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat()
        for number in range(CAMPAIGNS):
            campaign = f"campaign-{number}"
            cost = {"event_id": f"c{day}-{number}", "site": SITE, "time": (day + 1) * DAY_MS - 1, "date": date}
            cost |= {"received_at": (day + 1) * DAY_MS - 1, "campaign": campaign, "cost": "12.34", "currency": "EUR"}
            yield from _told("costs", campaign, cost)


def _told(topic: str, key: str, event: dict[str, Any]) -> Iterator[tuple[str, bytes, bytes]]:
    yield topic, key.encode(), orjson.dumps(event)
