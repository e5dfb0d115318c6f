"""The frame that all tables share: columns, changes, bars, and how one is made to fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sinks.clickhouse.reports.figures import change
from streams.cli.report import words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from rich.console import Console

WIDTH: Final = 100
"""Columns that a report takes where the output is no terminal."""
_BLOCKS: Final = "▏▎▍▌▋▊▉"


def framed(title: str, *, widest: int = 34) -> Table:
    """A table whose first column names things, in at most so many columns; longer names go on below."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column(title, vertical="bottom", min_width=14, max_width=widest, overflow="fold")
    return table


def add_figures(table: Table, *titles: str, style: str = "") -> None:
    """Columns of figures; a line break in a title is one in the head."""
    for title in titles:
        table.add_column(title, justify="right", vertical="bottom", no_wrap=True, style=style)


def fit(build: Callable[[frozenset[str]], Table], order: Sequence[str], console: Console) -> Table:
    """The table that `build` makes of what it may leave out: nothing, or the first so many of `order` until it fits."""
    table = build(frozenset())
    # Measured as if there was room enough, since no table is wider than its room.
    roomy = console.options.update(max_width=10 * WIDTH)
    for count in range(1, len(order) + 1):
        if Measurement.get(console, roomy, table).minimum <= console.width:
            break
        table = build(frozenset(order[:count]))
    return table


def changed(now: Decimal | int | None, before: Decimal | int | None, *, good: bool | None) -> Text:
    """A signed change in per cent; `new` where there was nothing before. `good`: whether more is (None: neither)."""
    if now and before is not None and not before:
        return Text("new", style="dim")
    ratio = change(now, before)
    if ratio is None:
        return Text(words.NOTHING, style="dim")
    style = "dim" if good is None or not ratio else "green" if (ratio > 0) is good else "red"
    return Text(words.change(ratio, unit=False), style=style)


def bar(part: float, most: float, width: int) -> Text:
    """A bar of `width` columns for `most`, to an eighth of a column."""
    eighths = round(8 * width * part / most) if most else 0
    return Text("█" * (eighths // 8) + (_BLOCKS[eighths % 8 - 1] if eighths % 8 else ""), style="cyan")
