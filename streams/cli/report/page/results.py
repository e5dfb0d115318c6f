"""The page of channels or campaigns: figures at a glance, trends, bars, and the table of everything."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from sinks.clickhouse.reports.figures import count_ratios, divided, money_ratios
from sinks.clickhouse.reports.results import shortened
from streams.cli.report import charts, words
from streams.cli.report.page.parts import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinks.clickhouse.reports import Figures, Results, Row
    from streams.cli.report.asking import Setting
    from streams.cli.report.page.parts import Part

MOST_BARS: Final = 20


def results_page(results: Results, setting: Setting, limit: int) -> Part:
    """What the template is given; at most `limit` rows (0: all)."""
    total = results.total
    currencies = setting.in_order({name: money.revenue for name, money in total.now.money.items()}) or [""]
    main = currencies[0]
    rows = shortened(results.rows, limit)
    compared = bool(total.before)
    whole = words.all_whole(row.now.conversions for row in results.rows)

    def credit(value: Any) -> str:
        return words.credit(value, whole=whole)

    tiles = [
        ("Visits", lambda f: f.visits, lambda v: f"{v:,}", None),
        ("Conversions", lambda f: f.conversions, credit, True),
        ("Conversion rate", lambda f: count_ratios(f)["cvr"], words.percent, True),
        (f"Revenue {main}", lambda f: f.of(main).revenue, lambda v: words.money(v, main), True),
        (f"Cost {main}", lambda f: f.of(main).cost, lambda v: words.money(v, main), None),
        ("ROAS", lambda f: money_ratios(f, main)["roas"], words.times, True),
    ]
    return {
        "tiles": [_tile(results, *tile, compared=compared) for tile in tiles],
        "trends": [
            _trend("Conversions", results, lambda f: f.conversions, credit),
            _trend(f"Revenue {main}", results, lambda f: f.of(main).revenue, lambda v: words.money(v, main)),
            _trend("Visits", results, lambda f: f.visits, lambda v: f"{v:,}"),
        ],
        "compared": compared,
        "unfinished": setting.question.span.end > datetime.now(UTC),
        "bars": [
            _bars("Conversions", rows, results, lambda f: f.conversions, credit),
            *(
                _bars(
                    f"Revenue {currency}",
                    rows,
                    results,
                    lambda f, currency=currency: f.of(currency).revenue,  # type: ignore[misc]
                    lambda v, currency=currency: words.money(v, currency),  # type: ignore[misc]
                )
                for currency in currencies
                if total.now.of(currency).revenue
            ),
        ],
        "table": _results_table(results, rows, currencies, credit, compared=compared),
    }


def _tile(
    results: Results,
    title: str,
    read: Callable[[Figures], Any],
    show: Callable[[Any], str],
    good: bool | None,
    *,
    compared: bool,
) -> Part:
    now = read(results.total.now)
    series = [float(read(figures) or 0) for figures in results.series.values()]
    tile: Part = {"title": title, "value": show(now), "line": charts.line(series, max(series, default=0)), "change": ""}
    if compared and results.total.before is not None:
        before = read(results.total.before)
        tile |= changed(now, before, good) | {"before": show(before)}
    return tile


def _trend(title: str, results: Results, read: Callable[[Figures], Any], show: Callable[[Any], str]) -> Part:
    now = [float(read(figures) or 0) for figures in results.series.values()]
    before = [float(read(figures) or 0) for figures in results.series_before.values()]
    if not any(before):
        before = []
    most = charts.ceiling(max([*now, *before], default=0))
    steps = max(len(now), len(before))
    labels = [_short(label) for label in results.series]
    points = [
        f"{label}: {show(read(figures) or 0)}" for label, figures in zip(labels, results.series.values(), strict=True)
    ]
    return {
        "title": title,
        "now": charts.line(now, most, steps=steps),
        "before": charts.line(before, most, steps=steps),
        "most": show(Decimal(str(most))) if title.startswith("Revenue") else f"{most:,.0f}",
        "ticks": charts.ticks(labels),
        "points": points,
        "steps": len(points),
    }


def _short(label: str) -> str:
    """A day or an hour of a series, short: ``19 Nov`` or ``14:00``."""
    if " " in label:
        return label.partition(" ")[2]
    day = datetime.strptime(label, "%Y-%m-%d").replace(tzinfo=UTC)
    return f"{day.day} {day:%b}"


def _bars(
    title: str, rows: Sequence[Row], results: Results, read: Callable[[Figures], Any], show: Callable[[Any], str]
) -> Part:
    shown = sorted((row for row in rows if read(row.now)), key=lambda row: -read(row.now))[:MOST_BARS]
    values = [read(row.now) for row in shown] + [read(row.before) for row in shown if row.before is not None]
    most = float(max(values, default=0))
    whole = read(results.total.now)
    bars = []
    for row in shown:
        now = read(row.now)
        bar: Part = {
            "name": row.name or f"(no {results.dimension})",
            "value": show(now),
            "share": words.percent(divided(now, whole), 1),
            "length": charts.part(float(now), most),
            "before": None,
            "change": "",
        }
        if row.before is not None and results.total.before:
            bar |= {"before": charts.part(float(read(row.before)), most)} | changed(now, read(row.before), good=True)
        bars.append(bar)
    return {"title": title, "bars": bars, "hidden": len([row for row in rows if read(row.now)]) - len(shown)}


def _results_table(
    results: Results, rows: Sequence[Row], currencies: list[str], credit: Callable[[Any], str], *, compared: bool
) -> Part:
    several = len(currencies) > 1
    head = [
        "Impressions",
        "Clicks",
        "Visits",
        *(["±"] if compared else []),
        "Conversions",
        *(["±"] if compared else []),
    ]
    head += ["CVR", "Pending", "Rejected", *(["Currency"] if several else [])]
    money = "" if several else f" {currencies[0]}"
    head += [f"Revenue{money}", *(["±"] if compared else []), f"Cost{money}", *(["±"] if compared else [])]
    head += ["CPC", "CPM", "CPA", "AOV", "EPC", "ROAS", "ROI", "Pending revenue", "Rejected revenue"]
    lines = []
    for row in [*rows, results.total]:
        last = row is results.total
        own = [name for name in currencies if row.now.money.get(name)] or currencies[:1]
        for number, currency in enumerate(own):
            first = number == 0
            name = f"all {results.dimension}s" if last else row.name or f"(no {results.dimension})"
            cells = _counts(row, credit, compared=compared)
            if not first:
                cells = [{"text": ""} for _ in cells]
            cells += [{"text": currency, "mood": "soft"}] if several else []
            cells += _amounts(row, currency, compared=compared)
            lines.append({"name": name if first else "", "cells": cells, "total": last, "more": not first})
    return {"title": results.dimension.capitalize(), "head": head, "lines": lines}


def _counts(row: Row, credit: Callable[[Any], str], *, compared: bool) -> list[Part]:
    now, before = row.now, row.before
    cells = [{"text": f"{now.impressions:,}"}, {"text": f"{now.clicks:,}"}, {"text": f"{now.visits:,}"}]
    if compared:
        cells.append(_change_cell(now.visits, before and before.visits, None))
    cells.append({"text": credit(now.conversions)})
    if compared:
        cells.append(_change_cell(now.conversions, before and before.conversions, good=True))
    cells.append({"text": words.percent(count_ratios(now)["cvr"])})
    return [*cells, {"text": credit(now.conversions_pending)}, {"text": credit(now.conversions_rejected)}]


def _amounts(row: Row, currency: str, *, compared: bool) -> list[Part]:
    now, ratios = row.now.of(currency), money_ratios(row.now, currency)
    before = row.before.of(currency) if row.before is not None else None
    cells = [{"text": words.money(now.revenue, currency)}]
    if compared:
        cells.append(_change_cell(now.revenue, before and before.revenue, good=True))
    cells.append({"text": words.money(now.cost, currency)})
    if compared:
        cells.append(_change_cell(now.cost, before and before.cost, None))
    cells += [{"text": words.small_money(ratios[name], currency)} for name in ("cpc", "cpm", "cpa")]
    cells += [{"text": words.money(ratios["aov"], currency)}, {"text": words.small_money(ratios["epc"], currency)}]
    cells += [{"text": words.times(ratios["roas"])}, {"text": words.percent(ratios["roi"], 0)}]
    return [
        *cells,
        {"text": words.money(now.revenue_pending, currency)},
        {"text": words.money(now.revenue_rejected, currency)},
    ]


def _change_cell(now: Any, before: Any, good: bool | None) -> Part:
    found = changed(now, before, good)
    return {"text": found["change"] or words.NOTHING, "mood": found["mood"]}
