"""Results by channel or campaign: traffic, conversions and money of a period, and how they went day by day.

Rule: a report's sums are those of the view `kpis` over the same minutes, or of `kpis_by_touch_time`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from sinks.clickhouse.reports.credited import credited_beside_traffic
from sinks.clickhouse.reports.figures import Figures, Money, total
from sinks.clickhouse.reports.question import Conditions, bucket

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clickhouse_connect.driver.client import Client

    from sinks.clickhouse.reports.periods import Span
    from sinks.clickhouse.reports.question import Question

Dimension = Literal["channel", "campaign"]
_SUMS: Final = (
    "sum(k.impressions), sum(k.clicks), sum(k.visits), sum(k.invalid), sum(k.conversions), sum(k.conversions_pending),"
    " sum(k.conversions_rejected), sum(k.revenue), sum(k.cost), sum(k.revenue_pending), sum(k.revenue_rejected)"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One channel or campaign: its figures, and those of the period that is compared (None: no comparison)."""

    name: str
    now: Figures
    before: Figures | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """`rows` by conversions, then visits; `total` of all of them; `series`: local day or hour -> figures, gapless."""

    dimension: Dimension
    rows: list[Row]
    total: Row
    series: dict[str, Figures] = field(default_factory=dict)
    series_before: dict[str, Figures] = field(default_factory=dict)


def results(client: Client, question: Question, dimension: Dimension) -> Results:
    """The report by `dimension`."""
    now, series = _ask(client, question, dimension)
    before: dict[str, Figures] | None = None
    earlier: dict[str, Figures] = {}
    if question.before is not None:
        before, earlier = _ask(client, question, dimension, before=True)
    rows = [
        Row(name, now.get(name) or Figures(), None if before is None else before.get(name) or Figures())
        for name in now.keys() | (before or {}).keys()
    ]
    rows.sort(key=lambda row: (-row.now.conversions, -row.now.visits, -row.now.impressions, row.name))
    return Results(dimension, rows, summed("all", rows), series, earlier)


def shortened(rows: Sequence[Row], limit: int) -> list[Row]:
    """The first `limit` rows (0: all), and the others as one where they are more than one."""
    if not limit or len(rows) <= limit + 1:
        return list(rows)
    rest = rows[limit:]
    return [*rows[:limit], summed(f"{len(rest):,} others", rest)]


def summed(name: str, rows: Iterable[Row]) -> Row:
    """One row for several."""
    listed = list(rows)
    before = [row.before for row in listed if row.before is not None]
    compared = bool(before) and len(before) == len(listed)
    return Row(name, total(row.now for row in listed), total(before) if compared else None)


def _parts(span: Span, *, by_hour: bool) -> list[str]:
    """The local days or hours of a span, as the SQL of `bucket` names them."""
    names: list[str] = []
    moment = span.start
    while moment < span.end:
        names.append(f"{moment:%Y-%m-%d %H:00}" if by_hour else f"{moment:%Y-%m-%d}")
        moment += timedelta(hours=1) if by_hour else timedelta(days=1)
    last = span.end - timedelta(minutes=1)
    names.append(f"{last:%Y-%m-%d %H:00}" if by_hour else f"{last:%Y-%m-%d}")
    return list(dict.fromkeys(names))


def _ask(
    client: Client, question: Question, dimension: Dimension, *, before: bool = False
) -> tuple[dict[str, Figures], dict[str, Figures]]:
    """Name -> figures, what is nothing left out; and local day or hour -> figures, those without any too."""
    conditions = Conditions(question, before=before).during("minute").touched()
    of_model = "model = {model:String}"
    if actions := list(question.filters.action):
        of_model += " AND action IN {action:Array(String)}"
        conditions.also("1", action=actions)
    conditions.also(f"(model = '' OR ({of_model}))")
    local, parameters = bucket(question)
    conditions.also("1", **parameters)
    # One pass for both: the views' own grouping is what costs.
    statement = (
        f"SELECT grouping(name), toString(k.{dimension}) AS name, {local} AS part, currency, {_SUMS}"  # noqa: S608
        f" FROM {credited_beside_traffic(question.counted_at)} AS k WHERE {conditions.text}"
        " GROUP BY GROUPING SETS ((name, currency), (part, currency))"
    )
    rows = client.query(statement, parameters=conditions.parameters).result_rows
    named = _collect([(name, *rest) for is_part, name, _, *rest in rows if not is_part], question)
    by_part = _collect([(part, *rest) for is_part, _, part, *rest in rows if is_part], question)
    span = question.before if before and question.before is not None else question.span
    series = {part: by_part.get(part) or Figures() for part in _parts(span, by_hour=question.by_hour)}
    return {name: figures for name, figures in named.items() if figures}, series


def _collect(rows: Iterable[Sequence[Any]], question: Question) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    for name, currency, impressions, clicks, visits, invalid, *amounts in rows:
        figures = found.setdefault(name, Figures())
        figures.impressions += impressions
        figures.clicks += clicks
        figures.visits += visits
        figures.invalid += invalid
        if not question.shown(currency):
            continue
        conversions, pending, rejected, revenue, cost, revenue_pending, revenue_rejected = amounts
        figures.conversions += conversions
        figures.conversions_pending += pending
        figures.conversions_rejected += rejected
        money = Money(conversions, revenue, cost, revenue_pending, revenue_rejected)
        if money:
            figures.money[currency] = money
    return found
