"""Compares what ClickHouse says about the simulated shop with the truth, to the micro.

Rule: everything is compared that analysts sum by channel and campaign: credits (twice: as the credits themselves, and
as the minutes add up to them), traffic, cost by hour, what `headwater report` divides from it, conversions by status,
dead letters by reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streams.simulator.spent import CostKey, RatioKey, Ratios
    from streams.simulator.truth import Credit, CreditKey, Traffic, TrafficKey, Truth


@dataclass(frozen=True, slots=True)
class Measured:
    """What ClickHouse says, in the truth's own terms; rows without any figure are left out."""

    credits: dict[CreditKey, Credit]
    kpis: dict[CreditKey, Credit]
    traffic: dict[TrafficKey, Traffic]
    costs: dict[CostKey, int]
    ratios: dict[RatioKey, Ratios]
    statuses: dict[str, int]
    touches: int
    unmatched: int
    dead_letters: dict[str, int]


class Difference(NamedTuple):
    """One figure that differs: what it is, and both values."""

    what: str
    truth: str
    found: str


def differences(truth: Truth, found: Measured, repeated: Mapping[str, int] | None = None) -> list[Difference]:
    """All figures that differ.

    `repeated`: lines by outcome that may have arrived more than once, and so may be that many more dead letters.
    """
    result = [
        *_compare("credits", truth.credits, found.credits),
        *_compare("kpis", truth.credits, found.kpis),
        *_compare("traffic", truth.traffic, found.traffic),
        *_compare("costs", truth.costs, found.costs),
        *_compare("ratios", truth.ratios, found.ratios),
        *_compare("conversions", truth.statuses, found.statuses),
        *_compare("touches", {"all": truth.touches}, {"all": found.touches}),
        *_compare("unmatched", {"all": truth.unmatched}, {"all": found.unmatched}),
    ]
    for reason in sorted({*truth.dead_letters, *found.dead_letters}):
        least, is_now = truth.dead_letters.get(reason, 0), found.dead_letters.get(reason, 0)
        most = least + (repeated or {}).get(reason, 0)
        if not least <= is_now <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            result.append(Difference(f"dead letters {reason}", wanted, str(is_now)))
    return result


def _compare(what: str, truth: Mapping[Any, Any], found: Mapping[Any, Any]) -> Iterable[Difference]:
    for key in sorted({*truth, *found}):
        wanted, is_now = truth.get(key), found.get(key)
        if wanted != is_now:
            name = " / ".join(str(part) or "-" for part in key) if isinstance(key, tuple) else key
            yield Difference(f"{what} {name}", _figures(wanted), _figures(is_now))


def _figures(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, int):
        return str(value)
    return ", ".join(f"{name} {figure}" for name, figure in value._asdict().items() if figure)
