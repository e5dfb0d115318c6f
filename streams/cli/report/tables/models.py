"""Models: what each channel earns under each of them, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from sinks.clickhouse.reports.figures import ZERO, divided
from sinks.clickhouse.reports.models import spread
from streams.cli.report import words
from streams.cli.report.tables.frame import add_figures, changed, fit, framed

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from rich.console import Console
    from rich.table import Table

    from sinks.clickhouse.reports import Models
    from sinks.clickhouse.reports.models import Credit, ModelRow, Shares
    from streams.cli.report.asking import Setting

_ORDER: Final = ("±", "decimals", "of mean", "spread")
"""What is left out first where the width does not do."""


def models_tables(models: Models, setting: Setting, console: Console) -> list[Table]:
    """Conversions, with how much lies elsewhere than under the baseline; then revenue, a table a currency."""
    whole = words.all_whole(amount for row in models.rows for amount in row.now.conversions.values())
    tables = [
        fit(
            lambda without: _table(
                models,
                "conversions",
                lambda credit: credit.conversions,
                lambda amount: words.credit(amount, whole=whole or "decimals" in without),
                without,
            ),
            _ORDER,
            console,
        )
    ]
    largest = {name: max(shares.values()) for name, shares in models.total.now.revenue.items()}
    return tables + [_revenue(models, currency, console) for currency in setting.in_order(largest)]


def _revenue(models: Models, currency: str, console: Console) -> Table:
    def build(without: frozenset[str]) -> Table:
        def show(amount: Decimal) -> str:
            return f"{amount:,.0f}" if "decimals" in without else words.money(amount, currency)

        return _table(models, f"revenue {currency}", lambda credit: credit.of(currency), show, without)

    return fit(build, _ORDER, console)


def _table(
    models: Models,
    title: str,
    read: Callable[[Credit], Shares],
    show: Callable[[Decimal], str],
    without: frozenset[str],
) -> Table:
    table = framed(f"{title}\nby channel")
    compared = bool(models.total.before) and "±" not in without
    further = [name for name in ("spread", "of mean") if name not in without]
    for model in models.models:
        marked = "bold" if model == models.baseline else ""
        add_figures(table, model.replace("_", "\n"), style=marked)
        if compared and model == models.baseline:
            add_figures(table, "±\n%")
    add_figures(table, *("of mean\n%" if name == "of mean" else name for name in further))
    for row in models.rows:
        if any(read(row.now).values()):
            table.add_row(*_cells(models, row, row.name, read, show, further, compared=compared))
    table.add_section()
    total = _cells(models, models.total, "all channels", read, show, [], compared=compared)
    table.add_row(*total, *[""] * len(further), style="bold")
    if title == "conversions":
        moved = [[words.percent(models.moved[model], 1)] for model in models.models]
        if compared:
            moved[models.models.index(models.baseline)].append("")
        flat = [cell for cells in moved for cell in cells]
        table.add_row("lies elsewhere", *flat, *[""] * len(further), style="dim")
    return table


def _cells(
    models: Models,
    row: ModelRow,
    name: str,
    read: Callable[[Credit], Shares],
    show: Callable[[Decimal], str],
    further: list[str],
    *,
    compared: bool,
) -> list[Text]:
    shares = read(row.now)
    cells = [Text(words.plain(name))]
    for model in models.models:
        cells.append(Text(show(shares.get(model, ZERO))))
        if compared and model == models.baseline:
            before = None if row.before is None else read(row.before).get(model, ZERO)
            cells.append(changed(shares.get(model, ZERO), before, good=True))
    amounts = [shares.get(model, ZERO) for model in models.models]
    apart, mean = spread(shares, models.models), sum(amounts, ZERO) / len(amounts)
    shown = {"spread": show(apart), "of mean": words.percent(divided(apart, mean), 0, unit=False)}
    return cells + [Text(shown[name]) for name in further]
