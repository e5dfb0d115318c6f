"""A report as one self-contained page: figures at a glance, charts, and the tables behind them.

Rule: the page asks nobody for anything (its policy forbids it), holds every figure that its charts show as text too,
and escapes whatever came from outside. What is drawn is made ready here; the template only lays it out.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from streams.cli.report import telling, words
from streams.cli.report.page.lag import lag_page
from streams.cli.report.page.models import models_page
from streams.cli.report.page.paths import paths_page
from streams.cli.report.page.results import results_page

if TYPE_CHECKING:
    from streams.cli.report.asking import Setting


def page(kind: str, found: Any, setting: Setting, limit: int) -> str:
    """The whole HTML document; at most `limit` campaigns are listed (0: all)."""
    match kind:
        case "channels" | "campaigns":
            body = results_page(found, setting, limit if kind == "campaigns" else 0)
        case "models":
            body = models_page(found, setting)
        case "paths":
            body = paths_page(found, setting)
        case _:
            body = lag_page(found)
    template = _environment().get_template("report.html")
    text: str = template.render(
        kind=kind,
        name=telling.NAMES[kind],
        period=words.period(setting.question.span),
        parts=telling.parts(setting),
        notes=telling.notes(kind, found, setting),
        empty=telling.is_empty(found),
        made=words.moment(datetime.now(UTC)),
        **body,
    )
    return text.lstrip()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("streams.cli.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
