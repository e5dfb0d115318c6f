"""Lag: quantiles of the times to conversion, and how they are spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rich.text import Text

from sinks.clickhouse.reports.lag import Distribution, Lags
from streams.cli.report import words
from streams.cli.report.tables.frame import add_figures, bar, fit, framed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sinks.clickhouse.reports import Lag

_BAR: Final = 18


def _number(value: float | None) -> str:
    return words.NOTHING if value is None else f"{value:,.1f}"


MEASURES: Final[tuple[tuple[str, Callable[[Lags], Distribution], Callable[[float | None], str]], ...]] = (
    ("since the first touch", lambda lags: lags.from_first, words.duration),
    ("since the last touch", lambda lags: lags.from_last, words.duration),
    ("touches", lambda lags: lags.touches, _number),
)
"""Name, where it is found, how a value of it is shown."""


def lag_tables(lag: Lag, console: Console) -> list[Table]:
    """Quantiles; times by bin; touches by number."""
    return [
        fit(lambda without: _quantiles(lag, without), ("mean", "before"), console),
        fit(lambda without: _times(lag.now, without), ("bars",), console),
        fit(lambda without: _touches(lag.now, without), ("bars",), console),
    ]


def _quantiles(lag: Lag, without: frozenset[str]) -> Table:
    table = framed("to conversion")
    before = lag.before if lag.before is not None and lag.before.conversions and "before" not in without else None
    figures = [
        (title, field)
        for title, field in (("median", "median"), ("90 %\nwithin", "p90"), ("mean", "mean"))
        if field not in without
    ]
    for title, _ in figures:
        add_figures(table, title)
        if before is not None:
            add_figures(table, "before", style="dim")
    for name, read, show in MEASURES:
        cells = []
        for _, field in figures:
            cells.append(show(getattr(read(lag.now), field)))
            if before is not None:
                cells.append(show(getattr(read(before), field)))
        table.add_row(name, *cells)
    return table


def _times(lags: Lags, without: frozenset[str]) -> Table:
    table = framed("time to\nconversion")
    for title in ("since the\nfirst touch", "since the\nlast touch"):
        _add_bin_columns(table, title, without)
    first, latest = lags.from_first, lags.from_last
    for one, early, late in zip(first.bins, first.counts, latest.counts, strict=True):
        table.add_row(one.label, *_bin(early, first, without), *_bin(late, latest, without))
    return table


def _touches(lags: Lags, without: frozenset[str]) -> Table:
    table = framed("touches")
    _add_bin_columns(table, "conversions", without)
    for one, count in zip(lags.touches.bins, lags.touches.counts, strict=True):
        table.add_row(one.label, *_bin(count, lags.touches, without))
    return table


def _add_bin_columns(table: Table, title: str, without: frozenset[str]) -> None:
    add_figures(table, title, "%")
    if "bars" not in without:
        table.add_column("", no_wrap=True, width=_BAR)


def _bin(count: int, found: Distribution, without: frozenset[str]) -> list[str | Text]:
    """A count, its share, and a bar in the scale of the fullest bin."""
    whole = sum(found.counts)
    share = f"{100 * count / whole:.1f}" if whole else words.NOTHING
    bars: list[str | Text] = [] if "bars" in without else [bar(count, max(found.counts), _BAR)]
    return [f"{count:,}", share, *bars]
