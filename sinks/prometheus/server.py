"""The small HTTP server of a role without a front door: ``/metrics``, ``/healthz``, ``/readyz``.

Rule: it answers from what is in memory and waits for nothing, so it tells the truth also while Kafka or ClickHouse are
away. Alive (``/healthz``) means that the event loop runs; ready is what the role says of itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

Readiness = Callable[[], tuple[bool, str]]
"""Returns (ready, reason); the reason is one line, shown where not ready."""

_TEXT: Final = "text/plain"


class MetricsServer:
    """Serves one role's metrics and health until stopped.

    `port` 0 takes a free one; after `start` the attribute ``port`` is the real one. `start` raises `OSError` where the
    address is taken.
    """

    def __init__(self, host: str, port: int, ready: Readiness, registry: CollectorRegistry = REGISTRY) -> None:
        self.host = host
        self.port = port
        self._ready = ready
        self._registry = registry
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to listen."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening; does nothing when not started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # Prometheus' own parameter: only these metrics, and only they are computed.
        names = request.query.getall("name[]", [])
        registry = self._registry.restricted_registry(names) if names else self._registry
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n", content_type=_TEXT)

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready, reason = self._ready()
        if ready:
            return web.Response(text="ready\n", content_type=_TEXT)
        line = " ".join(reason.split()) or "not ready"
        return web.Response(text=f"{line}\n", status=503, content_type=_TEXT)
