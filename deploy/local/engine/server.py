"""ClickHouse's HTTP protocol: reads a request, has its statement run, answers with rows, summary or error.

Rule: the answer's status is decided by the first MiB of the result. What fails later breaks the response off, with the
exception written behind the rows between tags (``X-ClickHouse-Exception-Tag``), as ClickHouse does since 25.11.
"""

from __future__ import annotations

import json
import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from deploy.local.engine import execution
from deploy.local.engine.bodies import Table, pieces, read_form
from deploy.local.engine.compression import BlockEncoder, Codec, decoder, encoder
from deploy.local.engine.errors import (
    INTO_OUTFILE_NOT_ALLOWED,
    READONLY,
    SYNTAX_ERROR,
    UNKNOWN_TYPE_OF_QUERY,
    EngineError,
    refused,
)
from deploy.local.engine.formats import content_type
from deploy.local.engine.request import Ask, authenticate, read_request
from deploy.local.engine.statement import (
    Insert,
    Statement,
    read_insert,
    read_statement,
    whole_insert,
    with_own_query_id,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from deploy.local.engine.connections import Connections, Lease
    from deploy.local.engine.execution import Counts, Rows

_COMPRESS_FROM_BYTES: Final = 1024
_QUERY_BYTES: Final = 64 << 20
_EMPTY_QUERY: Final = "Syntax error: failed at position 1 (end of query): Empty query"


class Front:
    """The handlers, on one engine; ``password`` is user default's ("" for none)."""

    def __init__(self, connections: Connections, password: str = "") -> None:
        self._connections = connections
        self._password = password

    def application(self) -> web.Application:
        """All paths that a ClickHouse server answers by default and that make sense here."""
        app = web.Application()
        for path in ("/ping", "/replicas_status"):
            app.router.add_get(path, self.ok)
        for path in ("/", "/query"):
            app.router.add_route("*", path, self.statement)
        app.router.add_route("*", "/{rest:.*}", self.nothing_here)
        return app

    async def ok(self, _: web.Request) -> web.Response:
        """``/ping``: the engine is open, else this would not listen."""
        return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")

    async def nothing_here(self, request: web.Request) -> web.Response:
        """Any other path."""
        hint = "Use / or /ping for health checks.\nSend queries from your program with POST."
        text = f"There is no handle {request.path}\n\n{hint}\n"
        return web.Response(status=404, text=text)

    async def statement(self, request: web.Request) -> web.StreamResponse:
        """One statement."""
        query_string = request.raw_path.partition("?")[2]
        if request.method in ("GET", "HEAD") and not query_string:
            return await self.ok(request)
        ask: Ask | None = None
        try:
            if request.method not in ("GET", "HEAD", "POST", "PUT"):
                return web.Response(status=501, text=f"Unsupported method: {request.method}\n")
            ask = read_request(request.method, query_string, request.headers)
            authenticate(ask, self._password)
            return await self._answer(request, ask)
        except EngineError as error:
            return self._failure(error, ask)

    async def _answer(self, request: web.Request, ask: Ask) -> web.StreamResponse:
        if ask.multipart:
            fields, tables = await read_form(request, ask.external)
            asked = read_request(request.method, request.raw_path.partition("?")[2], request.headers, fields)
            return await self._run(request, asked, asked.query, tables)
        codec = decoder(ask.encoding_in, blocks=ask.blocks_in)
        async with aclosing(pieces(request.content, codec, self._connections.submit)) as body:
            text = ask.query
            insert = whole_insert(text) if text else None
            if insert is not None:
                first = text[insert.data_at :]
                return await self._insert(ask, insert, first + b"\n" if first else b"", body)
            if text:
                text += b"\n"
            found: Any = "incomplete"
            async for piece in body:
                text += piece
                if found == "incomplete":
                    found = read_insert(text)
                if isinstance(found, Insert):
                    return await self._insert(ask, found, text[found.data_at :], body)
                if len(text) > _QUERY_BYTES:
                    raise refused(SYNTAX_ERROR, f"Max query size exceeded: {_QUERY_BYTES} bytes")
            insert = whole_insert(text)
            if insert is not None:
                return await self._insert(ask, insert, text[insert.data_at :], body)
        return await self._run(request, ask, text)

    async def _insert(self, ask: Ask, insert: Insert, first: bytes, body: AsyncGenerator[bytes]) -> web.Response:
        if ask.readonly:
            raise _read_only()
        lease = await self._connections.lease(ask.session, ask.terms)
        try:
            lease.statement = Statement("INSERT")
            if ask.terms.parameters:
                whole = b"".join(
                    [insert.target, b"FORMAT ", insert.format.encode(), b"\n", first, *[_ async for _ in body]]
                )
                counts = (await lease.step(_run_step, lease, whole, lease.statement, False, [])).counts
                return web.Response(headers=self._headers(ask, counts))
            data: bytes | None = first
            while data is not None:
                following = await anext(body, None)
                counts = await lease.step(_insert_step, lease, insert, data, following is None)
                data = following
        finally:
            await self._connections.end(lease)
        return web.Response(headers=self._headers(ask, counts))

    async def _run(
        self, request: web.Request, ask: Ask, text: bytes, tables: list[Table] | None = None
    ) -> web.StreamResponse:
        statement = read_statement(text)
        _check(statement, ask)
        if statement.kind == "KILL":
            text = with_own_query_id(text)
        lease = await self._connections.lease(ask.session, ask.terms)
        try:
            lease.statement = statement
            rows = await lease.step(_run_step, lease, text, statement, ask.readonly, tables or [])
            lease.rows = rows
            headers = self._headers(ask, rows.counts)
            if statement.returns_rows or rows.body:
                name = statement.format or ask.terms.format
                headers |= {"X-ClickHouse-Format": name, "Content-Type": content_type(name)}
            else:
                headers["Content-Type"] = "text/plain; charset=UTF-8"
            if rows.stream is not None:
                return await self._stream(request, ask, lease, rows, headers)
        finally:
            await self._connections.end(lease)
        return await self._whole(ask, rows, headers)

    async def _whole(self, ask: Ask, rows: Rows, headers: dict[str, str]) -> web.Response:
        body = rows.body
        codec, encoding = _response_codec(ask)
        if ask.blocks_out or (encoding and len(body) >= _COMPRESS_FROM_BYTES):
            body = await self._connections.submit(lambda: codec.feed(body) + codec.finish())
            if encoding:
                headers["Content-Encoding"] = encoding
        return web.Response(body=body, headers=headers)

    async def _stream(
        self, request: web.Request, ask: Ask, lease: Lease, rows: Rows, headers: dict[str, str]
    ) -> web.StreamResponse:
        codec, encoding = _response_codec(ask)
        if encoding:
            headers["Content-Encoding"] = encoding
        tag = secrets.token_hex(8)
        response = web.StreamResponse(headers={**headers, "X-ClickHouse-Exception-Tag": tag})
        await response.prepare(request)
        piece: bytes | None = rows.body
        try:
            while piece is not None:
                await response.write(await self._connections.submit(codec.feed, piece))
                piece = await lease.step(execution.more, lease.handle, rows)
        except EngineError as error:
            # A session must be free again before the client can see the end.
            await self._connections.end(lease)
            await response.write(
                codec.feed(_exception_block(error.body(self._connections.version), tag)) + codec.finish()
            )
            if request.transport is not None:
                request.transport.close()
            return response
        await self._connections.end(lease)
        await response.write(codec.finish())
        return response

    def _headers(self, ask: Ask | None, counts: Counts | None = None) -> dict[str, str]:
        headers = {
            "X-ClickHouse-Server-Display-Name": self._connections.host,
            "X-ClickHouse-Timezone": self._connections.timezone,
        }
        if ask is not None:
            headers["X-ClickHouse-Query-Id"] = _one_line(ask.terms.query_id)
            if "session_timezone" in ask.terms.settings:
                headers["X-ClickHouse-Timezone"] = _one_line(ask.terms.settings["session_timezone"])
        if counts is not None:
            headers["X-ClickHouse-Summary"] = _summary(counts)
        return headers

    def _failure(self, error: EngineError, ask: Ask | None) -> web.Response:
        headers = self._headers(ask)
        headers["X-ClickHouse-Exception-Code"] = str(error.code)
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        return web.Response(status=error.status, text=error.body(self._connections.version), headers=headers)


def _insert_step(lease: Lease, insert: Insert, data: bytes, last: bool) -> Counts:
    if lease.inserter is None:
        lease.before = execution.prepare(lease.handle, lease.terms)
        lease.inserter = execution.open_insert(lease.handle, insert)
    if data:
        execution.feed_insert(lease.handle, lease.inserter, data)
    if not last:
        return execution.Counts()
    inserter, lease.inserter = lease.inserter, None
    return execution.end_insert(lease.handle, inserter)


def _run_step(lease: Lease, text: bytes, statement: Statement, readonly: bool, tables: list[Table]) -> Rows:
    enforce = readonly and not statement.harmless
    lease.before = execution.prepare(lease.handle, lease.terms, readonly=enforce)
    for table in tables:
        lease.external.append(table.name)
        execution.load(lease.handle, table.name, table.structure, table.format, table.data)
    return execution.execute(lease.handle, text, statement, lease.terms)


def _check(statement: Statement, ask: Ask) -> None:
    """What chDB would run but a server refuses."""
    if not statement.kind or statement.kind == ";":
        raise refused(SYNTAX_ERROR, _EMPTY_QUERY)
    if statement.many:
        raise refused(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
    if statement.outfile:
        raise refused(INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed")
    if statement.infile:
        raise refused(UNKNOWN_TYPE_OF_QUERY, "Query has infile and was send directly to server")
    if ask.readonly and ask.session is not None and not statement.harmless:
        raise _read_only()


def _read_only() -> EngineError:
    hint = "For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries."
    return refused(READONLY, f"default: Cannot execute query in readonly mode. {hint}")


def _response_codec(ask: Ask) -> tuple[Codec, str]:
    if ask.blocks_out:
        return BlockEncoder(), ""
    return encoder(ask.encoding_out), ask.encoding_out


def _exception_block(text: str, tag: str) -> bytes:
    message = text.encode()
    return b"\r\n__exception__\r\n%s\r\n%s\r\n%d %s\r\n__exception__\r\n" % (
        tag.encode(),
        message.rstrip(b"\n"),
        len(message),
        tag.encode(),
    )


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() and letter.isascii() else "_" for letter in text)


def _summary(counts: Counts) -> str:
    figures = {
        "read_rows": counts.read_rows,
        "read_bytes": counts.read_bytes,
        "written_rows": counts.written_rows,
        "written_bytes": counts.written_bytes,
        "total_rows_to_read": counts.read_rows,
        "result_rows": counts.result_rows + counts.written_rows,
        "result_bytes": counts.result_bytes + counts.written_bytes,
        "elapsed_ns": int(counts.seconds * 1e9),
    }
    return json.dumps({name: str(figure) for name, figure in figures.items()}, separators=(",", ":"))
