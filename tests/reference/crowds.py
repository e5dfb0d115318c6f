"""Dense event sets from a seed: few visitors, many touches, conversions that find candidates.

Beside `tests.reference.events`, whose sets are sparse and shrink well, these are large, quick to make, and hit every
rule at once. What fails is cut down by `smallest`.
"""

from __future__ import annotations

import random

from schemas.registry import CampaignEntry, SiteEntry
from tests.reference.events import (
    CLICK_IDS,
    DAY,
    HOUR,
    MINUTE,
    REFERRERS,
    SITES,
    T0,
    URLS,
    identity,
)

MOMENTS = [T0 + day * DAY for day in (0, 1, 2, 6, 7, 13, 14, 29, 30, 31)]
STEPS = [0, 0, 1, 999, MINUTE, 10 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, HOUR, 5 * HOUR]
OWN = {
    "channels": [
        {"channel": "Blogs", "category": "blogs"},
        {"channel": "Brand", "campaign": "s.*", "default_channel": "Unassigned"},
        {"channel": "Direct", "source": "news|partner"},
    ],
    "sources": {"blogs": ["blog.example.org", "partner"], "none": ["google.com"]},
}
"""Channels and sources of a site's own."""
ZONES = ["UTC", "Asia/Kolkata", "Pacific/Honolulu", "Pacific/Kiritimati"]
OFFSETS = [5 * HOUR + 30 * MINUTE, -10 * HOUR, 14 * HOUR]
"""Of these zones, east of UTC."""
VALUES = ["10", "0", "19.99", "-5.55", "0.000001", "-0.000002", "0.0000005", "1234567.891", "0.01", "100"]


class Crowd:
    """A maker of events; `events` and `entries` hold what it made."""

    def __init__(self, seed, size):
        self.chance = random.Random(seed)
        self.visitors = ["ann", "bob", "cyd"][: self.chance.choice([1, 1, 2, 3])]
        # Spread over a month, over a day, or within one session, so that each rule's edges are met.
        self.moments = self.chance.choice([MOMENTS, MOMENTS, MOMENTS[:2], MOMENTS[:1]])
        self.ids = 4 * size
        self.entries = self._registry()
        found = {}
        kinds = [self._touch] * 6 + [self._conversion] * 3 + [self._adjustment] * 2
        if self.chance.random() < 0.3:
            kinds += [self._cost] * 3
        elif self.chance.random() < 0.3:
            kinds = [self._cost]
        if self.chance.random() < 0.6:
            kinds += [self._consent, self._verdict, self._verdict]
        self.touch_ids, self.conversion_ids = ["none"], ["none"]
        self.consents = self.chance.random() < 0.3
        for _ in range(size):
            event = self.chance.choice(kinds)()
            found.setdefault(identity(event), event)
        self.events = list(found.values())
        if self.chance.random() < 0.5:
            self.events += [
                event | {"ip": "192.0.2.1", "user_agent": "retry"}
                for event in self.chance.choices(self.events, k=size // 8)
            ]
        self.chance.shuffle(self.events)

    def _some(self, **choices):
        """Each field with even chance, of its choices."""
        return {name: self.chance.choice(values) for name, values in choices.items() if self.chance.random() < 0.35}

    def _event(self, kind, latest):
        time = (
            self.chance.choice(self.moments)
            + self.chance.choice(STEPS)
            + self.chance.choice([0, self.chance.choice(STEPS)])
        )
        if kind == "conversion":
            time += self.chance.choice([0, 0, DAY, DAY, DAY + 1, 30 * DAY])
        prefix = self.chance.choice(["a", "Z", "é", "\U0001d4b3"])
        event = {
            "type": kind,
            "event_id": f"{prefix}{self.chance.randrange(self.ids)}",
            "site": self.chance.choice(SITES),
            "time": time,
            "received_at": time + self.chance.choice([0, 0, 0, 0, HOUR, latest, -10 * MINUTE]),
        }
        if self.chance.random() < 0.05:
            event["received_at"] = time + self.chance.choice([latest + 1, -10 * MINUTE - 1])
        if self.chance.random() < 0.1:
            skew = self.chance.choice([5 * MINUTE, 5 * MINUTE + 1, -5 * MINUTE, -5 * MINUTE - 1, 3 * DAY, -3 * DAY])
            event["sent_at"] = event["received_at"] + skew
            event["time"] = time + skew
        return event

    def _touch(self):
        event = self._event(self.chance.choice(["click", "impression", "landing", "landing"]), 7 * DAY)
        event["visitor_id"] = self.chance.choice(self.visitors)
        event |= self._some(url=URLS, referrer=REFERRERS, campaign=["spring", "Spring", "short", "unheard-of"])
        event |= self._some(cost=["0.10", "0.000001", "2"], variant=["b"], audience=["new"], partner=["acme"])
        if self.chance.random() < 0.3:
            event |= self._some(
                source=["google", "partner"], medium=["cpc", "email"], currency=["EUR", "JPY"], ad=["x"]
            )
        if event["type"] == "click" and self.chance.random() < 0.3:
            event["click_id"] = self.chance.choice(CLICK_IDS)
        if self.consents and self.chance.random() < 0.3:
            event["consent"] = self.chance.choice(["granted", "granted", "denied", "unknown"])
        self.touch_ids.append(event["event_id"])
        return event

    def _consent(self):
        event = self._event("consent", 7 * DAY)
        consent = self.chance.choice(["granted", "granted", "denied", "unknown"])
        return event | {"visitor_id": self.chance.choice(self.visitors), "consent": consent}

    def _verdict(self):
        event = self._event("verdict", 7 * DAY)
        event |= {"visitor_id": self.chance.choice(self.visitors), "touch_event_id": self.chance.choice(self.touch_ids)}
        return (
            event | {"valid": self.chance.random() < 0.4} | self._some(reasons=[[], ["flood"], ["bot", "datacentre"]])
        )

    def _about(self):
        """An action and an order, or an action alone."""
        about = {"action": self.chance.choice(["purchase", "purchase", "lead"])}
        if self.chance.random() < 0.7:
            about["order_id"] = self.chance.choice(["o1", "o2", "o3", "o4"])
        return about

    def _conversion(self):
        event = self._event("conversion", 35 * DAY) | self._about()
        self.conversion_ids.append(event["event_id"])
        if self.chance.random() < 0.8:
            event["visitor_id"] = self.chance.choice(self.visitors)
        event |= self._some(value=VALUES, value_again=[0], currency=["EUR", "USD"], click_id=[*CLICK_IDS, "other's"])
        event.pop("value_again", None)
        if self.chance.random() < 0.3:
            event["status"] = self.chance.choice(["approved", "pending", "pending", "rejected"])
        return event

    def _adjustment(self):
        kind = self.chance.choice(["restate", "restate", "restate", "approve", "reject", "retract"])
        event = self._event("adjustment", 100 * DAY) | self._about() | {"adjustment": kind}
        if "order_id" not in event:
            event["conversion_event_id"] = self.chance.choice(self.conversion_ids)
        if kind == "restate":
            event["value"] = self.chance.choice(VALUES)
        return event

    def _cost(self):
        """Few days, as dates and as the hours of them in some zone, so that both are about the same now and then."""
        event = self._event("cost", 35 * DAY)
        event["site"] = SITES[0] if self.chance.random() < 0.9 else SITES[-1]
        event["campaign"] = self.chance.choice(["spring", "spring", "spring", "Spring", " %73pring", "unheard-of"])
        event["cost"] = self.chance.choice(["24", "0", "0.000007", "1234.5"])
        if self.chance.random() < 0.3:
            event |= self._some(source=["google", "google%20"], medium=["cpc"], clicks=[7], currency=["EUR"])
            event |= self._some(channel=["Display", "display", "Paid Search"], ad=["x"])
        day = self.chance.choice([0, 0, 0, 1])
        if self.chance.random() < 0.5:
            event["date"] = ["2025-10-09", "2025-10-10"][day]
        else:
            start = T0 - T0 % DAY + day * DAY - self.chance.choice([0, 0, *OFFSETS])
            event |= {"from": start, "to": start + self.chance.choice([DAY] * 5 + [5 * HOUR])}
        return event

    def _registry(self):
        entries = []
        if self.chance.random() < 0.6:
            entries.append(self._site())
            if self.chance.random() < 0.4:  # other settings from a moment on
                entries.append(self._site(valid_from=self.chance.choice(self.moments) + self.chance.choice(STEPS)))
        if self.chance.random() < 0.5:
            channel = self.chance.choice(["", "Affiliates", "Direct"])
            lookbacks = self.chance.choice([{}, {"impression": 90}, {"landing": 2, "impression": 0}])
            entries += [
                CampaignEntry(
                    campaign="spring",
                    site="shop.example",
                    source=self.chance.choice(["", "google"]),
                    medium=self.chance.choice(["", "cpc"]),
                    channel=channel,
                    partner="agency",
                    valid_from=T0,
                ),
                CampaignEntry(campaign="short", site="shop.example", lookbacks={"click": 1, "landing": 0}),
                CampaignEntry(campaign="unheard-of", site="plain.example", lookbacks=lookbacks),
            ]
            if self.chance.random() < 0.3:  # another campaign from a moment on, until then the same in other letters
                entries.append(CampaignEntry(campaign="Spring", site="shop.example", valid_from=T0 + DAY))
        return entries

    def _site(self, valid_from=0):
        """A version of the site's entry, with channels of its own now and then."""
        policies = ["once_per_order", "once_per_visitor", "once_per_click", "once_per_click"]
        return SiteEntry(
            site="shop.example",
            domains=("own.example",),
            currency=self.chance.choice(["EUR", "USD"]),
            timezone=self.chance.choice(ZONES),
            lookbacks=self.chance.choice([{}, {"click": 7}, {"impression": 30, "landing": 1}, {"landing": 0}]),
            session_minutes=self.chance.choice([30, 30, 0, 1440]),
            consent_default=self.chance.choice(["granted", "granted", "granted", "denied"]),
            duplicate_policy={"purchase": self.chance.choice(policies), "*": self.chance.choice(policies)},
            valid_from=valid_from,
            **self.chance.choice([{}, {}, OWN, OWN | {"channels": OWN["channels"][::-1]}]),
        )


def smallest(events, fails):
    """`events` without those that `fails(events)` does not need."""
    step = max(len(events) // 2, 1)
    while True:
        start = 0
        while start < len(events):
            fewer = events[:start] + events[start + step :]
            if fails(fewer):
                events = fewer
            else:
                start += step
        if step == 1:
            return events
        step = max(step // 2, 1)
