"""Channels or campaigns: what they brought, what they cost, and what is pending or rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rich.text import Text

from sinks.clickhouse.reports import Row
from sinks.clickhouse.reports.figures import Figures, count_ratios, money_ratios
from sinks.clickhouse.reports.results import shortened
from streams.cli.report import words
from streams.cli.report.tables.frame import add_figures, changed, fit, framed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from sinks.clickhouse.reports import Results
    from streams.cli.report.asking import Setting

Read = Callable[[Figures, str], Any]


class Column(NamedTuple):
    """A figure: `read` takes figures and a currency, `show` what was read and a currency.

    `counted`: the same whatever the currency, so shown once a row. `amount`: money that makes a currency worth a line.
    `changes`: whether its change stands beside it, `good`: whether more of it is (None: neither).
    """

    title: str
    read: Read
    show: Callable[[Any, str], str]
    counted: bool = False
    amount: bool = False
    changes: bool = False
    good: bool | None = None


def results_tables(results: Results, setting: Setting, limit: int, console: Console) -> list[Table]:
    """At most `limit` rows (0: all), the others as one."""
    rows = shortened(results.rows, limit)
    whole = words.all_whole(row.now.conversions for row in results.rows)

    def credit(value: Any, _: str) -> str:
        return words.credit(value, whole=whole)

    brought = [
        Column("visits", lambda f, _: f.visits, _count, counted=True, changes=True),
        Column("conver-\nsions", lambda f, _: f.conversions, credit, counted=True, changes=True, good=True),
        Column("CVR\n%", lambda f, _: count_ratios(f)["cvr"], _percent, counted=True),
        Column("revenue", lambda f, c: f.of(c).revenue, words.money, amount=True, changes=True, good=True),
        Column("AOV", _ratio("aov"), words.money),
        Column("EPC", _ratio("epc"), words.small_money),
    ]
    aside = [
        Column("pending", lambda f, _: f.conversions_pending, credit, counted=True),
        Column("pending\nrevenue", lambda f, c: f.of(c).revenue_pending, words.money, amount=True),
        Column("rejected", lambda f, _: f.conversions_rejected, credit, counted=True),
        Column("rejected\nrevenue", lambda f, c: f.of(c).revenue_rejected, words.money, amount=True),
    ]
    compared = bool(results.total.before)
    first = _Lines(results, setting, rows, compared=compared)
    tables = [first.table(brought, ("EPC", "±visits", "AOV", "±conver-\nsions", "±revenue", "CVR\n%"), console)]
    if any(row.now.impressions or row.now.clicks or any(m.cost for m in row.now.money.values()) for row in rows):
        tables.append(first.table(_COST, ("CPM", "ROI\n%", "±cost", "CPA", "impres-\nsions"), console))
    unsettled = [row for row in rows if row.now.conversions_pending or row.now.conversions_rejected]
    if unsettled:
        tables.append(_Lines(results, setting, unsettled, compared=False).table(aside, (), console))
    return tables


def _count(value: Any, _: str) -> str:
    return f"{value:,}"


def _percent(value: Any, _: str) -> str:
    return words.percent(value, unit=False)


def _ratio(name: str) -> Read:
    return lambda figures, currency: money_ratios(figures, currency)[name]


_COST: Final = [
    Column("impres-\nsions", lambda f, _: f.impressions, _count, counted=True),
    Column("clicks", lambda f, _: f.clicks, _count, counted=True),
    Column("cost", lambda f, c: f.of(c).cost, words.money, amount=True, changes=True),
    Column("CPC", _ratio("cpc"), words.small_money),
    Column("CPM", _ratio("cpm"), words.small_money),
    Column("CPA", _ratio("cpa"), words.small_money),
    Column("ROAS", _ratio("roas"), lambda value, _: words.times(value)),
    Column("ROI\n%", _ratio("roi"), lambda value, _: words.percent(value, 0, unit=False)),
]


class _Lines(NamedTuple):
    """Rows, and what their tables have in common."""

    results: Results
    setting: Setting
    rows: Sequence[Row]
    compared: bool

    def table(self, columns: Sequence[Column], order: Sequence[str], console: Console) -> Table:
        """A table of some columns, without the first of `order` where they don't fit (``±title``: its change)."""
        return fit(lambda without: self._build(columns, without), order, console)

    def _build(self, columns: Sequence[Column], without: frozenset[str]) -> Table:
        kept = [column for column in columns if column.title not in without]
        changing = {
            column.title for column in kept if column.changes and self.compared and f"±{column.title}" not in without
        }
        whole = self.results.total
        lines = [(row, self._currencies(kept, row)) for row in self.rows]
        lines.append((whole, self._currencies(kept, whole)))
        named = list(dict.fromkeys(currency for _, own in lines for currency in own))
        split = next(place for place, column in enumerate(kept) if not column.counted)
        table = framed(self.results.dimension)
        for place, column in enumerate(kept):
            if len(named) > 1 and place == split:
                table.add_column("", no_wrap=True, vertical="bottom", style="dim")
            titled = column.amount and len(named) == 1 and "\n" not in column.title
            add_figures(table, f"{column.title}\n{named[0]}" if titled else column.title)
            if column.title in changing:
                add_figures(table, "±\n%")
        for row, own in lines:
            if row is whole:
                table.add_section()
            for number, currency in enumerate(own):
                cells = [Text(self._name(row) if number == 0 else "")]
                for place, column in enumerate(kept):
                    if len(named) > 1 and place == split:
                        cells.append(Text(currency))
                    blank = column.counted and number > 0
                    now = column.read(row.now, currency)
                    cells.append(Text("" if blank else column.show(now, currency)))
                    if column.title in changing:
                        before = None if row.before is None else column.read(row.before, currency)
                        cells.append(Text("") if blank else changed(now, before, good=column.good))
                table.add_row(*cells, style="bold" if row is whole else "")
        return table

    def _currencies(self, columns: Sequence[Column], row: Row) -> list[str]:
        """Those that have an amount in one of the columns; the first of all where none has."""
        known = self.setting.in_order({name: money.revenue for name, money in self.results.total.now.money.items()})
        amounts = [column for column in columns if column.amount]
        own = [name for name in known if any(column.read(row.now, name) for column in amounts)]
        return own or known[:1] or [""]

    def _name(self, row: Row) -> str:
        if row is self.results.total:
            return f"all {self.results.dimension}s"
        return words.plain(row.name) or f"(no {self.results.dimension})"
