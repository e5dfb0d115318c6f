"""The small HTTP server of a role without a front door: ``/metrics``, ``/healthz``, ``/readyz``.

Rule: it answers from what is in memory and waits for nothing, so it tells the truth also while Kafka or ClickHouse are
away. Alive (``/healthz``) means that the event loop runs; ready is what the role says of itself. What a registry holds
is rendered in one go, and so of one moment: two counters that belong together never differ for a scrape's sake. What is
too long for that, a role writes itself, in pieces.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder

from sinks.prometheus.standard import build_gauge, ready_gauge

Readiness = Callable[[], tuple[bool, str]]
"""Returns (ready, reason); the reason is one line, shown where not ready."""

More = Callable[[Collection[str]], Awaitable[str]]
"""Writes further metrics in Prometheus' text format; of those names alone, where there are any."""

_TEXT: Final = "text/plain"
_END: Final = b"# EOF\n"
"""What OpenMetrics ends with."""


class MetricsServer:
    """Serves one role's metrics and health until stopped.

    `port` 0 takes a free one; after `start` the attribute ``port`` is the real one. `start` raises `OSError` where the
    address is taken. `more` writes gauges that are not in `registry`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        ready: Readiness,
        registry: CollectorRegistry = REGISTRY,
        *,
        more: More | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._ready = ready
        self._registry = registry
        self._more = more
        self._runner: web.AppRunner | None = None
        self._own: tuple[Gauge, ...] = ()

    async def start(self) -> None:
        """Begin to listen."""
        app = web.Application()
        app.add_routes(self.routes())
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner = runner
        self._own = (ready_gauge(self._registry), build_gauge(self._registry))
        self._own[0].set_function(lambda: float(self._ready()[0]))

    def routes(self) -> list[web.RouteDef]:
        """The routes alone, for a role that serves them beside its own."""
        return [
            web.get("/metrics", self._metrics),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
        ]

    async def stop(self) -> None:
        """Stop listening; does nothing when not started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        for gauge in self._own:
            self._registry.unregister(gauge)
        self._own = ()

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # Prometheus' own parameter: only these metrics, and only they are computed.
        names = request.query.getall("name[]", [])
        registry = self._registry.restricted_registry(names) if names else self._registry
        body: bytes = encode(registry)
        if self._more is not None:
            more = (await self._more(names)).encode()
            body = body.removesuffix(_END) + more + _END if body.endswith(_END) else body + more
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n", content_type=_TEXT)

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready, reason = self._ready()
        if ready:
            return web.Response(text="ready\n", content_type=_TEXT)
        line = " ".join(reason.split()) or "not ready"
        return web.Response(text=f"{line}\n", status=503, content_type=_TEXT)
