"""Paths: the sequences of channels that journeys took, repeats made one, and what came of them.

Rule: a journey's path is that of its candidates, the touches that could earn credit. Conversions that count (approved
or pending) are taken at their own time; a conversion without any candidate took the path `Direct`, as its credit does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sinks.clickhouse.reports.figures import ZERO, Ratio, divided
from sinks.clickhouse.reports.question import Conditions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from clickhouse_connect.driver.client import Client

    from sinks.clickhouse.reports.question import Question

Path = tuple[str, ...]
_JOURNEYS: Final = """
(
    SELECT
        CAST(arrayCompact(touches.channel) AS Array(String)) AS path,
        map(toString(currency), value) AS worth,
        map(toString(currency), value_reported) AS reported,
        countEqual(arrayMap(id -> id != '', touches.touch_id), true) AS touched,
        status,
        counted
    FROM (SELECT * FROM attributions_rows FINAL)
    WHERE NOT withdrawn AND {conditions}
)"""
_WHOLE: Final = """
SELECT
    countIf(counted), sumIf(touched, counted), sumMapIf(worth, counted),
    countIf(status = 'pending'), sumMapIf(worth, status = 'pending'),
    countIf(status = 'rejected'), sumMapIf(reported, status = 'rejected'),
    countIf(counted AND touched = 0), uniqExactIf(path, counted)
FROM {source}"""
_LISTED: Final = """
SELECT path, count() AS conversions, sum(touched), sumMap(worth)
FROM {source} WHERE counted
GROUP BY path ORDER BY conversions DESC, path LIMIT {{limit:UInt32}}"""
_EARLIER: Final = """
SELECT path, count() FROM {source} WHERE counted AND path IN {{paths:Array(Array(String))}} GROUP BY path"""


@dataclass(slots=True)
class Taken:
    """What came of some journeys: `touches` of all of them, `value` by currency."""

    conversions: int = 0
    touches: int = 0
    value: dict[str, Decimal] = field(default_factory=dict)

    @property
    def average_touches(self) -> Ratio:
        """Touches a conversion."""
        return divided(self.touches, self.conversions)

    def less(self, other: Taken) -> Taken:
        """What is left when `other`, a part of this, is taken away."""
        value = {name: amount - other.value.get(name, ZERO) for name, amount in self.value.items()}
        left = {name: amount for name, amount in value.items() if amount}
        return Taken(self.conversions - other.conversions, self.touches - other.touches, left)


@dataclass(frozen=True, slots=True)
class PathRow:
    """A path, what came of it, and how many conversions it had in the period that is compared (None: no comparison)."""

    path: Path
    now: Taken
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Paths:
    """`rows`: the most frequent ones; `others`: all that are not in `rows`; `total`: all.

    `before` and `others_before`: conversions of all, and of `others`, in the period that is compared.
    `pending` and `rejected`: conversions of those states, the pending ones being among `total`. `untouched`:
    conversions without any candidate.
    """

    rows: list[PathRow]
    others: Taken
    other_paths: int
    total: Taken
    before: int | None
    others_before: int | None
    pending: Taken
    rejected: Taken
    untouched: int


def paths(client: Client, question: Question, limit: int) -> Paths:
    """The report: at most `limit` paths, by conversions, then by path."""
    source, parameters = _journeys(question)
    whole = client.query(_WHOLE.format(source=source), parameters=parameters).result_rows[0]
    total = Taken(whole[0], whole[1], dict(whole[2]))
    found = client.query(_LISTED.format(source=source), parameters=parameters | {"limit": limit}).result_rows
    listed = {tuple(path): Taken(conversions, touches, dict(worth)) for path, conversions, touches, worth in found}
    others = total
    for taken in listed.values():
        others = others.less(taken)
    earlier: dict[Path, int] | None = None
    before: int | None = None
    if question.before is not None:
        earlier, before = _earlier(client, question, list(listed))
    return Paths(
        rows=[
            PathRow(path, taken, None if earlier is None else earlier.get(path, 0)) for path, taken in listed.items()
        ],
        others=others,
        other_paths=whole[8] - len(listed),
        total=total,
        before=before,
        others_before=None if earlier is None or before is None else before - sum(earlier.values()),
        pending=Taken(whole[3], value=dict(whole[4])),
        rejected=Taken(whole[5], value=dict(whole[6])),
        untouched=whole[7],
    )


def _earlier(client: Client, question: Question, listed: list[Path]) -> tuple[dict[Path, int], int]:
    """How many conversions the listed paths, and all, had in the period that is compared."""
    source, parameters = _journeys(question, before=True)
    (number,) = client.query(f"SELECT countIf(counted) FROM {source}", parameters=parameters).result_rows[0]  # noqa: S608
    if not listed:
        return {}, number
    parameters |= {"paths": [list(path) for path in listed]}
    rows: Sequence[Sequence[Any]] = client.query(_EARLIER.format(source=source), parameters=parameters).result_rows
    return {tuple(path): conversions for path, conversions in rows}, number


def _journeys(question: Question, *, before: bool = False) -> tuple[str, dict[str, Any]]:
    conditions = Conditions(question, before=before).during("conversion_time").journeys().converted()
    return _JOURNEYS.format(conditions=conditions.text), conditions.parameters
