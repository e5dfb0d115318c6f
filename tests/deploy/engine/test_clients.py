"""clickhouse-connect and clickhouse-migrations, which the sink is built on, unchanged."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData
from clickhouse_migrations.clickhouse_cluster import ClickhouseCluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.engine.conftest import Engine

COLUMNS = {
    "id": "UInt64",
    "s": "String",
    "l": "LowCardinality(String)",
    "t": "DateTime64(3, 'UTC')",
    "m": "Decimal(18, 6)",
    "a": "Array(Tuple(UInt32, UInt32, Int64))",
    "o": "Map(String, Array(Int64))",
    "n": "Nullable(Int32)",
    "e.x": "Array(String)",
    "e.y": "Array(Int8)",
}
ROW = [
    2**64 - 1,
    "a'\t\0\\ü",
    "low",
    dt.datetime(2026, 1, 2, 3, 4, 5, 678000),  # noqa: DTZ001 - the client gives UTC without a zone
    Decimal("-1.234567"),
    [(1, 2, -3), (4, 5, 6)],
    {"k": [1, 2], "": []},
    None,
    ["p", "q"],
    [1, -2],
]


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
@pytest.mark.parametrize("session", [True, False])
def test_round_trip(engine: Engine, compress: bool | str, session: bool) -> None:
    """Every type that headwater stores comes back as it went in, however it is compressed."""
    table = f"rt_{compress}_{session}".lower()
    with clickhouse_connect.get_client(
        host="127.0.0.1", port=engine.port, compress=compress, autogenerate_session_id=session
    ) as client:
        columns = ", ".join(f"`{name}` {kind}" for name, kind in COLUMNS.items())
        client.command(f"CREATE TABLE {table} ({columns}, d UInt8 DEFAULT 9) ENGINE = MergeTree ORDER BY id")
        summary = client.insert(table, [ROW] * 2, column_names=list(COLUMNS))
        assert summary.written_rows == 2
        assert client.query(f"SELECT * FROM {table}").result_rows == [(*ROW, 9)] * 2
        client.insert(table, [[7] * 2000, ["x"] * 2000], column_names=["id", "s"], column_oriented=True)
        assert client.query(f"SELECT count() FROM {table}").first_row == (2002,)


def test_bytes_in_a_string_column(engine: Engine) -> None:
    """A String holds any bytes."""
    with clickhouse_connect.get_client(host="127.0.0.1", port=engine.port) as client:
        client.command("CREATE TABLE raw_bytes (s String) ENGINE = Memory")
        client.insert("raw_bytes", [[bytes(range(256))]], column_names=["s"])
        assert client.query("SELECT s FROM raw_bytes", query_formats={"String": "bytes"}).first_row == (
            bytes(range(256)),
        )


def test_parameters_commands_and_raw_queries(engine: Engine) -> None:
    """Client-side and server-side parameters, long ones as a form, tables sent along, LIMIT 0."""
    with clickhouse_connect.get_client(host="127.0.0.1", port=engine.port) as client:
        sent = {"a": "x'\t\n\\", "b": [1, 2], "c": 5}
        assert client.query("SELECT {a:String}, {b:Array(UInt8)}, {c:UInt8}", parameters=sent).first_row == tuple(
            sent.values()
        )
        assert client.query("SELECT %(a)s", parameters=sent).first_row == (sent["a"],)
        long = client.query("SELECT length({a:String})", parameters={"a": "x" * 300_000})
        assert long.first_row == (300_000,)
        table = ExternalData(file_name="ext", fmt="CSV", structure="a UInt64, b String", data=b"1,x\n2,y\n")
        for _ in range(2):
            assert client.query("SELECT sum(a) FROM ext", external_data=table).first_row == (3,)
        assert client.command("SELECT 5") == 5
        assert client.raw_query("SELECT 1 AS a", fmt="CSVWithNames") == b'"a"\n1\n'
        assert client.query("SELECT 1 AS a LIMIT 0").column_names == ("a",)
        assert client.query("SELECT 1 WHERE 0").result_rows == []


def test_errors_and_streams(engine: Engine) -> None:
    """Codes arrive as the client's own errors, also in mid-stream; the session goes on afterwards."""
    with clickhouse_connect.get_client(host="127.0.0.1", port=engine.port) as client:
        with pytest.raises(DatabaseError) as failed:
            client.query("SELECT nope")
        assert (failed.value.code, failed.value.name) == (47, "UNKNOWN_IDENTIFIER")
        with client.query_column_block_stream("SELECT number FROM numbers(1000000)") as stream:
            assert sum(len(block[0]) for block in stream) == 1_000_000
        with (
            pytest.raises(StreamFailureError, match="Code: 395"),
            client.query_column_block_stream("SELECT throwIf(number = 5000000) FROM numbers(6000000)") as stream,
        ):
            for _ in stream:
                pass
        assert client.query("SELECT 1", settings={"max_threads": 1}).first_row == (1,)


async def test_the_async_client(engine: Engine) -> None:
    """The same over aiohttp."""
    async with await clickhouse_connect.get_async_client(host="127.0.0.1", port=engine.port) as client:
        await client.command("CREATE TABLE asy (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
        await client.insert("asy", [list(range(5000)), ["x"] * 5000], column_names=["a", "s"], column_oriented=True)
        assert (await client.query("SELECT count(), sum(a) FROM asy")).result_rows == [(5000, 12_497_500)]
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            await client.query("SELECT * FROM nosuch")


def test_migrations_run_twice(engine: Engine, tmp_path: Path) -> None:
    """clickhouse-migrations makes the database, applies what is new, and finds nothing to do the second time."""
    (tmp_path / "001_first.sql").write_text(
        "CREATE TABLE m1 (a UInt64) ENGINE = MergeTree ORDER BY a;\nCREATE VIEW v1 AS SELECT a FROM m1;\n"
    )
    cluster = ClickhouseCluster(
        db_host="127.0.0.1", db_port=str(engine.port), db_user="default", db_password="", driver="clickhouse-connect"
    )
    for applied in (1, 0):
        done = cluster.migrate("migrated", tmp_path, create_db_if_no_exists=True, multi_statement=True)
        assert len(done) == applied
    assert engine.rows("SELECT count() FROM v1", database="migrated") == "0\n"
