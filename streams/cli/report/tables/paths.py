"""Paths: the most frequent ones, all others as one, and the total."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from sinks.clickhouse.reports.figures import ZERO, divided
from streams.cli.report import words
from streams.cli.report.tables.frame import add_figures, changed, fit, framed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sinks.clickhouse.reports import Paths
    from sinks.clickhouse.reports.paths import Taken
    from streams.cli.report.asking import Setting


def paths_tables(paths: Paths, setting: Setting, console: Console) -> list[Table]:
    """One table."""
    return [fit(lambda without: _table(paths, setting, without), ("share", "±"), console)]


def _table(paths: Paths, setting: Setting, without: frozenset[str]) -> Table:
    compared = bool(paths.before) and "±" not in without
    shared = "share" not in without
    currencies = setting.in_order(paths.total.value)
    several = len(currencies) > 1
    table = framed("path", widest=60)
    add_figures(table, "conver-\nsions", *(["±\n%"] if compared else []), *(["share\n%"] if shared else []))
    add_figures(table, "touches\non average")
    if several:
        table.add_column("", no_wrap=True, vertical="bottom", style="dim")
    add_figures(table, "value" if several or not currencies else f"value\n{currencies[0]}")
    lines: list[tuple[str, Taken, int | None]] = [(" > ".join(row.path), row.now, row.before) for row in paths.rows]
    if paths.other_paths:
        lines.append((f"{paths.other_paths:,} other paths", paths.others, paths.others_before))
    lines.append(("all paths", paths.total, paths.before))
    for name, taken, before in lines:
        last = taken is paths.total
        if last:
            table.add_section()
        own = [currency for currency in currencies if taken.value.get(currency)] or currencies[:1] or [""]
        for number, currency in enumerate(own):
            cells = [Text(words.plain(name)), Text(f"{taken.conversions:,}")]
            if compared:
                cells.append(changed(taken.conversions, before, good=True))
            if shared:
                part = divided(taken.conversions, paths.total.conversions)
                cells.append(Text(words.percent(part, 1, unit=False)))
            cells.append(Text(words.times(taken.average_touches)))
            if number:
                cells = [Text("")] * len(cells)
            if several:
                cells.append(Text(currency))
            cells.append(Text(words.money(taken.value.get(currency, ZERO), currency)))
            table.add_row(*cells, style="bold" if last else "")
    return table
