"""`headwater sql`: one statement to ClickHouse, its result as a table, tab-separated, JSON, CSV or any other format.

Rule: a table for people where the output is a terminal, tab-separated values with names where it is not; a FORMAT
clause in the statement itself wins.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.table import Table

_OWN_FORMAT: Final = re.compile(r"\bFORMAT\s+\w+\s*;?\s*$", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"(Nullable\()?(U?Int|Float|Decimal)")


def sql(
    statement: Annotated[str, typer.Argument(help="A statement; the views are in the database already chosen.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV with a header.")] = False,
    format: Annotated[str, typer.Option("--format", help="Any output format of ClickHouse.")] = "",
) -> None:
    """Ask ClickHouse, for example "SELECT channel, sum(conversions) FROM kpis WHERE model = 'linear' GROUP BY 1"."""
    from schemas.errors import ConfigurationError
    from schemas.settings import current_settings
    from sinks.clickhouse.connection import connect

    if json + csv + bool(format) > 1:
        message = "choose one of --json, --csv and --format"
        raise ConfigurationError(message)
    wanted = "JSONEachRow" if json else "CSVWithNames" if csv else format
    own = _OWN_FORMAT.search(statement) is not None
    as_table = not wanted and not own and sys.stdout.isatty()
    if as_table:
        wanted = "JSONCompact"
    elif not wanted:
        wanted = "TabSeparatedWithNames"
    statement = statement.strip().rstrip(";")
    quoted = {"output_format_json_quote_64bit_integers": 1, "output_format_json_quote_decimals": 1}
    with connect(current_settings()) as client:
        answer = client.raw_query(statement, settings=quoted if as_table else {}, fmt=None if own else wanted)
    if as_table and answer:
        _print_table(answer)
    else:
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


def _print_table(answer: bytes) -> None:
    import orjson
    from rich.console import Console

    found = orjson.loads(answer.decode("utf-8", "replace"))
    console = Console()
    console.print(table(found["meta"], found["data"]))
    rows = len(found["data"])
    console.print(f"{rows:,} row{'' if rows == 1 else 's'}", style="dim")


def table(meta: list[dict[str, str]], data: list[list[Any]]) -> Table:
    """A rich table of ClickHouse's ``JSONCompact`` answer: `meta` names and types of the columns, `data` the rows."""
    from rich.table import Table
    from rich.text import Text

    result = Table(header_style="bold")
    for column in meta:
        result.add_column(column["name"], justify="right" if _NUMBERS.match(column["type"]) else "left")
    for row in data:
        result.add_row(*(Text("" if value is None else str(value)) for value in row))
    return result
