"""The page of models: how far they differ, a mark a model on each channel's line, and the tables behind them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sinks.clickhouse.reports.figures import ZERO
from sinks.clickhouse.reports.models import spread
from streams.cli.report import charts, words
from streams.cli.report.page.parts import changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinks.clickhouse.reports import Models
    from streams.cli.report.asking import Setting
    from streams.cli.report.page.parts import Part


def models_page(models: Models, setting: Setting) -> Part:
    """What the template is given."""
    largest = {name: max(shares.values()) for name, shares in models.total.now.revenue.items()}
    whole = words.all_whole(amount for row in models.rows for amount in row.now.conversions.values())
    sections = [_dots("Conversions", models, lambda c: c.conversions, lambda v: words.credit(v, whole=whole))]
    for currency in setting.in_order(largest):
        sections.append(  # noqa: PERF401  # two lambdas and their currency read better so
            _dots(
                f"Revenue {currency}",
                models,
                lambda c, currency=currency: c.of(currency),  # type: ignore[misc]
                lambda v, currency=currency: words.money(v, currency),  # type: ignore[misc]
            )
        )
    moved = [(model, words.percent(models.moved[model], 1)) for model in models.models if model != models.baseline]
    return {
        "models": models.models,
        "baseline": models.baseline,
        "compared": bool(models.total.before),
        "sections": sections,
        "moved": moved,
    }


def _dots(
    title: str, models: Models, read: Callable[[Any], dict[str, Decimal]], show: Callable[[Decimal], str]
) -> Part:
    most = float(max((amount for row in models.rows for amount in read(row.now).values()), default=ZERO))
    rows = []
    for row in [*models.rows, models.total]:
        shares = read(row.now)
        amounts = {model: shares.get(model, ZERO) for model in models.models}
        last = row is models.total
        if not last and not any(amounts.values()):
            continue
        places = [charts.part(float(amount), most) for amount in amounts.values()]
        rows.append(
            {
                "name": "all channels" if last else row.name,
                "total": last,
                "dots": list(zip(models.models, places, [show(amount) for amount in amounts.values()], strict=True)),
                "least": min(places),
                "most": max(places),
                "cells": [show(amount) for amount in amounts.values()],
                "spread": "" if last else show(spread(shares, models.models)),
            }
            | changed(
                amounts[models.baseline],
                None if row.before is None else read(row.before).get(models.baseline, ZERO),
                good=True,
            )
        )
    return {"title": title, "rows": rows, "most": show(Decimal(str(most)))}
