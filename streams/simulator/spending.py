"""What the shop's campaigns cost, as ad networks state it: cost statements by day and by hours, some of them restated.

Rule: what a campaign's statements come to in the end is noted when they are written, period and amount by hand; nothing
reads a statement back. Some campaigns have none, so that what their touches cost counts, and on some days the others
have none either. Fifth step of the simulator: journeys and orders -> spending.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from streams.simulator.journeys import DAY, HOUR, MINUTE, SECOND, Event
from streams.simulator.shop import CURRENCY, SITE, TIMEZONE, WAYS, Way
from streams.simulator.spent import KnownStatement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from streams.simulator.truth import Knowledge, KnownTouch

STATED_DAYS: Final = 0.85
"""Of a campaign's days, those that are stated."""
RESTATED: Final = 0.3
FAULTS: Final = 0.12
"""Of the lines: sent again, or to be refused."""
_OWN_COST_ONLY: Final = frozenset({"banner-retargeting", "partner-program", "price-check"})
"""Campaigns whose network states nothing: what their touches say they cost counts."""
_IN_DOLLARS: Final = frozenset({"tiktok-spring", "b2b-nurseries"})
_BY_CAMPAIGN: Final = {
    way.campaign: way
    for way in reversed(WAYS)
    if (way.cost or way.registry_channel) and way.campaign not in _OWN_COST_ONLY
}
"""The first way of each campaign that is stated."""


class Written(NamedTuple):
    """A line about costs: what becomes of it, and its event."""

    outcome: str
    event: Event


class _Period(NamedTuple):
    """From `start` up to `end`, in ms; `day` where it is a whole day of the shop's."""

    start: int
    end: int
    day: date | None = None


def state_costs(rng: Random, count: int, span_ms: int, end: int, known: Knowledge) -> tuple[list[Written], list[Event]]:
    """`count` lines about the costs of the `span_ms` before `end`, and what claims the identity of one and comes last.

    The latter are among the `count`. What they come to is added to `known`, by whose touches the amounts are made up.
    """
    collided = 1 if count >= 20 else 0
    faulty = int(count * FAULTS)
    lines: list[Written] = []
    plan = _plan(rng, end - span_ms, end)
    number = 0
    while len(lines) < count - faulty - collided:
        way, period = plan[number % len(plan)]
        # Another round is about the campaign's parts, so that nothing is stated twice without being meant to.
        part = "" if number < len(plan) else f"part-{number // len(plan)}"
        number += 1
        lines += _statement(rng, way, period, part, end, known, most=count - faulty - collided - len(lines))
    stated = [line.event for line in lines]
    for _ in range(faulty if stated else 0):
        lines.append(_fault(rng, rng.choice(stated), end))
    last = [event | {"cost": "999999", "received_at": end} for event in rng.sample(stated, min(collided, len(stated)))]
    for line in lines:
        line.event.setdefault("received_at", min(line.event["time"] + rng.randint(SECOND, 9 * HOUR), end))
    return lines, last


def midnight(day: date) -> int:
    """When a day of the shop's begins, in ms."""
    return int(datetime.combine(day, time(), ZoneInfo(TIMEZONE)).timestamp()) * 1000


def _plan(rng: Random, start: int, end: int) -> list[tuple[Way, _Period]]:
    """Which campaign is stated for which period, in any order: days that are over, and hours of the one that is not."""
    today = datetime.fromtimestamp(end / 1000, UTC).astimezone(ZoneInfo(TIMEZONE)).date()
    first = datetime.fromtimestamp(start / 1000, UTC).astimezone(ZoneInfo(TIMEZONE)).date()
    days = [first + timedelta(days=number) for number in range((today - first).days)]
    plan = [
        (way, _Period(midnight(day), midnight(day + timedelta(days=1)), day))
        for way in _BY_CAMPAIGN.values()
        for day in days
        if rng.random() < STATED_DAYS
    ]
    for way in _BY_CAMPAIGN.values():
        if end - midnight(today) > 2 * MINUTE and rng.random() < 0.5:
            # Up to a minute of its own, so that hours are covered in part.
            minutes = (end - midnight(today)) // MINUTE
            first_minute = rng.randint(0, minutes - 1)
            last_minute = rng.randint(first_minute + 1, minutes)
            base = midnight(today)
            plan.append((way, _Period(base + first_minute * MINUTE, base + last_minute * MINUTE)))
    rng.shuffle(plan)
    return plan


def _statement(
    rng: Random, way: Way, period: _Period, part: str, end: int, known: Knowledge, *, most: int
) -> list[Written]:
    """A statement, sometimes with one that replaces it: at most `most` lines. What they come to is added to `known`."""
    of_period = [touch for touch in known.touches if touch.campaign == way.campaign and _within(touch, period)]
    currency = "USD" if way.campaign in _IN_DOLLARS else CURRENCY
    stated: dict[str, Any] = {"type": "cost", "site": SITE, "campaign": way.campaign, **_channel(rng, way)}
    if part:
        stated["ad_group"] = part
    if currency != CURRENCY or rng.random() < 0.5:
        stated["currency"] = currency
    at = min(period.end + 5 * HOUR, end - 3)
    micros = _amount(rng, way, of_period)
    versions = [(at, micros)]
    chance = rng.random() if most > 1 else 1.0
    if chance < RESTATED / 2:
        # The network corrects itself later: the later holds, whichever arrives first.
        versions.append((min(at + rng.randint(HOUR, 20 * HOUR), end - 2), _amount(rng, way, of_period)))
    elif chance < RESTATED:
        # Two of one time: the one of the greater event id holds.
        versions.append((at, micros + rng.randint(1, 5_000_000)))
    lines = []
    for number, (moment, amount) in enumerate(versions):
        event: Event = {"event_id": f"cost-{rng.getrandbits(48):012x}-{number}", "time": moment, **stated}
        if period.day is None or (number and rng.random() < 0.5):
            event |= {"from": period.start, "to": period.end}
        else:
            event["date"] = period.day.isoformat()
        event["cost"] = _money(amount) if rng.random() < 0.5 else amount / 1e6
        seen = sum(touch.kind == "impression" for touch in of_period)
        event |= {"impressions": seen, "clicks": len(of_period) - seen}
        lines.append(Written("accepted", event))
    best = max(range(len(lines)), key=lambda place: (versions[place][0], lines[place].event["event_id"].encode()))
    known.statements.append(
        KnownStatement(
            way.campaign,
            stated.get("channel") or _meant(stated, way),
            currency,
            period.start,
            period.end,
            versions[best][1],
        )
    )
    return lines


def _channel(rng: Random, way: Way) -> dict[str, str]:
    """How a statement says where its money went: by source and medium, by channel, or not at all."""
    if way.registered or rng.random() < 0.2:
        return {}
    if rng.random() < 0.5:
        return {"channel": way.channel}
    source, medium = way.source, way.medium
    return {"source": source.upper(), "medium": medium} if rng.random() < 0.2 else {"source": source, "medium": medium}


def _meant(stated: dict[str, Any], way: Way) -> str:
    """The channel of a statement that states none; '' where only the campaign's traffic tells."""
    return way.channel if "source" in stated or way.registered else ""


def _within(touch: KnownTouch, period: _Period) -> bool:
    return period.start <= touch.time < period.end


def _amount(rng: Random, way: Way, touches: Sequence[KnownTouch]) -> int:
    """Micros: near what its touches say, which count no more; now and then nothing at all."""
    if rng.random() < 0.03:
        return 0
    own = sum(touch.cost_micros for touch in touches)
    return int(own * rng.uniform(0.8, 1.5)) + rng.randint(1, max(1, int(1_000_000 * (way.cost or 2.0))))


def _money(micros: int) -> str:
    return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


def _fault(rng: Random, event: Event, end: int) -> Written:
    """`event` sent again, or one that is refused, and why."""
    kind = rng.randrange(4)
    if kind < 2:
        again = dict(reversed(event.items())) if kind else dict(event)
        return Written("duplicate", again)
    fresh = event | {"event_id": f"bad-{rng.getrandbits(48):012x}"}
    if kind == 2:
        return Written("too_old", fresh | {"time": end - rng.randint(36 * DAY, 90 * DAY), "received_at": end})
    fault: dict[str, Any] = rng.choice(
        (
            {"cost": "-1"},
            {"cost": "1,5"},
            {"cost": None},
            {"currency": "EURO"},
            {"clicks": -3},
            {"to": None, "from": end},
        )
    )
    if "from" in fault:
        fresh.pop("date", None)
    return Written("schema", fresh | fault | {"received_at": end})
