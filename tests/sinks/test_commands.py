"""`headwater migrate` and `headwater sql` as a user meets them."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys

import orjson
import pytest

from schemas.settings import Settings
from sinks.clickhouse.migrate import MIGRATIONS
from streams.cli.sql import table

pytestmark = pytest.mark.integration


def headwater(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command against the test's engine."""
    program = (
        "import sys; from schemas.errors import HeadwaterError; from streams.cli import migrate, sql; import typer\n"
        "app = typer.Typer(); app.command('migrate')(migrate.migrate); app.command('sql')(sql.sql)\n"
        "try: app()\n"
        "except HeadwaterError as error: sys.exit(f'headwater: {error}')\n"
    )
    environment = {
        **os.environ,
        "HEADWATER_CLICKHOUSE_PORT": str(settings.clickhouse_port),
        "HEADWATER_CLICKHOUSE_DATABASE": settings.clickhouse_database,
        "HEADWATER_DATA_DIR": "/nonexistent",
    }
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_migrate_again_does_nothing(settings: Settings) -> None:
    """The fixture migrated already; a fresh database is made from nothing."""
    again = headwater(settings, "migrate")
    assert (again.returncode, again.stdout) == (0, f"database {settings.clickhouse_database} is up to date\n")
    fresh = settings.model_copy(update={"clickhouse_database": f"{settings.clickhouse_database}_fresh"})
    first = headwater(fresh, "migrate", "--json")
    assert orjson.loads(first.stdout)["applied"] == sorted(file.stem for file in MIGRATIONS.glob("*.sql"))
    headwater(fresh, "sql", f"DROP DATABASE {fresh.clickhouse_database}")


def test_sql_prints_tab_separated_values_json_and_csv(settings: Settings) -> None:
    """Where the output is no terminal; a FORMAT of the statement's own wins."""
    statement = "SELECT 1 AS a, 'x\ty' AS b, toDecimal64('0.1', 6) AS c"
    assert headwater(settings, "sql", statement).stdout == "a\tb\tc\n1\tx\\ty\t0.1\n"
    assert orjson.loads(headwater(settings, "sql", f"{statement};", "--json").stdout) == {"a": 1, "b": "x\ty", "c": 0.1}
    found = list(csv.reader(io.StringIO(headwater(settings, "sql", statement, "--csv").stdout)))
    assert found == [["a", "b", "c"], ["1", "x\ty", "0.1"]]
    assert headwater(settings, "sql", "SELECT 1 FORMAT TSV").stdout == "1\n"
    assert "<a>1</a>" in headwater(settings, "sql", statement, "--format", "XML").stdout


def test_an_error_is_one_clear_line(settings: Settings) -> None:
    """ClickHouse's own message and code, without a trace; not zero."""
    wrong = headwater(settings, "sql", "SELECT nothing FROM nowhere")
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert wrong.stderr.startswith("headwater: Code: 60")
    assert wrong.stderr.count("\n") == 1
    both = headwater(settings, "sql", "SELECT 1", "--json", "--csv")
    assert (both.returncode, both.stderr) == (1, "headwater: choose one of --json, --csv and --format\n")


def test_an_engine_that_is_away_is_one_clear_line(settings: Settings) -> None:
    """It names the address."""
    away = settings.model_copy(update={"clickhouse_port": 1})
    for arguments in (("sql", "SELECT 1"), ("migrate",)):
        failed = headwater(away, *arguments)
        assert failed.returncode == 1
        assert failed.stderr == "headwater: ClickHouse at 127.0.0.1:1 does not answer: Connection refused\n"


def test_numbers_stand_to_the_right() -> None:
    """In the table for a terminal."""
    meta = [{"name": "n", "type": "Nullable(UInt64)"}, {"name": "text", "type": "String"}]
    found = table(meta, [["1", "[red]x"], [None, "y"]])
    assert [column.justify for column in found.columns] == ["right", "left"]
    assert [str(cell) for cell in found.columns[1].cells] == ["[red]x", "y"]
