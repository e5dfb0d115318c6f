"""The page of paths: how many conversions took them, and the most frequent ones step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinks.clickhouse.reports.figures import divided
from streams.cli.report import charts, words
from streams.cli.report.page.parts import changed, tile

if TYPE_CHECKING:
    from sinks.clickhouse.reports import Paths
    from streams.cli.report.asking import Setting
    from streams.cli.report.page.parts import Part


def paths_page(paths: Paths, setting: Setting) -> Part:
    """What the template is given."""
    currencies = setting.in_order(paths.total.value) or [""]
    most = max((row.now.conversions for row in paths.rows), default=0)
    rows = []
    for row in paths.rows:
        value = [f"{words.money(row.now.value[name], name)} {name}" for name in currencies if name in row.now.value]
        rows.append(
            {
                "path": row.path,
                "conversions": f"{row.now.conversions:,}",
                "share": words.percent(divided(row.now.conversions, paths.total.conversions), 1),
                "length": charts.part(row.now.conversions, most),
                "touches": words.times(row.now.average_touches),
                "value": value,
            }
            | (changed(row.now.conversions, row.before, good=True) if paths.before else {"change": "", "mood": "even"})
        )
    total = paths.total
    conversions = tile("Conversions", f"{total.conversions:,}")
    if paths.before:
        conversions |= changed(total.conversions, paths.before, good=True) | {"before": f"{paths.before:,}"}
    tiles = [
        conversions,
        tile("Touches on average", words.times(total.average_touches)),
        tile("Different paths", f"{len(paths.rows) + paths.other_paths:,}"),
        *(tile(f"Value {name}", words.money(total.value[name], name)) for name in currencies if name in total.value),
    ]
    others = None
    if paths.other_paths:
        share = words.percent(divided(paths.others.conversions, total.conversions), 1)
        others = f"{paths.other_paths:,} other paths had {paths.others.conversions:,} conversions, {share} of all"
    return {"tiles": tiles, "rows": rows, "others": others}
