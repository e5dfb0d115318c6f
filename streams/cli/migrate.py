"""`headwater migrate`: ClickHouse's database, tables and views brought up to date.

Rule: running it again changes nothing.
"""

from __future__ import annotations

from typing import Annotated

import typer


def migrate(
    json: Annotated[bool, typer.Option("--json", help="Print what was applied as one JSON object.")] = False,
) -> None:
    """Create ClickHouse's database and bring its tables and views up to date."""
    import orjson

    from schemas.settings import current_settings
    from sinks.clickhouse.migrate import migrate as apply

    settings = current_settings()
    applied = apply(settings)
    if json:
        typer.echo(orjson.dumps({"database": settings.clickhouse_database, "applied": applied}))
        return
    for name in applied:
        typer.echo(f"applied {name}")
    if not applied:
        typer.echo(f"database {settings.clickhouse_database} is up to date")
