"""What stands before a server and fails when it is told to: `Proxy` before Kafka, `Door` before ClickHouse.

Rule: each passes everything on until something is armed; an armed fault happens to the next request of its kind, once
(`Proxy`), or for as long as the door is shut (`Door`). Kafka's requests are told apart by the api key in their header
(Kafka protocol guide, "Request Header": size int32, api key int16, api version int16, correlation id int32).
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self

import aiohttp
from aiohttp import web

from deploy.local.ports import HOST, free_port

PRODUCE, INIT_PRODUCER_ID, ADD_PARTITIONS, ADD_OFFSETS, END_TXN, COMMIT_OFFSETS = 0, 22, 24, 25, 26, 28
ANSWER_S = 5.0
"""How long the broker may take over a request whose answer is to be lost."""

READ_ONLY = "Code: 242. DB::Exception: Table is in readonly mode. (TABLE_IS_READ_ONLY)"

How = Literal["before", "half", "after", "silence", "hold"]
"""Cut before the request is passed on; in the midst of it; after it, before its answer; or never answer at all. What is
held is passed on later, when `go` is set, as by a network that was slow."""


@dataclass
class Cut:
    """What is to happen to the next request with one of these api keys; `done` says that it has."""

    keys: frozenset[int]
    how: How
    done: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    client: int = 0
    """The port from which the request came."""
    lasting: float = 0.0
    """For so many seconds after the first it happens to all further ones, so that sending again does not help."""
    ends: float = 0.0


class Proxy:
    """Passes Kafka's protocol on, frame by frame: `async with Proxy(lambda: port) as proxy: ... proxy.arm(...)`."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.port = free_port()
        self._target = target
        self._armed: list[Cut] = []
        self._open: set[asyncio.Task] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def arm(self, keys: Iterable[int], how: How, lasting: float = 0.0) -> Cut:
        """Let the next request with one of `keys` fail; ask the answer's `done` whether it has."""
        cut = Cut(frozenset(keys), how, lasting=lasting)
        self._armed.append(cut)
        return cut

    def disarm(self, cut: Cut) -> None:
        """Take back what has not happened; what is held goes on."""
        cut.go.set()
        with suppress(ValueError):
            self._armed.remove(cut)

    def _match(self, key: int) -> Cut | None:
        now = time.monotonic()
        for cut in self._armed:
            if key in cut.keys:
                cut.ends = cut.ends or now + cut.lasting
                if now >= cut.ends:
                    self._armed.remove(cut)
                if now <= cut.ends:
                    return cut
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._open.add(task)
        try:
            up_reader, up_writer = await asyncio.open_connection(HOST, self._target())
        except OSError:
            writer.close()
            self._open.discard(task)
            return
        muted: dict[int, asyncio.Event] = {}
        answers = asyncio.create_task(self._answers(up_reader, writer, muted))
        client = writer.get_extra_info("peername")[1]
        requests = asyncio.create_task(self._requests(reader, up_writer, muted, client))
        try:
            # Where one side has gone, so does the other.
            await asyncio.wait({answers, requests}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in (answers, requests):
                half.cancel()
            await asyncio.gather(answers, requests, return_exceptions=True)
            writer.close()
            up_writer.close()
            self._open.discard(task)

    async def _requests(self, reader, up_writer, muted, client: int) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                frame = await _frame(reader)
                key, _, correlation = struct.unpack(">hhi", frame[4:12])
                cut = self._match(key)
                if cut is not None:
                    cut.client = client
                    cut.done.set()
                    if cut.how != "hold":
                        await self._fail(cut, frame, correlation, up_writer, muted)
                        return
                    await cut.go.wait()
                up_writer.write(frame)
                await up_writer.drain()

    async def _fail(self, cut: Cut, frame: bytes, correlation: int, up_writer, muted) -> None:
        if cut.how == "before":
            return
        if cut.how == "half":
            up_writer.write(frame[: len(frame) // 2])
            await up_writer.drain()
            return
        muted[correlation] = asyncio.Event()
        up_writer.write(frame)
        await up_writer.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await muted[correlation].wait()
        if cut.how == "silence":
            await asyncio.Event().wait()

    async def _answers(self, up_reader, writer, muted) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                frame = await _frame(up_reader)
                told = muted.get(struct.unpack(">i", frame[4:8])[0])
                if told is not None:
                    told.set()
                    continue
                writer.write(frame)
                await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(struct.unpack(">i", size)[0])


class Door:
    """Passes HTTP requests on to ClickHouse; `state` says what happens to inserts."""

    def __init__(self, target: Callable[[], int]) -> None:
        self.port = free_port()
        self.state: Literal["open", "refuse", "swallow"] = "open"
        self.turned_away = 0
        self._target = target
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        insert = "INSERT" in request.query.get("query", "") or body[:20].lstrip().upper().startswith(b"INSERT")
        if insert and self.state == "refuse":
            self.turned_away += 1
            return web.Response(
                status=500, text="Code: 242. DB::Exception: Table is in readonly mode. (TABLE_IS_READ_ONLY)"
            )
        headers = {name: value for name, value in request.headers.items() if name.startswith("X-ClickHouse")}
        url = f"http://{HOST}:{self._target()}{request.path}"
        try:
            async with self._session.request(
                request.method, url, params=request.query, data=body, headers=headers
            ) as answer:
                content = await answer.read()
                if insert and self.state == "swallow":
                    # It went through, and nobody is told.
                    self.turned_away += 1
                    _hang_up(request)
                return web.Response(status=answer.status, body=content)
        except (aiohttp.ClientError, OSError):
            _hang_up(request)
            return web.Response(status=502)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:  # else the other side has
        request.transport.close()
