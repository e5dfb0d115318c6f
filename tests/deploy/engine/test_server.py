"""ClickHouse's HTTP protocol as curl and other plain clients use it."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING

import httpx
import lz4.frame
import pytest

from deploy.local.engine.compression import BlockDecoder, BlockEncoder, encoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.deploy.engine.conftest import Engine


def test_health(engine: Engine) -> None:
    """``/ping``, ``/replicas_status`` and ``/`` without a query say Ok."""
    for path in ("/ping", "/", "/replicas_status"):
        assert engine.http.get(path).text == "Ok.\n"
    assert engine.http.get("/nosuch").status_code == 404


def test_a_query_in_the_url_in_the_body_and_in_both(engine: Engine) -> None:
    """The text is the parameter, a line feed, and the body."""
    assert engine.http.get("/?query=SELECT+1").text == "1\n"
    assert engine.sql("SELECT 2").text == "2\n"
    assert engine.sql("3", query="SELECT").text == "3\n"
    assert engine.http.get("/query?query=SELECT+4").text == "4\n"


def test_headers_of_an_answer(engine: Engine) -> None:
    """Format, content type, query id, time zone and summary are as a server gives them."""
    headers = engine.sql("SELECT number FROM numbers(3) FORMAT JSONEachRow", query_id="mine").headers
    assert headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert headers["Content-Type"] == "application/x-ndjson; charset=UTF-8"
    assert headers["X-ClickHouse-Query-Id"] == "mine"
    assert headers["X-ClickHouse-Timezone"] == "UTC"
    assert headers["X-ClickHouse-Server-Display-Name"]
    summary = json.loads(headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["result_rows"]) == ("3", "3")


def test_formats(engine: Engine) -> None:
    """The FORMAT clause, then default_format, then the header, then TabSeparated."""
    assert engine.sql("SELECT 1 AS a", default_format="JSONEachRow").text == '{"a":1}\n'
    assert engine.sql("SELECT 'a' FORMAT TSV", default_format="JSON").text == "a\n"
    response = engine.http.post("/", content=b"SELECT 'a'", headers={"X-ClickHouse-Format": "CSV"})
    assert response.text == '"a"\n'
    assert engine.sql("SELECT 1 AS a FORMAT JSON").json()["data"] == [{"a": 1}]


@pytest.mark.parametrize(
    ("sql", "parameters", "status", "code", "name"),
    [
        ("SELEC 1", {}, 400, 62, "SYNTAX_ERROR"),
        ("", {}, 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", {}, 400, 62, "SYNTAX_ERROR"),
        ("SELECT nope", {}, 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT * FROM nosuch", {}, 404, 60, "UNKNOWN_TABLE"),
        ("INSERT INTO nosuch VALUES (1)", {}, 404, 60, "UNKNOWN_TABLE"),
        ("SELECT 1 FORMAT Nosuch", {}, 404, 73, "UNKNOWN_FORMAT"),
        ("SELECT 1", {"nosuch": "1"}, 404, 115, "UNKNOWN_SETTING"),
        ("SELECT 1", {"a b": "1"}, 404, 115, "UNKNOWN_SETTING"),
        ("SELECT 1", {"database": "nosuch"}, 404, 81, "UNKNOWN_DATABASE"),
        ("SELECT 1", {"user": "bob"}, 403, 516, "AUTHENTICATION_FAILED"),
        ("SELECT throwIf(1)", {}, 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT number FROM numbers(9)", {"max_result_rows": "5"}, 500, 396, "TOO_MANY_ROWS_OR_BYTES"),
        ("SELECT toInt32('\udcff')", {}, 400, 6, "CANNOT_PARSE_TEXT"),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", {}, 500, 358, "INTO_OUTFILE_NOT_ALLOWED"),
        ("INSERT INTO t FROM INFILE '/tmp/x' FORMAT CSV", {}, 404, 78, "UNKNOWN_TYPE_OF_QUERY"),
        ("CREATE USER x", {}, 403, 497, "ACCESS_DENIED"),
        ("SELECT 1", {"session_id": "none", "session_check": "1"}, 500, 372, "SESSION_NOT_FOUND"),
    ],
)
def test_errors(engine: Engine, sql: str, parameters: dict[str, str], status: int, code: int, name: str) -> None:
    """HTTP status, header and text carry ClickHouse's code and name."""
    response = engine.sql(sql.encode("utf-8", "surrogateescape"), **parameters)
    assert (response.status_code, response.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert response.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version " in response.text


@pytest.mark.parametrize(
    "sql", ["CREATE TABLE never (a Int8) ENGINE = Memory", "INSERT INTO kept VALUES (1)", "DROP TABLE kept"]
)
@pytest.mark.parametrize("session", ["", "&session_id=reader"])
def test_get_is_read_only(engine: Engine, sql: str, session: str) -> None:
    """A GET never writes, with or without a session; POST is there for that."""
    engine.rows("CREATE TABLE IF NOT EXISTS kept (a Int8) ENGINE = Memory")
    response = engine.http.get(f"/?query={sql.replace(' ', '+')}{session}")
    assert response.headers["X-ClickHouse-Exception-Code"] == "164"


def test_the_password(starts: Callable[..., Engine], tmp_path: Path) -> None:
    """URL, header and basic credentials all work; a wrong or missing one is 403 with 516."""
    guarded = starts(tmp_path / "data", password="geheim")
    assert guarded.sql("SELECT 1").status_code == 403
    assert guarded.sql("SELECT 1", password="falsch").headers["X-ClickHouse-Exception-Code"] == "516"
    assert guarded.rows("SELECT 1", user="default", password="geheim") == "1\n"
    headers = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "geheim"}
    assert guarded.http.post("/", content=b"SELECT 1", headers=headers).text == "1\n"
    assert guarded.http.post("/", content=b"SELECT 1", auth=("default", "geheim")).text == "1\n"
    assert guarded.http.get("/ping").status_code == 200


def test_parameters(engine: Engine) -> None:
    """``{name:Type}`` takes param_NAME, escaped as in TabSeparated; in an INSERT too."""
    assert (
        engine.rows("SELECT {a:String}, {b:Array(UInt8)}", param_a="x\\ty'\\\\", param_b="[1,2]")
        == "x\\ty\\'\\\\\t[1,2]\n"
    )
    engine.rows("CREATE TABLE prm (a String) ENGINE = Memory")
    engine.rows("INSERT INTO {t:Identifier} VALUES ({v:String})", param_t="prm", param_v="q\\'\\n")
    engine.sql(b"q'\\n\n", query="INSERT INTO {t:Identifier} FORMAT TSV", param_t="prm")
    assert engine.rows("SELECT a = 'q\\'\\n' FROM prm") == "1\n1\n"


def test_settings_and_database_are_one_requests(engine: Engine) -> None:
    """Neither outlives its request, without a session and within one."""
    engine.rows("CREATE DATABASE IF NOT EXISTS other")
    ask = "SELECT getSetting('max_block_size') = 77, currentDatabase()"
    for session in ({}, {"session_id": "settings"}):
        assert engine.rows(ask, max_block_size="77", database="other", **session) == "1\tother\n"
        assert engine.rows(ask, **session) == "0\tdefault\n"
        assert engine.sql("SELECT nope", max_block_size="77", database="other", **session).status_code == 404
        assert engine.rows(ask, **session) == "0\tdefault\n"


def test_a_session_keeps_what_belongs_to_it(engine: Engine) -> None:
    """SET, USE and temporary tables stay for the session and nobody else sees them."""
    engine.rows("CREATE DATABASE IF NOT EXISTS other")
    engine.rows("SET max_block_size = 55", session_id="s1")
    engine.rows("USE other", session_id="s1")
    engine.rows("CREATE TEMPORARY TABLE mine (a Int8)", session_id="s1")
    engine.rows("INSERT INTO mine VALUES (7)", session_id="s1")
    ask = "SELECT a, getSetting('max_block_size'), currentDatabase() FROM mine"
    assert engine.rows(ask, session_id="s1", max_threads="1") == "7\t55\tother\n"
    assert engine.rows(ask, session_id="s1", max_block_size="66", database="default") == "7\t66\tdefault\n"
    assert engine.rows(ask, session_id="s1") == "7\t55\tother\n"
    assert engine.sql(ask, session_id="s2").status_code == 404
    engine.rows("SELECT 1", session_id="s1", close_session="1")
    assert engine.sql(ask, session_id="s1").status_code == 404


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("CSV", b'1,"a"\n2,"b"\n'),
        ("TabSeparated", b"1\ta\n2\tb\n"),
        ("JSONEachRow", b'{"a":1,"s":"a"}{"a":2,"s":"b"}'),
        ("Values", b"(1,'a'),(2,concat('','b'))"),
        ("RowBinary", b"\x01\x00\x00\x00\x01a\x02\x00\x00\x00\x01b"),
    ],
)
def test_inserts_in_formats(engine: Engine, form: str, data: bytes) -> None:
    """The statement in the URL or before the data; columns that are left out take their defaults."""
    table = f"ins_{form}"
    engine.rows(f"CREATE TABLE {table} (a UInt32, s String, d UInt8 DEFAULT 9) ENGINE = MergeTree ORDER BY a")
    statement = f"INSERT INTO {table} (a, s) FORMAT {form}"
    response = engine.sql(data, query=statement)
    assert json.loads(response.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert engine.sql(statement.encode() + b"\n" + data).status_code == 200
    assert engine.rows(f"SELECT a, s, d, count() FROM {table} GROUP BY ALL ORDER BY a") == "1\ta\t9\t2\n2\tb\t9\t2\n"


def test_native_in_and_out(engine: Engine) -> None:
    """A result in Native can be inserted as it came, bytes and NULLs and all."""
    columns = (
        "id UInt64, s String, l LowCardinality(String), t DateTime64(3, 'UTC'), m Decimal(18, 6), n Nullable(Int32), "
        "a Array(Tuple(UInt32, UInt32, Int64)), o Map(String, Array(Int64)), e Nested(x String, y Int8)"
    )
    engine.rows(f"CREATE TABLE nat ({columns}) ENGINE = MergeTree ORDER BY id")
    engine.rows(
        r"INSERT INTO nat VALUES (18446744073709551615, 'a\xff\0b', 'l', '2026-01-02 03:04:05.678', -1.234567, NULL, "
        r"[(1, 2, -3)], {'k': [1, 2]}, ['p', 'q'], [1, 2])"
    )
    body = engine.sql("SELECT * FROM nat FORMAT Native").content
    assert engine.sql(body, query="INSERT INTO nat FORMAT Native").status_code == 200
    assert engine.rows("SELECT count(), uniqExact(tuple(*)) FROM nat") == "2\t1\n"


def test_a_damaged_insert_writes_nothing(engine: Engine) -> None:
    """A bad row is 27 or 117 with status 400, an insert that is cut off in its encoding too."""
    engine.rows("CREATE TABLE bad (a UInt32) ENGINE = MergeTree ORDER BY a")
    assert engine.sql(b"1\nx\n", query="INSERT INTO bad FORMAT CSV").status_code in (400, 500)
    cut = gzip.compress(b"1\n2\n")[:-12]
    response = engine.http.post(
        "/", params={"query": "INSERT INTO bad FORMAT CSV"}, content=cut, headers={"Content-Encoding": "gzip"}
    )
    assert response.headers["X-ClickHouse-Exception-Code"] == "271"
    assert engine.rows("SELECT count() FROM bad") == "0\n"


@pytest.mark.parametrize("name", ["gzip", "deflate", "lz4", "zstd"])
def test_compressed_bodies(engine: Engine, name: str) -> None:
    """Content-Encoding in, Accept-Encoding out; large ones come in pieces."""
    engine.rows(f"CREATE TABLE IF NOT EXISTS z_{name} (a UInt64) ENGINE = MergeTree ORDER BY a")
    codec = encoder(name)
    plain = "".join(f"{number}\n" for number in range(300_000)).encode()
    body = codec.feed(plain) + codec.finish()
    query = {"query": f"INSERT INTO z_{name} FORMAT TSV"}
    assert engine.http.post("/", params=query, content=body, headers={"Content-Encoding": name}).status_code == 200
    assert engine.rows(f"SELECT count(), sum(a) FROM z_{name}") == "300000\t44999850000\n"
    ask = {"query": f"SELECT a FROM z_{name} ORDER BY a", "enable_http_compression": "1"}
    with httpx.stream(
        "GET", f"http://127.0.0.1:{engine.port}/", params=ask, headers={"Accept-Encoding": name}, timeout=30
    ) as response:
        packed = b"".join(response.iter_raw())
        assert response.headers["Content-Encoding"] == name
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, "lz4": lz4.frame.decompress}
    assert name not in unpack or unpack[name](packed) == plain


def test_blocks(engine: Engine) -> None:
    """``decompress=1`` and ``compress=1``: ClickHouse's own block format."""
    engine.rows("CREATE TABLE blk (a UInt64) ENGINE = MergeTree ORDER BY a")
    body = BlockEncoder().feed(b"1\n2\n3\n")
    assert engine.sql(body, query="INSERT INTO blk FORMAT TSV", decompress="1").status_code == 200
    packed = engine.sql("SELECT a FROM blk ORDER BY a", compress="1").content
    assert BlockDecoder().feed(packed) == b"1\n2\n3\n"


def test_a_long_result_is_streamed_whole(engine: Engine) -> None:
    """Pieces add up; so do formats with head and foot, which are answered in one."""
    lines = engine.rows("SELECT number FROM numbers(1000000)").splitlines()
    assert (len(lines), lines[-1]) == (1_000_000, "999999")
    assert engine.sql("SELECT number FROM numbers(200000) FORMAT JSON").json()["rows"] == 200_000
    assert engine.rows("SELECT number FROM numbers(200000) FORMAT CSVWithNames").count('"number"') == 1
    assert engine.rows("SELECT number % 2 AS k, count() FROM numbers(4) GROUP BY k WITH TOTALS ORDER BY k").endswith(
        "\n\n0\t4\n"
    )


def test_an_error_behind_the_first_rows_breaks_the_answer_off(engine: Engine) -> None:
    """The exception stands at the end between tags, and the body does not end properly."""
    with engine.http.stream("POST", "/", content=b"SELECT throwIf(number = 5000000) FROM numbers(6000000)") as response:
        assert response.status_code == 200
        tag = response.headers["X-ClickHouse-Exception-Tag"]
        seen = b""
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 - what came before is wanted
            for piece in response.iter_raw():
                seen = (seen + piece)[-2000:]
    assert f"__exception__\r\n{tag}\r\nCode: 395. ".encode() in seen
    assert seen.endswith(f" {tag}\r\n__exception__\r\n".encode())
