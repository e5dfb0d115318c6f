"""Figures and what is divided from them: the KPIs of the contract's section 5.

Rule: nothing divided by zero is a number, it is None. A currency is never added to another: what is money is held by
currency, what is counted is counted whatever its currency. So a ratio of money to a count (CPC, CPM, CPA, EPC) divides
one currency's money by the whole count, AOV divides by the conversions that were paid in that currency, and ROAS and
ROI compare money of one currency alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

ZERO: Final = Decimal(0)
PLACES: Final = Decimal("0.000001")
Ratio = Decimal | None


@dataclass(slots=True)
class Money:
    """What there is in one currency; `conversions` are those that were paid in it. Pending revenue is in `revenue`."""

    conversions: Decimal = ZERO
    revenue: Decimal = ZERO
    cost: Decimal = ZERO
    revenue_pending: Decimal = ZERO
    revenue_rejected: Decimal = ZERO

    def add(self, other: Money) -> None:
        """Add amounts of the same currency."""
        self.conversions += other.conversions
        self.revenue += other.revenue
        self.cost += other.cost
        self.revenue_pending += other.revenue_pending
        self.revenue_rejected += other.revenue_rejected

    def __bool__(self) -> bool:
        return any((self.conversions, self.revenue, self.cost, self.revenue_pending, self.revenue_rejected))


@dataclass(slots=True)
class Figures:
    """What was counted, and the money beside it by currency. Pending conversions are among `conversions`."""

    impressions: int = 0
    clicks: int = 0
    visits: int = 0
    invalid: int = 0
    conversions: Decimal = ZERO
    conversions_pending: Decimal = ZERO
    conversions_rejected: Decimal = ZERO
    money: dict[str, Money] = field(default_factory=dict)

    def add(self, other: Figures) -> None:
        """Add another's figures, each currency to itself."""
        self.impressions += other.impressions
        self.clicks += other.clicks
        self.visits += other.visits
        self.invalid += other.invalid
        self.conversions += other.conversions
        self.conversions_pending += other.conversions_pending
        self.conversions_rejected += other.conversions_rejected
        for currency, amounts in other.money.items():
            self.money.setdefault(currency, Money()).add(amounts)

    def of(self, currency: str) -> Money:
        """The money in one currency; nothing where there is none."""
        return self.money.get(currency) or Money()

    def __bool__(self) -> bool:
        counted = (self.impressions, self.clicks, self.visits, self.invalid)
        credited = (self.conversions, self.conversions_pending, self.conversions_rejected)
        return any(counted) or any(credited) or any(self.money.values())


def total(figures: Iterable[Figures]) -> Figures:
    """All of them together."""
    found = Figures()
    for part in figures:
        found.add(part)
    return found


def divided(part: Decimal | int, whole: Decimal | int) -> Ratio:
    """`part` / `whole` to six places; None where `whole` is 0."""
    return (Decimal(part) / Decimal(whole)).quantize(PLACES) if whole else None


def count_ratios(figures: Figures) -> dict[str, Ratio]:
    """``ctr`` and ``cvr``."""
    return {
        "ctr": divided(figures.clicks, figures.impressions),
        "cvr": divided(figures.conversions, figures.visits),
    }


def money_ratios(figures: Figures, currency: str) -> dict[str, Ratio]:
    """``cpc``, ``cpm``, ``cpa``, ``aov``, ``epc``, ``roas`` and ``roi`` in one currency."""
    money = figures.of(currency)
    return {
        "cpc": divided(money.cost, figures.clicks),
        "cpm": divided(1000 * money.cost, figures.impressions),
        "cpa": divided(money.cost, figures.conversions),
        "aov": divided(money.revenue, money.conversions),
        "epc": divided(money.revenue, figures.visits),
        "roas": divided(money.revenue, money.cost),
        "roi": divided(money.revenue - money.cost, money.cost),
    }


def change(now: Decimal | int | None, before: Decimal | int | None) -> Ratio:
    """How much more `now` is than `before`, as a part of `before`; None where either is missing or `before` is 0."""
    if now is None or before is None or not before:
        return None
    return ((Decimal(now) - Decimal(before)) / abs(Decimal(before))).quantize(PLACES)
