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
from typing import TYPE_CHECKING, Any, Final

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketSpec  # type: ignore[attr-defined] # not in its stub's list
from granian.server.embed import Server
from prometheus_client import REGISTRY

from schemas.errors import ConfigurationError
from schemas.settings import kafka_client_options
from streams.collector.app import Collector
from streams.collector.bodies import Bodies
from streams.collector.campaigns import CampaignFollower
from streams.collector.messages import Request
from streams.collector.metrics import Metrics
from streams.collector.networks import bare_address
from streams.collector.rules import rules_of
from streams.collector.spool import copy_of, event_log
from streams.core.ids import read_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from schemas.settings import Settings

log = structlog.get_logger()

MAX_HEADER_BYTES: Final = 32 * 1024
HEADERS_S: Final = 10.0
"""Longest that a connection may take for a request's headers, or be idle."""
GC_THRESHOLD: Final = (20_000, 20, 50)
"""Rarer than Python's own: a request leaves little behind that only a search would find."""
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


async def serve(settings: Settings) -> None:
    """Run the collector of `settings` until a signal comes. Raises `ConfigurationError`."""
    check_port(settings.collector_host, settings.collector_port)
    options = kafka_client_options(settings)
    metrics = Metrics(REGISTRY)
    events, follower = event_log(settings, metrics), CampaignFollower(options, copy_of(settings))
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
        if not hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has it
            super()._init_shared_socket()  # type: ignore[no-untyped-call]
            return
        holder = SocketSpec(self.bind_addr, self.bind_port, self.backlog).build()
        with socket.socket(fileno=os.dup(holder.get_fd())) as listening:
            # Connections inherit it. It ends those to hosts that are gone, too.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
            listening.listen(self.backlog)
        self._shd, self._ssp = holder, None  # type: ignore[assignment] # as granian itself does elsewhere than on Linux


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
