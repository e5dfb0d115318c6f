"""``headwater report``: what a period brought, by channel, campaign, model or path, and how long it took.

Rule: a report asks ClickHouse alone, for whole days of the site's time zone unless told otherwise; every figure is a
sum of what the views hold. One question (`asking`), one report (`sinks.clickhouse.reports`), then one form of it:
`tables`, JSON (`records`), CSV (`sheet`) or a `page`.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.cli.report.asking import Setting


class Kind(StrEnum):
    """What a report is about."""

    CHANNELS = "channels"
    CAMPAIGNS = "campaigns"
    MODELS = "models"
    PATHS = "paths"
    LAG = "lag"


class At(StrEnum):
    """When a conversion counts."""

    CONVERSION = "conversion"
    TOUCH = "touch"


Values = Annotated[list[str] | None, typer.Option()]


def _filter(what: str) -> Any:
    return typer.Option(help=f"Only {what}; may be repeated.", metavar="NAME", show_default=False)


def report(  # noqa: PLR0913, PLR0917  # options
    kind: Annotated[Kind, typer.Argument(help="What by: channels, campaigns, models, paths or lag.", metavar="KIND")],
    from_: Annotated[str, typer.Option("--from", help="First day (2026-11-01) or moment (2026-11-01T14:30).")] = "",
    to: Annotated[str, typer.Option("--to", help="Last day, included, or the moment where the period ends.")] = "",
    last: Annotated[str, typer.Option("--last", help="Instead of --from: 7d (today included), 4w, 24h or 90m.")] = "",
    compare: Annotated[str, typer.Option(help="previous, none, or another period as FROM..TO.")] = "previous",
    timezone: Annotated[str, typer.Option(help="Time zone of days; default: the site's own.")] = "",
    site: Annotated[list[str] | None, _filter("this site")] = None,
    channel: Annotated[list[str] | None, _filter("touches of this channel")] = None,
    campaign: Annotated[list[str] | None, _filter("touches of this campaign")] = None,
    partner: Annotated[list[str] | None, _filter("touches of this partner")] = None,
    audience: Annotated[list[str] | None, _filter("touches of this audience")] = None,
    variant: Annotated[list[str] | None, _filter("touches of this variant")] = None,
    action: Annotated[list[str] | None, _filter("conversions of this action")] = None,
    currency: Annotated[list[str] | None, _filter("money, and conversions paid, in this currency")] = None,
    model: Annotated[str, typer.Option(help="Attribution model; default: last_non_direct.", show_default=False)] = "",
    counted_at: Annotated[
        At, typer.Option(help="Count conversions at their own time or their touch's.")
    ] = At.CONVERSION,
    limit: Annotated[int, typer.Option(min=0, help="Most campaigns or paths that are shown; 0: all.")] = 25,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: all figures, exact.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV: all figures, exact.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write one self-contained page with charts.")] = None,
) -> None:
    """Show what a period brought: traffic, conversions, revenue and cost, compared with the period before.

    Without a period: the last 7 days, today included. Filters on touches mean, for paths and lag, conversions with such
    a touch in their journey.

    For example: headwater report channels --last 4w --model linear --html report.html
    """
    from datetime import UTC, datetime

    from schemas.errors import ConfigurationError
    from schemas.settings import current_settings
    from sinks.clickhouse.connection import connect
    from sinks.clickhouse.reports import Asked, Filters
    from streams.cli.report.asking import Options, ask

    if json + csv > 1:
        raise ConfigurationError("choose one of --json and --csv")
    chosen = {"site": site, "channel": channel, "campaign": campaign, "partner": partner, "audience": audience}
    chosen |= {"variant": variant, "action": action, "currency": [name.upper() for name in currency or ()]}
    filters = Filters(**{name: tuple(values or ()) for name, values in chosen.items()})
    options = Options(Asked(from_, to, last, compare), filters, model, counted_at.value, timezone)
    with connect(current_settings()) as client:
        setting = ask(client, options, datetime.now(UTC))
        found = _found(client, kind, setting, limit)
        if html is not None:
            _write_page(html, kind, found, setting, limit)
        if json or csv:
            sys.stdout.buffer.write(_as_json(kind, found, setting) if json else _as_csv(kind, found, setting))
            sys.stdout.buffer.flush()
        elif html is None:
            _print(client, kind, found, setting, limit)


def _found(client: Client, kind: Kind, setting: Setting, limit: int) -> Any:
    from sinks.clickhouse import reports

    question = setting.question
    match kind:
        case Kind.CHANNELS:
            return reports.results(client, question, "channel")
        case Kind.CAMPAIGNS:
            return reports.results(client, question, "campaign")
        case Kind.MODELS:
            return reports.models(client, question)
        case Kind.PATHS:
            return reports.paths(client, question, limit or 1_000_000)
        case Kind.LAG:
            return reports.lag(client, question)


def _as_json(kind: Kind, found: Any, setting: Setting) -> bytes:
    from streams.cli.report import records

    match kind:
        case Kind.CHANNELS | Kind.CAMPAIGNS:
            record = records.of_results(found, setting)
        case Kind.MODELS:
            record = records.of_models(found, setting)
        case Kind.PATHS:
            record = records.of_paths(found, setting)
        case Kind.LAG:
            record = records.of_lag(found)
    return records.dumps(records.heading(kind.value, setting) | record) + b"\n"


def _as_csv(kind: Kind, found: Any, setting: Setting) -> bytes:
    from streams.cli.report import sheet

    match kind:
        case Kind.CHANNELS | Kind.CAMPAIGNS:
            text = sheet.of_results(found, setting)
        case Kind.MODELS:
            text = sheet.of_models(found, setting)
        case Kind.PATHS:
            text = sheet.of_paths(found, setting)
        case Kind.LAG:
            text = sheet.of_lag(found)
    return text.encode()


def _print(client: Client, kind: Kind, found: Any, setting: Setting, limit: int) -> None:
    from rich.console import Console
    from rich.text import Text

    from streams.cli.report import tables, telling
    from streams.cli.report.asking import latest_day

    console = Console()
    if not console.is_terminal:
        console = Console(width=tables.WIDTH)
    console.print(Text(telling.title(kind.value, setting), style="bold"), soft_wrap=True)
    if telling.is_empty(found):
        day = latest_day(client, setting)
        console.print(f"nothing in this period; the latest figures are of {day}" if day else "there are no figures yet")
        return
    match kind:
        case Kind.CHANNELS | Kind.CAMPAIGNS:
            shown = tables.results_tables(found, setting, 0 if kind is Kind.CHANNELS else limit, console)
        case Kind.MODELS:
            shown = tables.models_tables(found, setting, console)
        case Kind.PATHS:
            shown = tables.paths_tables(found, setting, console)
        case Kind.LAG:
            shown = tables.lag_tables(found, console)
    for table in shown:
        console.print()
        console.print(table)
    console.print()
    for note in telling.notes(kind.value, found, setting):
        console.print(Text(note, style="dim"))


def _write_page(file: Path, kind: Kind, found: Any, setting: Setting, limit: int) -> None:
    from schemas.errors import ConfigurationError
    from streams.cli.report.page import page

    text = page(kind.value, found, setting, limit)
    if str(file) == "-":
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    print(f"{file}: {len(text.encode()) / 1000:,.0f} kB", file=sys.stderr)
