"""Reports as CSV, for spreadsheets.

Rule: each figure stands once, so a column may be summed: where a row has money in several currencies, its counts are on
the first line only. A text that a spreadsheet would take for a formula is made plain text by an apostrophe.
"""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from streams.cli.report import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinks.clickhouse.reports import Lag, Models, Paths, Results
    from streams.cli.report.asking import Setting
    from streams.cli.report.records import Record

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins so is run by spreadsheets (OWASP, CSV Injection)."""
_AMOUNTS: Final = tuple(name for name in records.AMOUNTS if name != "conversions")


def of_results(results: Results, setting: Setting) -> str:
    """Channels or campaigns: now, the same of the period before, and the changes."""
    record = records.of_results(results, setting)
    compared = setting.question.before is not None
    header = [results.dimension, "currency", *records.COUNTS, *_AMOUNTS]
    if compared:
        names = (*records.COUNTS, *_AMOUNTS)
        header += [f"previous_{name}" for name in names] + [f"change_{name}" for name in names]
    lines = []
    for row in record["rows"]:
        for number, currency in enumerate(_currencies(row) or [""]):
            line = [row[results.dimension], currency, *_counts(row, number), *_money(row, currency)]
            if compared:
                for part in (row["previous"], row["change"]):
                    line += [*_counts(part, number), *_money(part, currency)]
            lines.append(line)
    return _written(header, lines)


def of_models(models: Models, setting: Setting) -> str:
    """Channels under all models: conversions and revenue of each."""
    record = records.of_models(models, setting)
    header = ["channel", "currency", *(f"conversions_{model}" for model in models.models), "conversions_spread"]
    header += [*(f"revenue_{model}" for model in models.models), "revenue_spread"]
    lines = []
    for row in record["rows"]:
        nothing = {"currency": "", "models": dict.fromkeys(models.models), "spread": None}
        for number, money in enumerate(row["revenue"] or [nothing]):
            counts = [*row["conversions"].values(), row["spread"]]
            line = [row["channel"], money["currency"], *(counts if number == 0 else [None] * len(counts))]
            lines.append([*line, *money["models"].values(), money["spread"]])
    return _written(header, lines)


def of_paths(paths: Paths, setting: Setting) -> str:
    """Paths, and all others as one."""
    record = records.of_paths(paths, setting)
    header = ["path", "currency", "conversions", "share", "average_touches", "value"]
    header += ["previous_conversions", "change"] if paths.before is not None else []
    lines = []
    others = [record["others"] | {"path": [f"{paths.other_paths} other paths"]}] if paths.other_paths else []
    for row in [*record["rows"], *others]:
        for number, money in enumerate(row["value"] or [{"currency": "", "value": None}]):
            counts = [row["conversions"], row["share"], row["average_touches"]] if number == 0 else [None] * 3
            line = [" > ".join(row["path"]), money["currency"], *counts, money["value"]]
            if paths.before is not None:
                line += [row.get("previous_conversions"), row.get("change")] if number == 0 else [None] * 2
            lines.append(line)
    return _written(header, lines)


def of_lag(lag: Lag) -> str:
    """Lag: conversions by bin; times in ms."""
    record = records.of_lag(lag)
    header = ["measure", "bin", "from", "below", "conversions"]
    before = record["previous"]
    header += ["previous_conversions"] if before is not None else []
    lines = []
    for measure in ("from_first_touch", "from_last_touch", "touches"):
        for number, one in enumerate(record[measure]["bins"]):
            line = [measure, *one.values()]
            lines.append(line if before is None else [*line, before[measure]["bins"][number]["conversions"]])
    return _written(header, lines)


def _currencies(row: Record) -> list[str]:
    parts = (row, row.get("previous") or {"money": []})
    return list(dict.fromkeys(money["currency"] for part in parts for money in part["money"]))


def _counts(part: Record, number: int) -> list[Any]:
    return [part[name] if number == 0 else None for name in records.COUNTS]


def _money(part: Record, currency: str) -> list[Any]:
    found: Record = next((money for money in part["money"] if money["currency"] == currency), {})
    return [found.get(name) for name in _AMOUNTS]


def _written(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in line] for line in lines)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return records.plain(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return str(value)
