"""The collector behind its real server, in a thread of the tests' process, over a log that keeps records in memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

import uvloop
from prometheus_client import CollectorRegistry

from deploy.local.ports import HOST, free_port
from streams.collector.app import Collector
from streams.collector.bodies import Bodies
from streams.collector.metrics import Metrics
from streams.collector.server import listener
from tests.collector.conftest import KEYS, MemoryLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from granian.server.embed import Server

    from streams.collector.campaigns import CampaignBook
    from streams.collector.rules import Rules

DEADLINE_S = 60.0
"""Generous: nothing waits that long unless it fails."""


class Door(NamedTuple):
    """A listening collector and what it kept."""

    port: int
    events: MemoryLog

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    def connect(self) -> socket.socket:
        """A connection of one's own to misuse."""
        return socket.create_connection((HOST, self.port), timeout=DEADLINE_S)

    def ask(self, raw: bytes) -> bytes:
        """All that is answered to `raw` until the connection is closed."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):  # what was answered before can still be read
                connection.sendall(raw)
            return read_all(connection)

    def lives(self) -> bool:
        """Whether it answers others; on a machine under load the first try may be cut off for being slow."""
        question = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        return any(self.ask(question).startswith(b"HTTP/1.1 200 ") for _ in range(5))


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes; a reset is an end too."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65_536):
            found += piece
    return found


@contextlib.contextmanager
def open_door(book: CampaignBook, rules: Rules | None = None, *, body_s: float = 15.0) -> Iterator[Door]:
    """A collector of `book` under `rules`, that cuts bodies that take longer than `body_s`."""
    events, port = MemoryLog(), free_port()
    collector = Collector(events, book, Metrics(CollectorRegistry()), keys=KEYS, rules=rules)
    loop = uvloop.new_event_loop()
    servers: list[Server] = []
    ready = threading.Event()

    async def serve() -> None:
        bodies = Bodies(body_s)
        servers.append(listener(collector, bodies, HOST, port))
        cutting = asyncio.create_task(bodies.cut_slow())
        serving = asyncio.create_task(servers[0].serve())
        loop.call_soon(ready.set)
        await serving
        cutting.cancel()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(DEADLINE_S)
    try:
        _wait_for(port)
        yield Door(port, events)
    finally:
        loop.call_soon_threadsafe(servers[0].stop)
        thread.join(DEADLINE_S)
        loop.close()


def _wait_for(port: int) -> None:
    """Until someone listens there."""
    for _ in range(int(DEADLINE_S * 100)):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        threading.Event().wait(0.01)
    raise AssertionError(f"nobody listens on {port}")
