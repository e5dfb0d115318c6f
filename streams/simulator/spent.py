"""The truth about costs: what each channel and campaign cost, hour by hour, and what follows from it.

Rule: by the simulator's own account, in whole micros and fractions, without the core and without ClickHouse. Where a
statement covers a campaign, its cost stands in the place of what the campaign's touches say they cost.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.simulator.truth import Credit, CreditKey, Knowledge, KnownTouch, Traffic, TrafficKey

HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
MILLION: Final = 1_000_000
UNKNOWN_CHANNEL: Final = "Unassigned"
"""Where neither statement, registry nor traffic knows a campaign's channel."""


class KnownStatement(NamedTuple):
    """What one period of a campaign, or of a part of it, cost in the end; no `channel`: that of its traffic."""

    campaign: str
    channel: str
    currency: str
    start: int
    end: int
    micros: int


class CostKey(NamedTuple):
    """Whose cost, in which currency, in which hour (since the epoch)."""

    channel: str
    campaign: str
    currency: str
    hour: int


class RatioKey(NamedTuple):
    """`by`: channel, campaign or, with an empty name, all; of which `name`, in which currency."""

    by: str
    name: str
    currency: str


class Ratios(NamedTuple):
    """Cost in micros, and what is divided from it in millionths, half-even; None: nothing to divide by."""

    cost: int
    cpc: int | None
    cpm: int | None
    cpa: int | None
    roas: int | None
    roi: int | None


def count_costs(known: Knowledge, site_currency: str) -> dict[CostKey, int]:
    """Micros by channel, campaign, currency and hour; hours without any are left out."""
    spent: dict[CostKey, int] = defaultdict(int)
    periods = stated_periods(known)
    for touch in known.touches:
        if touch.cost_micros and not is_stated(touch, periods):
            key = CostKey(touch.channel, touch.campaign, touch.cost_currency or site_currency, touch.time // HOUR_MS)
            spent[key] += touch.cost_micros
    by_traffic = {touch.campaign: touch.channel for touch in known.touches}
    for statement in known.statements:
        channel = statement.channel or by_traffic.get(statement.campaign, UNKNOWN_CHANNEL)
        for hour, micros in by_hour(statement.micros, statement.start, statement.end).items():
            spent[CostKey(channel, statement.campaign, statement.currency, hour)] += micros
    return {key: micros for key, micros in spent.items() if micros}


def stated_periods(known: Knowledge) -> dict[str, list[tuple[int, int]]]:
    """Campaign -> the periods (from, to; ms) that statements cover."""
    periods: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for statement in known.statements:
        periods[statement.campaign].append((statement.start, statement.end))
    return periods


def is_stated(touch: KnownTouch, periods: Mapping[str, Iterable[tuple[int, int]]]) -> bool:
    """Whether a statement covers the minute of `touch`, so that its own cost does not count."""
    minute = touch.time - touch.time % MINUTE_MS
    return any(start <= minute < end for start, end in periods.get(touch.campaign, ()))


def by_hour(micros: int, start: int, end: int) -> dict[int, int]:
    """`micros` over the hours that [start, end) touches: the whole part each, what is left by largest remainder."""
    covered = Counter(moment // HOUR_MS for moment in range(start, end, MINUTE_MS))
    shares = {hour: Fraction(micros * minutes, covered.total()) for hour, minutes in covered.items()}
    found = {hour: int(share) for hour, share in shares.items()}
    missing = micros - sum(found.values())
    for hour in sorted(shares, key=lambda hour: (found[hour] - shares[hour], hour))[:missing]:
        found[hour] += 1
    return found


def count_ratios(
    traffic: Mapping[TrafficKey, Traffic], credit: Mapping[CreditKey, Credit], model: str
) -> dict[RatioKey, Ratios]:
    """CPC, CPM, CPA, ROAS and ROI of each channel and campaign that cost something, and of all, by the currency."""
    found: dict[RatioKey, Ratios] = {}
    for by in ("all", "channel", "campaign"):
        clicks: Counter[str] = Counter()
        impressions: Counter[str] = Counter()
        conversions: Counter[str] = Counter()
        cost: Counter[tuple[str, str]] = Counter()
        revenue: Counter[tuple[str, str]] = Counter()
        for key, row in traffic.items():
            name = getattr(key, by, "")
            clicks[name] += row.clicks
            impressions[name] += row.impressions
            cost[name, key.currency] += row.cost
        for credited, share in credit.items():
            if credited.model == model:
                name = getattr(credited, by, "")
                conversions[name] += share.conversions
                revenue[name, credited.currency] += share.revenue
        for (name, currency), micros in cost.items():
            if micros:
                found[RatioKey(by, name, currency)] = Ratios(
                    micros,
                    _divided(micros, clicks[name]),
                    _divided(1000 * micros, impressions[name]),
                    _divided(MILLION * micros, conversions[name]),
                    _divided(MILLION * revenue[name, currency], micros),
                    _divided(MILLION * (revenue[name, currency] - micros), micros),
                )
    return found


def _divided(above: int, below: int) -> int | None:
    return round(Fraction(above, below)) if below else None
