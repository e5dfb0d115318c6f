"""From rows to what the page shows: KPIs with their course, channels, campaigns, and the models beside each other.

Rule: pure. People and conversions are counted whole, whatever currency they bring; money is shown in one currency, and
amounts in others are named beside it, never added. Every ratio is made of the figures shown beside it (contract,
section 5); where it would divide by zero, or its money is stated in other currencies alone, it is None.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinks.page.periods import Window
    from sinks.page.queries import Campaign, Credit, Traffic

KPIS: Final = ("visits", "conversions", "cvr", "revenue", "cost", "cpa", "roas")
"""What is shown large, in this order."""
_NOTHING: Final = Decimal(0)


class Tally:
    """Sums of some rows: counts over all currencies, money by currency."""

    __slots__ = ("clicks", "conversions", "cost", "impressions", "pending", "revenue", "visits")

    def __init__(self) -> None:
        self.visits = 0
        self.impressions = 0
        self.clicks = 0
        self.conversions = _NOTHING
        self.pending = _NOTHING
        self.revenue: dict[str, Decimal] = defaultdict(Decimal)
        self.cost: dict[str, Decimal] = defaultdict(Decimal)

    def came(self, row: Traffic) -> None:
        """Add a row of traffic."""
        self.visits += row.visits
        self.impressions += row.impressions
        self.clicks += row.clicks
        self.cost[row.currency] += row.cost

    def earned(self, row: Credit) -> None:
        """Add a row of credit; rows of one model only go into one tally."""
        self.conversions += row.conversions
        self.pending += row.pending
        self.revenue[row.currency] += row.revenue

    def figures(self, currency: str) -> dict[str, Any]:
        """The `KPIS`, and what else belongs to costs; money in `currency`."""
        revenue = self.revenue.get(currency, _NOTHING)
        cost = self.cost.get(currency, _NOTHING)
        known_cost = bool(cost) or not _others(self.cost, currency)
        known_revenue = bool(revenue) or not _others(self.revenue, currency)
        return {
            "visits": self.visits,
            "conversions": float(self.conversions),
            "cvr": ratio(self.conversions, self.visits),
            "revenue": float(revenue),
            "cost": float(cost),
            "cpa": ratio(cost, self.conversions) if known_cost else None,
            "roas": ratio(revenue, cost) if known_revenue else None,
            "impressions": self.impressions,
            "clicks": self.clicks,
            "cpc": ratio(cost, self.clicks) if known_cost else None,
            "cpm": ratio(1000 * cost, self.impressions) if known_cost else None,
            "roi": ratio(revenue - cost, cost) if known_revenue else None,
        }

    def other_money(self, currency: str) -> dict[str, dict[str, float]]:
        """Amounts in other currencies, to be named beside."""
        return {"revenue": _others(self.revenue, currency), "cost": _others(self.cost, currency)}


def ratio(above: Decimal | int, below: Decimal | int) -> float | None:
    """The quotient, to six places; None where nothing is divided by."""
    return round(float(Decimal(above) / Decimal(below)), 6) if below else None


def kpis(
    window: Window, traffic: Iterable[Traffic], credit: Iterable[Credit], model: str, currency: str
) -> dict[str, Any]:
    """``value``s of the whole window, ``series`` by bar, and what is named beside."""
    total = Tally()
    bars = {start: Tally() for start in window.starts}
    for row in traffic:
        total.came(row)
        bars[row.bar].came(row)
    for line in credit:
        if line.model == model:
            total.earned(line)
            bars[line.bar].earned(line)
    by_bar = [bars[start].figures(currency) for start in window.starts]
    return {
        "values": total.figures(currency),
        "series": {name: [figures[name] for figures in by_bar] for name in KPIS},
        "pending": float(total.pending),
        "others": total.other_money(currency),
    }


def channels(
    traffic: Iterable[Traffic], credit: Iterable[Credit], model: str, currency: str
) -> dict[str, dict[str, Any]]:
    """Channel -> its figures and ``others``, those with most revenue first, then most visits.

    What was only seen has no line of its own.
    """
    tallies: dict[str, Tally] = defaultdict(Tally)
    shown = set()
    for row in traffic:
        tallies[row.channel].came(row)
        if row.visits or row.cost:
            shown.add(row.channel)
    for line in credit:
        if line.model == model:
            tallies[line.channel].earned(line)
            shown.add(line.channel)
    found = {
        channel: tally.figures(currency) | {"others": tally.other_money(currency)}
        for channel, tally in tallies.items()
        if channel in shown
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1]["revenue"], -item[1]["visits"], item[0])))


def models(credit: Iterable[Credit], names: Sequence[str], order: Sequence[str], currency: str) -> list[dict[str, Any]]:
    """A row a channel, in `order` and then the others: conversions and revenue under each model of `names`."""
    conversions: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    revenue: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for line in credit:
        conversions[line.channel][line.model] += line.conversions
        if line.currency == currency:
            revenue[line.channel][line.model] += line.revenue
    shown = [channel for channel in order if channel in conversions]
    shown += sorted(conversions.keys() - set(shown))
    return [
        {
            "channel": channel,
            "conversions": [float(conversions[channel][name]) for name in names],
            "revenue": [float(revenue[channel][name]) for name in names],
        }
        for channel in shown
    ]


def campaigns(found: Iterable[Campaign], currency: str) -> list[dict[str, Any]]:
    """Campaigns as they were found, each with its figures."""
    rows = []
    for row in found:
        tally = Tally()
        tally.visits, tally.conversions = row.visits, row.conversions
        tally.impressions, tally.clicks = row.impressions, row.clicks
        tally.revenue.update(row.revenue)
        tally.cost.update(row.cost)
        figures = tally.figures(currency) | {"others": tally.other_money(currency)}
        rows.append({"channel": row.channel, "campaign": row.campaign, **figures})
    return rows


def _others(amounts: dict[str, Decimal], currency: str) -> dict[str, float]:
    return {name: float(amount) for name, amount in sorted(amounts.items()) if amount and name != currency}
