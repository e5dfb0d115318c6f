"""The page of lag: quantiles at a glance, and bars of the times and of the touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinks.clickhouse.reports.figures import divided
from streams.cli.report import charts, words
from streams.cli.report.page.parts import tile
from streams.cli.report.tables.lag import MEASURES

if TYPE_CHECKING:
    from sinks.clickhouse.reports import Lag
    from sinks.clickhouse.reports.lag import Distribution
    from streams.cli.report.page.parts import Part


def lag_page(lag: Lag) -> Part:
    """What the template is given."""
    tiles = []
    compared = lag.before is not None and bool(lag.before.conversions)
    for name, read, show in MEASURES:
        found = read(lag.now)
        for title, field in (("median", "median"), ("90 % within", "p90")):
            one = tile(f"{name.capitalize()}: {title}", show(getattr(found, field)))
            if compared and lag.before is not None:
                one["before"] = show(getattr(read(lag.before), field))
            tiles.append(one)
    now = lag.now
    return {
        "tiles": tiles,
        "groups": [
            _histogram(
                "Time to conversion",
                [("since the first touch", now.from_first), ("since the last touch", now.from_last)],
            ),
            _histogram("Touches before a conversion", [("conversions", now.touches)]),
        ],
    }


def _histogram(title: str, series: list[tuple[str, Distribution]]) -> Part:
    most = max(max(found.counts) for _, found in series)
    rows = []
    for place, one in enumerate(series[0][1].bins):
        bars = []
        for name, found in series:
            count = found.counts[place]
            share = words.percent(divided(count, sum(found.counts)), 1)
            bars.append({"name": name, "count": f"{count:,}", "share": share, "length": charts.part(count, most)})
        rows.append({"label": one.label, "bars": bars})
    return {"title": title, "series": [name for name, _ in series], "rows": rows}
