"""Lag: how long conversions took, from the first and from the last touch of their journey, and how many touches.

Rule: over conversions that count and have a candidate, at their own time. Quantiles are exact; between two values they
lie in proportion, as a spreadsheet's PERCENTILE.INC has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sinks.clickhouse.reports.question import Conditions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clickhouse_connect.driver.client import Client

    from sinks.clickhouse.reports.question import Question

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class Bin(NamedTuple):
    """From `start` up to, not including, `end` (None: no end): ms, or touches."""

    label: str
    start: int
    end: int | None


LAG_BINS: Final = (
    Bin("under 5 min", 0, 5 * MINUTE),
    Bin("5 to 30 min", 5 * MINUTE, 30 * MINUTE),
    Bin("30 to 60 min", 30 * MINUTE, HOUR),
    Bin("1 to 6 h", HOUR, 6 * HOUR),
    Bin("6 to 24 h", 6 * HOUR, DAY),
    Bin("1 to 3 d", DAY, 3 * DAY),
    Bin("3 to 7 d", 3 * DAY, 7 * DAY),
    Bin("7 to 14 d", 7 * DAY, 14 * DAY),
    Bin("14 to 30 d", 14 * DAY, 30 * DAY),
    Bin("30 d and more", 30 * DAY, None),
)
TOUCH_BINS: Final = (
    *(Bin(str(number), number, number + 1) for number in range(1, 6)),
    Bin("6 to 10", 6, 11),
    Bin("11 to 20", 11, 21),
    Bin("21 and more", 21, None),
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Conversions in each bin, and the values' mean, median and 90th percentile (None where there is none)."""

    bins: tuple[Bin, ...]
    counts: list[int]
    mean: float | None
    median: float | None
    p90: float | None


@dataclass(frozen=True, slots=True)
class Lags:
    """`from_first` and `from_last` in ms, `touches` as numbers; over `conversions`, beside `untouched` ones."""

    conversions: int
    untouched: int
    from_first: Distribution
    from_last: Distribution
    touches: Distribution


@dataclass(frozen=True, slots=True)
class Lag:
    """The report: now, and in the period that is compared (None: no comparison)."""

    now: Lags
    before: Lags | None


def lag(client: Client, question: Question) -> Lag:
    """The report."""
    return Lag(_lags(client, question), _lags(client, question, before=True) if question.before is not None else None)


_SOURCE: Final = """
(
    SELECT
        countEqual(arrayMap(id -> id != '', touches.touch_id), true) AS touched,
        dateDiff('millisecond', touches.time[1], conversion_time) AS from_first,
        dateDiff('millisecond', touches.time[-1], conversion_time) AS from_last
    FROM (SELECT * FROM attributions_rows FINAL)
    WHERE counted AND NOT withdrawn AND {conditions}
)"""
_COLUMNS: Final = (("from_first", LAG_BINS), ("from_last", LAG_BINS), ("touched", TOUCH_BINS))


def _lags(client: Client, question: Question, *, before: bool = False) -> Lags:
    conditions = Conditions(question, before=before).during("conversion_time").journeys().converted()
    selected = ["countIf(touched > 0)", "countIf(touched = 0)"]
    for column, bins in _COLUMNS:
        selected += [f"avgIf({column}, touched > 0)"]
        selected += [f"quantilesExactInclusiveIf(0.5, 0.9)({column}, touched > 0)"]
        selected += [f"[{', '.join(_counted(column, one) for one in bins)}]"]
    source = _SOURCE.format(conditions=conditions.text)
    statement = f"SELECT {', '.join(selected)} FROM {source}"  # noqa: S608
    row: Sequence[Any] = client.query(statement, parameters=conditions.parameters).result_rows[0]
    number, untouched, *rest = row
    distributions = [
        _distribution(bins, number, *rest[3 * place : 3 * place + 3]) for place, (_, bins) in enumerate(_COLUMNS)
    ]
    return Lags(number, untouched, *distributions)


def _counted(column: str, one: Bin) -> str:
    below = f" AND {column} < {one.end}" if one.end is not None else ""
    return f"countIf(touched > 0 AND {column} >= {one.start}{below})"


def _distribution(
    bins: tuple[Bin, ...], number: int, mean: float, quantiles: Sequence[float], counts: Sequence[int]
) -> Distribution:
    if not number:
        return Distribution(bins, list(counts), None, None, None)
    return Distribution(bins, list(counts), float(mean), float(quantiles[0]), float(quantiles[1]))
