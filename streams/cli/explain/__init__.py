"""``headwater explain``: one conversion, what was told of it, its journey, what each model gave each touch and why.

Rule: what was credited is read from ClickHouse; why is found by the worker's own rules (`streams.core`) over the
touches and the registry as they are stored there. Where the two disagree, that is said.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def explain(
    conversion: Annotated[
        str, typer.Argument(help="Conversion id (32 hex digits) or order id.", metavar="CONVERSION_ID")
    ],
    site: Annotated[str, typer.Option(help="Only of this site, where an order id is known at several.")] = "",
    action: Annotated[str, typer.Option(help="Only of this action, where an order id stands for several.")] = "",
    timezone: Annotated[str, typer.Option(help="Time zone of the times shown; default: the site's own.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="Show all touches, be they hundreds.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: everything, exact.")] = False,
) -> None:
    """Show a conversion with its facts, its visitor's journey, its credits under each model, and all its versions.

    Where a touch earns nothing it says why: invalid, internal, a continuation, the arrival of a click, after the
    conversion, beyond its lookback, an impression beside clicks, beyond 500, or passed over by a model.
    """
    from rich.console import Console

    from schemas.settings import current_settings
    from sinks.clickhouse.connection import connect
    from streams.cli.explain import record, tables
    from streams.cli.explain.story import read_story

    with connect(current_settings()) as client:
        story = read_story(client, conversion, site, action, timezone)
    if json:
        sys.stdout.buffer.write(record.dumps(record.of_story(story)) + b"\n")
        sys.stdout.buffer.flush()
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=tables.WIDTH)
    tables.print_story(story, console, most=0 if all_ else tables.MOST_TOUCHES)
