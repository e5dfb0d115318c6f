"""A dashboard's queries as Grafana and the ClickHouse plugin would send them.

Rule: what the plugin does to SQL is written here anew from what its documentation says of each macro; a macro or a
variable that is not known here is an error, never passed on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

DASHBOARDS = sorted(Path("deploy/grafana/dashboards").glob("*.json"))

Values = Mapping[str, str | list[str]]
"""Variable -> its value, or its values where several can be chosen."""


class Panel(NamedTuple):
    """A panel that asks something, and what it asks."""

    dashboard: str
    title: str
    kind: str
    targets: list[dict[str, Any]]


@dataclass(frozen=True)
class Period:
    """What a dashboard shows: seconds since the epoch, and how long a point of a chart is."""

    start: int
    end: int
    interval_s: int = 60
    rate_s: int = 60


def load(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def panels(dashboard: dict[str, Any]) -> Iterator[Panel]:
    """All panels with queries."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield Panel(dashboard["title"], panel["title"], panel["type"], panel["targets"])


def is_sql(query: dict[str, Any]) -> bool:
    return query["datasource"]["type"] == "grafana-clickhouse-datasource"


def interpolate(text: str, values: Values, everything: frozenset[str] = frozenset()) -> str:
    """`text` with its variables' values; `everything` names those of which "All" is chosen."""
    text = _conditional_all(text, everything)

    def value(found: re.Match[str]) -> str:
        name, form = found["braced"] or found["plain"], found["form"]
        if name.startswith("__"):
            return found[0]
        chosen = values[name]
        several = chosen if isinstance(chosen, list) else [chosen]
        if form == "sqlstring":
            return ",".join("'" + one.replace("'", "''") + "'" for one in several)
        if form == "regex" or (form is None and isinstance(chosen, list)):
            escaped = [re.sub(r"([.*+?^${}()|\[\]\\/])", r"\\\\\1", one) for one in several]
            return escaped[0] if len(escaped) == 1 else "(" + "|".join(escaped) + ")"
        assert form is None
        assert isinstance(chosen, str)
        return chosen

    return re.sub(r"\$\{(?P<braced>\w+)(?::(?P<form>\w+))?\}|\$(?P<plain>\w+)", value, text)


def _conditional_all(text: str, everything: frozenset[str]) -> str:
    """``$__conditionalAll(condition, $variable)``: the condition, or 1=1 where all values are chosen."""
    macro = "$__conditionalAll("
    while (at := text.rfind(macro)) >= 0:
        (condition, variable), end = _arguments(text, at + len(macro))
        name = variable.strip().lstrip("$").strip("{}")
        text = text[:at] + ("1=1" if name in everything else condition) + text[end:]
    return text


def _arguments(text: str, at: int) -> tuple[list[str], int]:
    """The arguments that begin at `at`, and where the text goes on after their closing bracket."""
    depth, found, start = 1, [], at
    for place in range(at, len(text)):
        letter = text[place]
        depth += (letter == "(") - (letter == ")")
        if depth == 0 or (depth == 1 and letter == ","):
            found.append(text[start:place])
            start = place + 1
        if depth == 0:
            return found, place + 1
    raise AssertionError(text)


def sql(statement: str, period: Period) -> str:
    """`statement` with the plugin's macros expanded."""
    start, end = f"toDateTime({period.start})", f"toDateTime({period.end})"
    macros = {
        "timeFilter": lambda column: f"{column} >= {start} AND {column} <= {end}",
        "timeInterval": lambda column: f"toStartOfInterval(toDateTime({column}), INTERVAL {period.interval_s} second)",
        "fromTime": lambda: start,
        "toTime": lambda: end,
        "interval_s": lambda: str(period.interval_s),
    }
    while (found := re.search(r"\$__(\w+)(\()?", statement)) is not None:
        arguments, after = _arguments(statement, found.end()) if found[2] else ([], found.end())
        statement = statement[: found.start()] + macros[found[1]](*arguments) + statement[after:]
    return statement


def promql(expr: str, period: Period) -> str:
    """`expr` with the durations that Grafana works out."""
    expr = expr.replace("$__rate_interval", f"{period.rate_s}s").replace("$__range", f"{period.end - period.start}s")
    assert "$" not in expr, expr
    return expr
