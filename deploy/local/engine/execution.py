"""Runs one statement on one chDB connection. Everything here blocks and is called in a worker thread.

Rule: a connection is one request's for as long as its statement runs. What the request changes (settings, database) is
undone before a session's connection is used again; a connection without session is closed instead.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deploy.local.engine.errors import EngineError, from_engine
from deploy.local.engine.formats import piecewise
from deploy.local.engine.statement import Insert

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.local.engine.statement import Statement

#: A result of up to this many bytes is answered whole, with its length and summary; a longer one is streamed.
WHOLE_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z_]\w*")


class Counts(NamedTuple):
    """What a statement read and wrote; ``seconds`` is the engine's own time."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    seconds: float = 0.0

    def then(self, block: Counts) -> Counts:
        """After another block of the same result: chDB counts what was read from the beginning, rows by the block."""
        rows, size = self.result_rows + block.result_rows, self.result_bytes + block.result_bytes
        return block._replace(result_rows=rows, result_bytes=size)


@dataclass(slots=True)
class Handle:
    """A chDB connection. ``database`` is the session's own; ``active`` is in use, maybe by ``database=``."""

    raw: Any
    session: bool = False
    database: str = "default"
    active: str = "default"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request asks for besides its statement."""

    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    format: str = "TabSeparated"
    query_id: str = ""
    whole: bool = False


@dataclass(slots=True)
class Rows:
    """A result: ``body`` is its beginning, ``stream`` is None if that is all (else see `more`)."""

    body: bytes
    counts: Counts
    stream: Any = None


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"


def named(text: str) -> str:
    """An identifier in backticks."""
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def tagged(sql: bytes, query_id: str) -> bytes:
    """A SELECT that bears its client's query id in a comment.

    chDB gives ids of its own; by the comment KILL QUERY finds the statement.
    """
    return sql + b"\n/* query_id=" + re.sub(r"[^\w.:-]", "_", query_id).encode() + b" */"


def run(
    handle: Handle, sql: str | bytes, output: str = "TabSeparated", parameters: Mapping[str, str] | None = None
) -> Any:
    """One statement, its chDB result; raises `EngineError`."""
    try:
        return handle.raw.query(sql, output, params=dict(parameters or {}))
    except (RuntimeError, UnicodeDecodeError) as error:
        raise from_engine(error) from None


def prepare(handle: Handle, terms: Terms, *, readonly: bool = False) -> dict[str, tuple[str, bool]]:
    """Applies a request's database and settings; returns what `restore` needs. Raises `EngineError` (81, 115, ...)."""
    wanted = terms.database or handle.database
    if wanted != handle.active:
        run(handle, f"USE {named(wanted)}")
        handle.active = wanted
    settings = {name: value for name, value in terms.settings.items() if _NAME.fullmatch(name)}
    for name in terms.settings.keys() - settings.keys():
        run(handle, f"SET {named(name)} = 1")
    before: dict[str, tuple[str, bool]] = {}
    if settings and handle.session:
        names = ", ".join(quoted(name) for name in settings)
        sql = f"SELECT name, value, changed FROM system.settings WHERE name IN ({names})"  # noqa: S608 - quoted
        listed = run(handle, sql, "JSONEachRow")
        for line in bytes(listed.bytes()).splitlines():
            row = json.loads(line)
            before[row["name"]] = (row["value"], bool(row["changed"]))
    clauses = [f"{name} = {quoted(value)}" for name, value in settings.items()]
    if readonly and settings.get("readonly", "0") == "0":
        clauses.append("readonly = 2")
    if clauses:
        run(handle, f"SET {', '.join(clauses)}")
    return before


def restore(handle: Handle, before: Mapping[str, tuple[str, bool]], statement: Statement | None = None) -> None:
    """Puts a session's connection back to the session's own settings and, after a USE, notes its database."""
    if not handle.session:
        return
    for name, (value, changed) in before.items():
        run(handle, f"SET {name} = {quoted(value) if changed else 'DEFAULT'}")
    if statement is not None and statement.kind == "USE":
        current = run(handle, "SELECT currentDatabase()", "TabSeparatedRaw")
        handle.database = handle.active = bytes(current.bytes()).decode().rstrip("\n")


def _counts(result: Any, size: int = 0) -> Counts:
    return Counts(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        result_bytes=size,
        seconds=result.elapsed(),
    )


def execute(handle: Handle, sql: bytes, statement: Statement, terms: Terms) -> Rows:
    """Runs a statement; a SELECT in a format that can come in pieces stays open if it is long (`more`, `stop`)."""
    text = tagged(sql, terms.query_id) if statement.selects else sql
    if terms.whole or not statement.selects or statement.totals or not piecewise(statement.format or terms.format):
        result = run(handle, text, terms.format, terms.parameters)
        body = bytes(result.bytes())
        return Rows(body, _counts(result, len(body)))
    try:
        stream = handle.raw.send_query(text, terms.format, params=dict(terms.parameters))
    except (RuntimeError, UnicodeDecodeError) as error:
        raise from_engine(error) from None
    rows = Rows(b"", Counts(), stream)
    pieces: list[bytes] = []
    size = 0
    while size < WHOLE_BYTES:
        piece = more(handle, rows)
        if piece is None:
            break
        pieces.append(piece)
        size += len(piece)
    rows.body = b"".join(pieces)
    return rows


def more(handle: Handle, rows: Rows) -> bytes | None:
    """The next block of an open result, None at its end; raises `EngineError`, after which the result is closed."""
    if rows.stream is None:
        return None
    try:
        result = handle.raw.streaming_fetch_result(rows.stream)
    except (RuntimeError, UnicodeDecodeError) as error:
        rows.stream = None
        raise from_engine(error) from None
    if result is None or result.rows_read() == 0:
        rows.stream = None
        return None
    body = bytes(result.bytes())
    rows.counts = rows.counts.then(_counts(result, len(body)))
    return body


def stop(handle: Handle, rows: Rows) -> None:
    """Gives up what is left of a result."""
    if rows.stream is not None:
        handle.raw.streaming_cancel_query(rows.stream)
        rows.stream = None


def kill(handle: Handle, query_id: str) -> None:
    """Stops the SELECT that bears this id, on whatever connection it runs."""
    mark = tagged(b"", query_id).decode()
    run(handle, f"KILL QUERY WHERE endsWith(query, {quoted(mark)}) ASYNC")


def open_insert(handle: Handle, insert: Insert) -> Any:
    """Begins an INSERT whose data come by `feed_insert`; raises `EngineError` (no such table, column, format)."""
    try:
        return handle.raw.send_insert(insert.target.decode("utf-8", "surrogateescape"), insert.format)
    except (RuntimeError, UnicodeError) as error:
        raise from_engine(error) from None


def feed_insert(handle: Handle, inserter: Any, data: bytes) -> None:
    """Hands on a piece of the data, of any size."""
    try:
        handle.raw.insert_append(inserter, data)
    except (RuntimeError, UnicodeDecodeError) as error:
        raise from_engine(error) from None


def end_insert(handle: Handle, inserter: Any) -> Counts:
    """Commits an INSERT; the rows are there for every connection when this returns."""
    try:
        result = handle.raw.insert_done(inserter)
    except (RuntimeError, UnicodeDecodeError) as error:
        raise from_engine(error) from None
    written = Counts(written_rows=result.rows_written(), written_bytes=result.bytes_written(), seconds=result.elapsed())
    return written._replace(read_rows=written.written_rows, read_bytes=written.written_bytes)


def drop_insert(handle: Handle, inserter: Any) -> None:
    """Gives up an INSERT; blocks that are written already (about a million rows each) stay, as on a server."""
    try:
        handle.raw.insert_cancel(inserter)
    except RuntimeError as error:
        raise from_engine(error) from None


def load(handle: Handle, name: str, structure: str, form: str, data: bytes) -> None:
    """Makes a temporary table of data that came with a query (ClickHouse's external data)."""
    run(handle, f"CREATE TEMPORARY TABLE {named(name)} ({structure})")
    inserter = open_insert(handle, Insert(f"INSERT INTO {named(name)} ".encode(), form, 0))
    try:
        feed_insert(handle, inserter, data)
    except EngineError:
        drop_insert(handle, inserter)
        raise
    end_insert(handle, inserter)


def kill_all(handle: Handle) -> None:
    """Stops every statement that can be stopped."""
    run(handle, "KILL QUERY WHERE 1 ASYNC")
