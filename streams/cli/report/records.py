"""Reports as JSON: every figure by its name, money by currency, ratios to six places, what is no number as null.

Rule: numbers are exact JSON numbers, never text; what a name means is in the contract's section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from sinks.clickhouse.reports.figures import change, count_ratios, divided, money_ratios
from sinks.clickhouse.reports.models import spread

if TYPE_CHECKING:
    from decimal import Decimal

    from sinks.clickhouse.reports import Figures, Lag, Models, Paths, Results, Row, Span
    from sinks.clickhouse.reports.lag import Distribution, Lags
    from sinks.clickhouse.reports.models import Credit, ModelRow
    from sinks.clickhouse.reports.paths import Taken
    from streams.cli.report.asking import Setting

COUNTS: Final = (
    *("impressions", "clicks", "visits", "invalid", "conversions", "conversions_pending", "conversions_rejected"),
    *("ctr", "cvr"),
)
"""What is counted, whatever its currency."""
AMOUNTS: Final = (
    *("conversions", "revenue", "revenue_pending", "revenue_rejected", "cost"),
    *("cpc", "cpm", "cpa", "aov", "epc", "roas", "roi"),
)
"""What there is in each currency."""

Record = dict[str, Any]


def dumps(record: Record) -> bytes:
    """A record as JSON, indented."""
    return orjson.dumps(_exact(record), option=orjson.OPT_INDENT_2)


def heading(kind: str, setting: Setting) -> Record:
    """What was asked: every report begins with it."""
    question = setting.question
    return {
        "report": kind,
        "period": _span(question.span),
        "compared_with": _span(question.before) if question.before is not None else None,
        "timezone": question.zone,
        "filters": dict(setting.filters),
    }


def of_results(results: Results, setting: Setting) -> Record:
    """Channels or campaigns."""
    question = setting.question
    asked = {"model": question.model, "counted_at": question.counted_at}
    return asked | {
        "rows": [{results.dimension: row.name} | _row(row, setting) for row in results.rows],
        "total": _row(results.total, setting),
        "series": [{"at": at} | _figures(figures, setting) for at, figures in results.series.items()],
        "series_before": [{"at": at} | _figures(figures, setting) for at, figures in results.series_before.items()],
    }


def of_models(models: Models, setting: Setting) -> Record:
    """Channels under all models."""
    question = setting.question
    return {
        "baseline": models.baseline,
        "counted_at": question.counted_at,
        "models": models.models,
        "moved": models.moved,
        "rows": [{"channel": row.name} | _model_row(row, models.models, setting) for row in models.rows],
        "total": _model_row(models.total, models.models, setting),
    }


def of_paths(paths: Paths, setting: Setting) -> Record:
    """Paths."""
    whole = paths.total.conversions
    return {
        "rows": [
            {"path": list(row.path)} | _taken(row.now, whole, setting) | _compared(row.now.conversions, row.before)
            for row in paths.rows
        ],
        "others": {"paths": paths.other_paths} | _taken(paths.others, whole, setting),
        "total": _taken(paths.total, whole, setting) | _compared(whole, paths.before),
        "pending": _worth(paths.pending, setting),
        "rejected": _worth(paths.rejected, setting),
        "without_touch": paths.untouched,
    }


def of_lag(lag: Lag) -> Record:
    """Lag; times in ms."""
    return _lags(lag.now) | {"previous": _lags(lag.before) if lag.before is not None else None}


def _row(row: Row, setting: Setting) -> Record:
    now = _figures(row.now, setting)
    if row.before is None:
        return now
    before = _figures(row.before, setting)
    earlier = {amounts["currency"]: amounts for amounts in before["money"]}
    changed: Record = {name: change(now[name], before[name]) for name in COUNTS}
    changed["money"] = [
        {"currency": amounts["currency"]}
        | {name: change(amounts[name], earlier.get(amounts["currency"], {}).get(name)) for name in AMOUNTS}
        for amounts in now["money"]
    ]
    return now | {"previous": before, "change": changed}


def _figures(figures: Figures, setting: Setting) -> Record:
    counts = {name: getattr(figures, name) for name in COUNTS[:7]} | count_ratios(figures)
    currencies = setting.in_order({name: money.revenue for name, money in figures.money.items()})
    return counts | {"money": [_money(figures, currency) for currency in currencies]}


def _money(figures: Figures, currency: str) -> Record:
    money = figures.of(currency)
    amounts = {name: getattr(money, name) for name in AMOUNTS[:5]}
    return {"currency": currency} | amounts | money_ratios(figures, currency)


def _model_row(row: ModelRow, models: list[str], setting: Setting) -> Record:
    now = _credit(row.now, models, setting)
    return now if row.before is None else now | {"previous": _credit(row.before, models, setting)}


def _credit(credit: Credit, models: list[str], setting: Setting) -> Record:
    currencies = setting.in_order({name: max(shares.values()) for name, shares in credit.revenue.items()})
    return {
        "conversions": {model: credit.conversions.get(model, 0) for model in models},
        "spread": spread(credit.conversions, models),
        "revenue": [
            {
                "currency": currency,
                "models": {model: credit.of(currency).get(model, 0) for model in models},
                "spread": spread(credit.of(currency), models),
            }
            for currency in currencies
        ],
    }


def _taken(taken: Taken, whole: int, setting: Setting) -> Record:
    return {
        "conversions": taken.conversions,
        "share": divided(taken.conversions, whole),
        "average_touches": taken.average_touches,
        "value": _value(taken, setting),
    }


def _worth(taken: Taken, setting: Setting) -> Record:
    return {"conversions": taken.conversions, "value": _value(taken, setting)}


def _value(taken: Taken, setting: Setting) -> list[Record]:
    return [{"currency": name, "value": taken.value[name]} for name in setting.in_order(taken.value)]


def _compared(now: int, before: int | None) -> Record:
    return {} if before is None else {"previous_conversions": before, "change": change(now, before)}


def _lags(lags: Lags) -> Record:
    return {
        "conversions": lags.conversions,
        "without_touch": lags.untouched,
        "from_first_touch": _distribution(lags.from_first),
        "from_last_touch": _distribution(lags.from_last),
        "touches": _distribution(lags.touches),
    }


def _distribution(found: Distribution) -> Record:
    bins = [
        {"bin": one.label, "from": one.start, "below": one.end, "conversions": count}
        for one, count in zip(found.bins, found.counts, strict=True)
    ]
    return {"mean": found.mean, "median": found.median, "p90": found.p90, "bins": bins}


def _span(span: Span) -> Record:
    return {"from": span.start.isoformat(), "to": span.end.isoformat()}


def _exact(value: Any) -> Any:
    """The same, every Decimal as the exact JSON number."""
    if isinstance(value, dict):
        return {name: _exact(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_exact(part) for part in value]
    return orjson.Fragment(plain(value)) if _is_decimal(value) else value


def _is_decimal(value: object) -> bool:
    from decimal import Decimal

    return isinstance(value, Decimal)


def plain(amount: Decimal) -> str:
    """An exact number without trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
