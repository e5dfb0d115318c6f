"""Models side by side: what each channel earns under every attribution model, and how far the models differ.

Rule: every model shares out the same conversions, so their totals agree and only the shares differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from schemas.reasons import MODELS
from sinks.clickhouse.reports.credited import credited
from sinks.clickhouse.reports.figures import ZERO, Ratio, divided
from sinks.clickhouse.reports.question import Conditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clickhouse_connect.driver.client import Client

    from sinks.clickhouse.reports.question import Question

Shares = dict[str, Decimal]
"""Model -> credit."""


@dataclass(slots=True)
class Credit:
    """Conversions by model, and revenue by currency and model."""

    conversions: Shares = field(default_factory=dict)
    revenue: dict[str, Shares] = field(default_factory=dict)

    def add(self, other: Credit) -> None:
        """Add another's credit, each currency to itself."""
        _add(self.conversions, other.conversions)
        for currency, shares in other.revenue.items():
            _add(self.revenue.setdefault(currency, {}), shares)

    def of(self, currency: str) -> Shares:
        """Revenue by model in one currency."""
        return self.revenue.get(currency, {})

    def __bool__(self) -> bool:
        return any(self.conversions.values()) or any(any(shares.values()) for shares in self.revenue.values())


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A channel's credit now and in the period that is compared (None: no comparison)."""

    name: str
    now: Credit
    before: Credit | None = None


@dataclass(frozen=True, slots=True)
class Models:
    """`rows` by conversions under the model that was asked for, `models` in the contract's order.

    `moved`: the part of all conversions that a model credits to another channel than the one that was asked for does.
    """

    models: list[str]
    baseline: str
    rows: list[ModelRow]
    total: ModelRow
    moved: dict[str, Ratio]


def models(client: Client, question: Question) -> Models:
    """The report: channels by model."""
    now = _credit(client, question)
    before = _credit(client, question, before=True) if question.before is not None else None
    base = question.model
    rows = [
        ModelRow(name, now.get(name) or Credit(), None if before is None else before.get(name) or Credit())
        for name in now.keys() | (before or {}).keys()
    ]
    rows.sort(
        key=lambda row: (
            -row.now.conversions.get(base, ZERO),
            -max(row.now.conversions.values(), default=ZERO),
            row.name,
        )
    )
    total = ModelRow("all", _sum(row.now for row in rows), None if before is None else _sum(before.values()))
    known = {model for row in [*rows, total] for model in row.now.conversions}
    listed = [*MODELS, *sorted(known - set(MODELS))]
    return Models(listed, base, rows, total, {model: _moved(rows, total.now, model, base) for model in listed})


def spread(shares: Shares, listed: Sequence[str]) -> Decimal:
    """How far apart the models' credits lie."""
    found = [shares.get(model, ZERO) for model in listed]
    return max(found) - min(found) if found else ZERO


def _moved(rows: Sequence[ModelRow], whole: Credit, model: str, base: str) -> Ratio:
    apart = sum((abs(row.now.conversions.get(model, ZERO) - row.now.conversions.get(base, ZERO)) for row in rows), ZERO)
    return divided(apart / 2, whole.conversions.get(base, ZERO))


def _sum(parts: Iterable[Credit]) -> Credit:
    found = Credit()
    for part in parts:
        found.add(part)
    return found


def _add(into: Shares, shares: Shares) -> None:
    for model, amount in shares.items():
        into[model] = into.get(model, ZERO) + amount


def _credit(client: Client, question: Question, *, before: bool = False) -> dict[str, Credit]:
    """Channel -> credit; channels without any are left out."""
    conditions = Conditions(question, before=before).during("minute").touched().converted()
    statement = (
        "SELECT k.channel AS name, currency, model, sum(k.conversions), sum(k.revenue)"  # noqa: S608
        f" FROM {credited(question.counted_at)} AS k WHERE {conditions.text} GROUP BY name, currency, model"
    )
    found: dict[str, Credit] = {}
    rows: Sequence[Sequence[Any]] = client.query(statement, parameters=conditions.parameters).result_rows
    for name, currency, model, conversions, revenue in rows:
        credit = found.setdefault(name, Credit())
        _add(credit.conversions, {model: conversions})
        if revenue:
            _add(credit.revenue.setdefault(currency, {}), {model: revenue})
    return {name: credit for name, credit in found.items() if credit}
