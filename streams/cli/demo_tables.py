"""What the demo shows: the table of channels, that of what they cost, and the table of what differs.

Rule: only what was measured in ClickHouse is shown; amounts of different currencies are never added.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.simulator.compare import Difference, Measured
    from streams.simulator.spent import Ratios

MODELS: Final = ("last_touch", "last_non_direct", "first_touch", "linear", "time_decay", "position_based")
HEADLINE_MODEL: Final = "last_non_direct"
"""The model of the columns conversions, CVR and revenue."""
MOST_DIFFERENCES: Final = 20
TOTAL: Final = "all channels"
WIDE: Final = 118
"""Columns of the screen that one table of everything takes."""


def channel_tables(found: Measured, currency: str, width: int) -> list[Table]:
    """Channels by revenue: visits, conversions, CVR and revenue in `currency`, and conversions under each model.

    One table, or two where less than `WIDE` columns of the screen are there.
    """
    visits: dict[str, int] = defaultdict(int)
    credit: dict[tuple[str, str], int] = defaultdict(int)
    revenue: dict[str, int] = defaultdict(int)
    others: dict[str, int] = defaultdict(int)
    for key, traffic in found.traffic.items():
        visits[key.channel] += traffic.clicks + traffic.landings
    for row, share in found.kpis.items():
        credit[row.channel, row.model] += share.conversions
        if row.model == HEADLINE_MODEL and row.currency == currency:
            revenue[row.channel] += share.revenue
        elif row.model == HEADLINE_MODEL:
            others[row.currency] += share.revenue
    channels = sorted({*visits, *(channel for channel, _ in credit)}, key=lambda name: (-revenue[name], name))
    for model in MODELS:
        credit[TOTAL, model] = sum(credit[channel, model] for channel in channels)
    visits[TOTAL], revenue[TOTAL] = sum(visits.values()), sum(revenue.values())

    lines = {
        channel: (
            [f"{visits[channel]:,}", *_results(credit[channel, HEADLINE_MODEL], visits[channel], revenue[channel])],
            [f"{credit[channel, model] / 1e6:,.2f}" for model in MODELS],
        )
        for channel in (*channels, TOTAL)
    }
    results = ["visits", "conver-\nsions", "CVR", f"revenue\n{currency}"]
    models = [model.replace("_", "\n") for model in MODELS]
    note = f"conversions, CVR and revenue under {HEADLINE_MODEL}" + "".join(
        f"; besides {name} {amount / 1e6:,.2f}" for name, amount in sorted(others.items())
    )
    if width >= WIDE:
        return [
            _table(note, [*results, *models], {channel: [*left, *right] for channel, (left, right) in lines.items()})
        ]
    return [
        _table(note, results, {channel: left for channel, (left, _) in lines.items()}),
        _table("conversions under each model", models, {channel: right for channel, (_, right) in lines.items()}),
    ]


def cost_table(found: Measured, currency: str) -> Table:
    """Channels by cost in `currency`: cost, and what `headwater report` divides from it."""
    rows = {key: ratios for key, ratios in found.ratios.items() if key.by in {"all", "channel"}}
    lines = {key.name or TOTAL: ratios for key, ratios in rows.items() if key.currency == currency}
    ordered = sorted(lines, key=lambda name: (name == TOTAL, -lines[name].cost, name))
    others = sorted((key.currency, ratios.cost) for key, ratios in rows.items() if key.by == "all")
    note = f"CPA, ROAS and ROI under {HEADLINE_MODEL}" + "".join(
        f"; besides {name} {micros / 1e6:,.2f}" for name, micros in others if name != currency
    )
    names = [f"cost\n{currency}", "CPC", "CPM", "CPA", "ROAS", "ROI"]
    return _table(note, names, {name: _costs(lines[name]) for name in ordered})


def difference_table(differences: Sequence[Difference]) -> Table:
    """The first differences between the truth and ClickHouse."""
    more = len(differences) - MOST_DIFFERENCES
    table = Table(title="What differs", header_style="bold", caption=f"and {more:,} more" if more > 0 else None)
    for name in ("figure", "truth", "ClickHouse"):
        table.add_column(name, overflow="fold")
    for difference in differences[:MOST_DIFFERENCES]:
        table.add_row(*map(Text, difference))
    return table


def _results(conversions: int, visits: int, revenue: int) -> list[str]:
    rate = f"{conversions / visits / 10_000:.2f} %" if visits else "-"
    return [f"{conversions / 1e6:,.2f}", rate, f"{revenue / 1e6:,.2f}"]


def _costs(ratios: Ratios) -> list[str]:
    cost, *prices = ("-" if micros is None else f"{micros / 1e6:,.2f}" for micros in ratios[:5])
    return [cost, *prices, "-" if ratios.roi is None else f"{ratios.roi / 1e4:,.0f} %"]


def _table(note: str, names: Sequence[str], lines: dict[str, list[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, header_style="bold")
    table.caption, table.caption_justify, table.caption_style = note, "left", "dim"
    table.add_column("channel", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", vertical="bottom", no_wrap=True)
    for channel, figures in lines.items():
        if channel == TOTAL:
            table.add_section()
        table.add_row(channel, *figures, style="bold" if channel == TOTAL else "")
    return table
