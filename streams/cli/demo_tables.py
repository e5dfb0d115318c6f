"""What the demo shows: the table of channels, and the table of what differs.

Rule: only what was measured in ClickHouse is shown; amounts of different currencies are never added.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.simulator.compare import Difference, Measured

MODELS: Final = ("last_touch", "last_non_direct", "first_touch", "linear", "time_decay", "position_based")
HEADLINE_MODEL: Final = "last_non_direct"
"""The model of the columns conversions, CVR and revenue."""
MOST_DIFFERENCES: Final = 20


def channel_table(found: Measured, currency: str) -> Table:
    """Channels by revenue: visits, conversions, CVR and revenue in `currency`, then conversions under each model."""
    visits: dict[str, int] = defaultdict(int)
    credit: dict[tuple[str, str], int] = defaultdict(int)
    revenue: dict[str, int] = defaultdict(int)
    others: dict[str, int] = defaultdict(int)
    for key, traffic in found.traffic.items():
        visits[key.channel] += traffic.clicks + traffic.landings
    for row, share in found.kpis.items():
        credit[row.channel, row.model] += share.conversions
        if row.model == HEADLINE_MODEL:
            (revenue if row.currency == currency else others)[
                row.channel if row.currency == currency else row.currency
            ] += share.revenue
    table = Table(title="Who gets the credit", caption=_caption(others), header_style="bold", caption_style="dim")
    table.add_column("channel")
    for name in ("visits", "conversions", "CVR", f"revenue {currency}"):
        table.add_column(name, justify="right")
    for model in MODELS:
        table.add_column(model.replace("_", " "), justify="right", style="cyan")
    channels = sorted({*visits, *(channel for channel, _ in credit)}, key=lambda name: (-revenue[name], name))
    for channel in channels:
        table.add_row(*_row(channel, visits[channel], credit, revenue[channel]))
    table.add_section()
    totals = {("all", model): sum(credit[channel, model] for channel in channels) for model in MODELS}
    table.add_row(*_row("all", sum(visits.values()), totals, sum(revenue.values())), style="bold")
    return table


def difference_table(differences: Sequence[Difference]) -> Table:
    """The first differences between the truth and ClickHouse."""
    more = len(differences) - MOST_DIFFERENCES
    table = Table(title="What differs", header_style="bold", caption=f"and {more:,} more" if more > 0 else None)
    for name in ("figure", "truth", "ClickHouse"):
        table.add_column(name, overflow="fold")
    for difference in differences[:MOST_DIFFERENCES]:
        table.add_row(*map(Text, difference))
    return table


def _row(channel: str, visits: int, credit: dict[tuple[str, str], int], revenue: int) -> list[str]:
    conversions = credit.get((channel, HEADLINE_MODEL), 0)
    rate = f"{conversions / visits / 10_000:.2f} %" if visits else "-"
    shares = [f"{credit.get((channel, model), 0) / 1e6:,.2f}" for model in MODELS]
    return [channel, f"{visits:,}", f"{conversions / 1e6:,.2f}", rate, f"{revenue / 1e6:,.2f}", *shares]


def _caption(others: dict[str, int]) -> str:
    text = f"conversions, CVR and revenue: {HEADLINE_MODEL}; the columns to the right: conversions under each model"
    if others:
        text += "\nbesides: " + ", ".join(f"{name} {amount / 1e6:,.2f}" for name, amount in sorted(others.items()))
    return text
