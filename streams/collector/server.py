"""The collector's server: granian in this process, its RSGI interface, one event loop.

Rule: it takes connections at once, even while Kafka is away (``/readyz`` says so), and on SIGTERM or SIGINT it stops
taking them, answers what it has, flushes and is gone within five seconds.

Measured with a bare handler (one process, 64 connections, requests a CPU second): granian RSGI 20,600, granian ASGI
12,400, aiohttp 8,800. RSGI hands over the body in one call and takes the answer in another, where ASGI takes four.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketSpec
from granian.server.embed import Server
from prometheus_client import REGISTRY

from schemas.errors import ConfigurationError, Unavailable
from schemas.settings import kafka_client_options
from streams.collector.app import Collector
from streams.collector.campaigns import CampaignFollower
from streams.collector.messages import BodyTooLarge, BodyTooSlow, Request
from streams.collector.metrics import Metrics
from streams.collector.networks import bare_address
from streams.collector.rules import rules_of
from streams.collector.spool import event_log
from streams.core.ids import read_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from schemas.settings import Settings

log = structlog.get_logger()

MAX_HEADER_BYTES: Final = 32 * 1024
HEADERS_S: Final = 10.0
"""Longest that a connection may take for a request's headers, or be idle."""
BODY_S: Final = 15.0
"""Longest that a body may take."""
GC_THRESHOLD: Final = (20_000, 20, 50)
"""Rarer than Python's own: a request leaves little behind that only a search would find."""
SMALL_BYTES: Final = 64 * 1024
"""A body up to here is read in one piece."""
MAX_HELD_BYTES: Final = 128 * 1024 * 1024
"""Most that the large bodies being read may take together; beyond it they are answered 503."""
MAX_DROPPED_BYTES: Final = 64 * 1024 * 1024
"""Most that is read of a body that is too large, to be able to answer; then the connection is cut."""
LEAST_BYTES_PER_S: Final = 1024
"""Slower than this a file may not come, taken over all of it."""
CONNECTIONS: Final = 2048
"""Connections at once; more wait in the socket's backlog."""
UNREAD_S: Final = 20.0
"""Longest that a client may leave its answers unread; then the connection is cut."""


def rsgi(collector: Collector, bodies: Bodies) -> Callable[[Any, Any], Awaitable[None]]:
    """`collector` as an RSGI application; `bodies` reads what clients send."""

    async def application(scope: Any, protocol: Any) -> None:
        if scope.proto != "http":
            protocol.close(404)
            return
        headers = scope.headers
        request = Request(
            scope.method,
            scope.path,
            scope.query_string,
            headers,
            _address(scope.client),
            scope.scheme,
            lambda limit: bodies.read(protocol, headers, limit),
            lambda: bodies.stream(protocol),
        )
        response = await collector.handle(request)
        if response.body and scope.method != "HEAD":
            protocol.response_bytes(response.status, response.headers, response.body)
        else:
            protocol.response_empty(response.status, response.headers)

    return application


def _address(client: str) -> str:
    """The address of ``address:port``; IPv4 as IPv4, where IPv6 carries it."""
    host = client.rpartition(":")[0]
    return (bare_address(host) or host) if ":" in host else host


class Bodies:
    """Reads bodies, and cuts clients that take longer than `limit_s` for one, or for a piece of a file.

    One look at all open reads every second, since a timer for each costs a tenth of a request.
    """

    def __init__(self, limit_s: float = BODY_S) -> None:
        self._limit = limit_s
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._held = 0

    async def read(self, protocol: Any, headers: Any, limit: int) -> bytes:
        """The body, of at most `limit` bytes.

        Raises `BodyTooLarge`, `BodyTooSlow`, and `Unavailable` where too many large bodies are being read at once.
        """
        length = headers.get("content-length")
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._reading[task] = asyncio.get_running_loop().time()
        try:
            # A body in chunks has the length that its chunks have, whatever is stated beside them.
            if length is not None and int(length) <= SMALL_BYTES and headers.get("transfer-encoding") is None:
                return cast("bytes", await protocol())
            return await self._read_large(protocol, limit)
        except asyncio.CancelledError:
            if task in self._reading:
                raise
            task.uncancel()
            raise BodyTooSlow from None
        except RuntimeError as error:  # what granian raises where the client is gone
            raise BodyTooSlow from error
        finally:
            self._reading.pop(task, None)

    async def _read_large(self, protocol: Any, limit: int) -> bytes:
        """Piece by piece. Past `limit` the rest is read and dropped: a client that is cut off sees no answer."""
        body = bytearray()
        held = total = 0
        ended = False
        try:
            async for chunk in protocol:
                ended = _check_end(chunk, ended=ended)
                total += len(chunk)
                if total > MAX_DROPPED_BYTES:
                    break
                if total <= limit:
                    body += chunk
                    held += len(chunk)
                    self._held += len(chunk)
                    if self._held > MAX_HELD_BYTES:
                        raise Unavailable("too many large requests at once")
                elif len(body) > SMALL_BYTES:
                    del body[SMALL_BYTES:]
        finally:
            self._held -= held
        if total > limit:
            raise BodyTooLarge(bytes(body))
        return bytes(body)

    async def stream(self, protocol: Any) -> AsyncIterator[bytes]:
        """A body of any size, piece by piece; while a piece is worked on, the client waits for us and not we for it.

        Raises `BodyTooSlow` where a piece does not come in time, or all of them come at a trickle.
        """
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        pieces = aiter(protocol)
        waited, total, ended = 0.0, 0, False
        while True:
            began = self._reading[task] = loop.time()
            try:
                # Without a default: with one, Python 3.11 crashes on what granian lets it wait for.
                piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if task in self._reading:
                    raise
                task.uncancel()
                raise BodyTooSlow from None
            except RuntimeError as error:
                raise BodyTooSlow from error
            finally:
                self._reading.pop(task, None)
            waited += loop.time() - began
            total += len(piece)
            ended = _check_end(piece, ended=ended)
            if waited > self._limit and total < waited * LEAST_BYTES_PER_S:
                raise BodyTooSlow
            if piece:
                yield piece

    async def cut_slow(self) -> None:
        """Cut clients that take too long, until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._limit))
            before = asyncio.get_running_loop().time() - self._limit
            for task in [task for task, began in self._reading.items() if began < before]:
                del self._reading[task]
                task.cancel()


def _check_end(piece: bytes, *, ended: bool) -> bool:
    """Whether a body has ended with `piece`; raises `BodyTooSlow` where it broke off.

    granian gives one empty piece at the end, and another one before it where the connection failed: what came until
    then looks whole, and its last line need not be.
    """
    if not piece and ended:
        raise BodyTooSlow
    return not piece


async def serve(settings: Settings) -> None:
    """Run the collector of `settings` until a signal comes. Raises `ConfigurationError`."""
    check_port(settings.collector_host, settings.collector_port)
    options = kafka_client_options(settings)
    metrics = Metrics(REGISTRY)
    events, follower = event_log(settings, metrics), CampaignFollower(options)
    keys = signing_keys(settings)
    collector = Collector(events, follower.book, metrics, keys=keys, rules=rules_of(settings, keys[0][1]))
    bodies = Bodies()
    server = listener(collector, bodies, settings.collector_host, settings.collector_port)
    async with AsyncExitStack() as stack:
        await events.open()
        stack.push_async_callback(events.close)
        await follower.open()
        stack.push_async_callback(follower.close)
        loop = asyncio.get_running_loop()
        cutting = asyncio.create_task(bodies.cut_slow())
        stack.callback(cutting.cancel)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        settle_memory()
        log.info("collector_started", host=settings.collector_host, port=settings.collector_port)
        await server.serve()
        log.info("collector_stopping")
    log.info("collector_stopped")


class Listener(Server):
    """A server whose connections end where the client reads nothing: granian has no such limit, the kernel has one."""

    def _init_shared_socket(self) -> None:
        holder = SocketSpec(self.bind_addr, self.bind_port, self.backlog).build()
        with socket.socket(fileno=os.dup(holder.get_fd())) as listening:
            # Connections inherit it. It ends those to hosts that are gone, too.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
            listening.listen(self.backlog)
        self._shd, self._ssp = holder, None


def listener(collector: Collector, bodies: Bodies, host: str, port: int) -> Server:
    """A server of `collector` that is not listening yet."""
    return Listener(
        rsgi(collector, bodies),
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=int(HEADERS_S * 1000), max_buffer_size=MAX_HEADER_BYTES),
        backlog=1024,
        backpressure=CONNECTIONS,
        websockets=False,
        log_enabled=False,
    )


def settle_memory() -> None:
    """Have the search for garbage leave alone what is there for good: looking through all of it takes 30 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def check_port(host: str, port: int) -> None:
    """Raise `ConfigurationError`, in one line, where the address can't be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(f"the collector can't listen on {host}:{port}: {error.strerror}") from None


def signing_keys(settings: Settings) -> Sequence[tuple[str, bytes]]:
    """The keys that click ids are signed with; raises `ConfigurationError`.

    Where none is set, one is made for this process, and said so: no other process can verify what it signs.
    """
    try:
        keys = read_keys(settings.click_id_keys.get_secret_value())
    except ValueError as error:
        raise ConfigurationError(f"click_id_keys: {error}") from None
    if not keys:
        log.warning("click_id_keys_unset", hint="set HEADWATER_CLICK_ID_KEYS; click ids end with this process")
        keys = [("process", secrets.token_bytes(32))]
    return keys
