"""The truth about a simulated shop: what attribution must say, by its own account.

Rule: this reads what the generator knows of each touch and order, never an event, an address or the core; the
arithmetic is written from the rules of attribution alone, slowly, in fractions. Last step of the simulator.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.simulator.spent import count_costs, count_ratios

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from streams.simulator.spent import CostKey, KnownStatement, RatioKey, Ratios

DAY_MS: Final = 86_400_000
MILLION: Final = 1_000_000
LOOKBACK_DAYS: Final = {"click": 30, "landing": 30, "impression": 1}
MAX_CANDIDATES: Final = 500
RATIO_MODEL: Final = "last_non_direct"
"""The model under which costs are held against conversions and revenue."""


class KnownTouch(NamedTuple):
    """A touch as it was meant. `role`: ``touch``, ``internal``, ``continuation`` or ``arrival``.

    Money in micros; `cost_currency` is empty where no cost is stated. `lookback_days`: of its kind, for its campaign.
    """

    visitor_id: str
    event_id: str
    time: int
    kind: str
    channel: str
    campaign: str
    role: str = "touch"
    cost_micros: int = 0
    cost_currency: str = ""
    lookback_days: int = 30


class KnownConversion(NamedTuple):
    """A conversion as it ends: `amount_micros` after restatements, whatever the `status`; no visitor: unmatched."""

    visitor_id: str
    time: int
    action: str
    order_id: str
    amount_micros: int
    currency: str
    status: str


@dataclass(slots=True)
class Knowledge:
    """What the generator knows: touches, conversions, touches found invalid, who denied consent, and stated costs."""

    touches: list[KnownTouch] = field(default_factory=list)
    conversions: list[KnownConversion] = field(default_factory=list)
    invalid: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    statements: list[KnownStatement] = field(default_factory=list)

    def add(self, other: Knowledge) -> None:
        """Take in what `other` knows."""
        self.touches += other.touches
        self.conversions += other.conversions
        self.invalid |= other.invalid
        self.denied |= other.denied
        self.statements += other.statements


class CreditKey(NamedTuple):
    """Who gets the credit, under which model, in which currency."""

    model: str
    channel: str
    campaign: str
    currency: str


class Credit(NamedTuple):
    """Conversions in millionths and revenue in micros."""

    conversions: int
    revenue: int


class TrafficKey(NamedTuple):
    """Whose traffic, in which currency."""

    channel: str
    campaign: str
    currency: str


class Traffic(NamedTuple):
    """Counts, and cost in micros."""

    impressions: int
    clicks: int
    landings: int
    invalid: int
    cost: int


@dataclass(frozen=True, slots=True)
class Truth:
    """What ClickHouse must say once everything is through; rows without any figure are left out."""

    credits: dict[CreditKey, Credit]
    traffic: dict[TrafficKey, Traffic]
    costs: dict[CostKey, int]
    ratios: dict[RatioKey, Ratios]
    statuses: dict[str, int]
    touches: int
    unmatched: int
    accepted: int
    duplicates: int
    dead_letters: dict[str, int]

    @property
    def conversions(self) -> int:
        """Conversions of every status."""
        return sum(self.statuses.values())


def tell_truth(
    known: Knowledge, site_currency: str, accepted: int, duplicates: int, dead_letters: dict[str, int]
) -> Truth:
    """Put what is known through the rules; the last three are what the generator counted while it wrote events."""
    costs = count_costs(known, site_currency)
    traffic = count_traffic(known, site_currency, costs)
    credit = count_credits(known)
    return Truth(
        credits=credit,
        traffic=traffic,
        costs=costs,
        ratios=count_ratios(traffic, credit, RATIO_MODEL),
        statuses=dict(Counter(conversion.status for conversion in known.conversions)),
        touches=len(known.touches),
        unmatched=sum(not conversion.visitor_id for conversion in known.conversions),
        accepted=accepted,
        duplicates=duplicates,
        dead_letters=dead_letters,
    )


def count_traffic(known: Knowledge, site_currency: str, costs: dict[CostKey, int]) -> dict[TrafficKey, Traffic]:
    """Traffic by channel, campaign and currency, with its `costs`. Invalid touches count apart."""
    counts: dict[TrafficKey, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for key, micros in costs.items():
        counts[TrafficKey(key.channel, key.campaign, key.currency)][4] += micros
    for touch in known.touches:
        row = counts[TrafficKey(touch.channel, touch.campaign, touch.cost_currency or site_currency)]
        if touch.event_id in known.invalid:
            row[3] += 1
        elif touch.kind == "impression":
            row[0] += 1
        elif touch.kind == "click":
            row[1] += 1
        elif touch.role != "internal":
            row[2] += 1
    return {key: Traffic(*row) for key, row in counts.items() if any(row)}


def count_credits(known: Knowledge) -> dict[CreditKey, Credit]:
    """Credit by model, channel, campaign and currency, over all conversions that count."""
    converters = {conversion.visitor_id for conversion in known.conversions} - {""}
    journeys: dict[str, list[KnownTouch]] = {visitor: [] for visitor in converters}
    for touch in known.touches:
        if touch.visitor_id in journeys:
            journeys[touch.visitor_id].append(touch)
    sums: dict[CreditKey, list[int]] = defaultdict(lambda: [0, 0])
    for conversion in known.conversions:
        if conversion.status not in {"approved", "pending"}:
            continue
        journey = journeys.get(conversion.visitor_id, [])
        usable = (
            [] if conversion.visitor_id in known.denied else [t for t in journey if t.event_id not in known.invalid]
        )
        touches = candidates(conversion.time, usable)
        for model in MODELS:
            for credited, weight, value in share(conversion, touches, model):
                channel, campaign = (credited.channel, credited.campaign) if credited else ("Direct", "")
                row = sums[CreditKey(model, channel, campaign, conversion.currency)]
                row[0] += weight
                row[1] += value
    return {key: Credit(*row) for key, row in sums.items() if any(row)}


def candidates(time: int, touches: Iterable[KnownTouch]) -> list[KnownTouch]:
    """The touches that may take credit for a conversion at `time`, in order; `touches`: its visitor's valid ones."""
    ordered = sorted(touches, key=lambda touch: (touch.time, touch.event_id.encode()))
    fitting = [
        touch
        for touch in ordered
        if touch.role == "touch" and touch.time <= time and time - touch.time <= touch.lookback_days * DAY_MS
    ]
    visits = [touch for touch in fitting if touch.kind != "impression"]
    if any(touch.kind == "click" or touch.channel != "Direct" for touch in visits):
        fitting = visits
    if len(fitting) > MAX_CANDIDATES:
        fitting = [fitting[0], *fitting[-(MAX_CANDIDATES - 1) :]]
    return fitting


def share(
    conversion: KnownConversion, touches: Sequence[KnownTouch], model: str
) -> list[tuple[KnownTouch | None, int, int]]:
    """(touch or None, weight in millionths, value in micros) of each touch that gets a share of `conversion`."""
    if not touches:
        return [(None, MILLION, conversion.amount_micros)]
    weights = MODELS[model](conversion.time, touches)
    shown = divide(MILLION, weights)
    values = divide(conversion.amount_micros, weights)
    return [(t, s, v) for t, w, s, v in zip(touches, weights, shown, values, strict=True) if w]


def divide(amount: int, weights: Sequence[Fraction]) -> list[int]:
    """Whole shares of `amount` that sum to it: by largest remainder, the earlier one first among equals."""
    whole = sum(weights, Fraction(0))
    exact = [Fraction(abs(amount)) * weight / whole for weight in weights]
    shares = [portion.numerator // portion.denominator for portion in exact]
    missing = abs(amount) - sum(shares)
    by_remainder = sorted(range(len(exact)), key=lambda index: (shares[index] - exact[index], index))
    for index in by_remainder[:missing]:
        shares[index] += 1
    return shares if amount >= 0 else [-portion for portion in shares]


def _one(touches: Sequence[KnownTouch], index: int) -> list[Fraction]:
    return [Fraction(int(place == index)) for place in range(len(touches))]


def _last_touch(_: int, touches: Sequence[KnownTouch]) -> list[Fraction]:
    return _one(touches, len(touches) - 1)


def _first_touch(_: int, touches: Sequence[KnownTouch]) -> list[Fraction]:
    return _one(touches, 0)


def _last_non_direct(_: int, touches: Sequence[KnownTouch]) -> list[Fraction]:
    others = [place for place, touch in enumerate(touches) if touch.channel != "Direct"]
    return _one(touches, others[-1] if others else len(touches) - 1)


def _linear(_: int, touches: Sequence[KnownTouch]) -> list[Fraction]:
    return [Fraction(1)] * len(touches)


def _time_decay(time: int, touches: Sequence[KnownTouch]) -> list[Fraction]:
    with localcontext(prec=80):
        return [Fraction(Decimal(2) ** (Decimal(touch.time - time) / Decimal(7 * DAY_MS))) for touch in touches]


def _position_based(_: int, touches: Sequence[KnownTouch]) -> list[Fraction]:
    count = len(touches)
    if count <= 2:
        return [Fraction(1)] * count
    middle = Fraction(20, 100) / (count - 2)
    return [Fraction(40, 100), *[middle] * (count - 2), Fraction(40, 100)]


MODELS: Final[dict[str, Callable[[int, Sequence[KnownTouch]], list[Fraction]]]] = {
    "last_touch": _last_touch,
    "last_non_direct": _last_non_direct,
    "first_touch": _first_touch,
    "linear": _linear,
    "time_decay": _time_decay,
    "position_based": _position_based,
}
