"""The page's HTTP server: its files, the live stream, the same figures once as JSON, and health by the usual routes.

Rule: it serves whether or not ClickHouse is there: then the page itself says what is wrong, so ready means that it
serves. No answer lets a browser load anything from elsewhere or run what stands in the page.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from sinks.page import health
from sinks.page.answers import Memo, answer
from sinks.page.assets import read_assets
from sinks.page.feed import Feed, TooMany
from sinks.page.question import BadQuestion, read_question
from sinks.page.roles import Rates, Scraper, targets
from sinks.page.source import Source
from sinks.prometheus.server import MetricsServer
from sinks.prometheus.standard import build_gauge, ready_gauge

if TYPE_CHECKING:
    from prometheus_client import Gauge

    from schemas.settings import Settings
    from sinks.page.metrics import PageMetrics
    from sinks.page.question import Question

SEND_S: Final = 10.0
"""A viewer who takes longer to receive a message is let go; the browser comes back by itself."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class PageServer:
    """The page of `settings`, served until stopped.

    `page_port` 0 takes a free one; after `start` the attribute ``port`` is the real one. `start` raises `OSError` where
    the address is taken. Raises `ConfigurationError` where ``page_roles`` cannot be read.
    """

    def __init__(self, settings: Settings, metrics: PageMetrics) -> None:
        self.host = settings.page_host
        self.port = settings.page_port
        self._usual = MetricsServer(self.host, self.port, lambda: (True, ""), metrics.registry)
        self._assets = read_assets()
        self._source = Source(settings)
        self._scraper = Scraper(targets(settings))
        self._rates = Rates()
        self._memo = Memo()
        self._feed = Feed(self._ask, self._look, metrics)
        self._registry = metrics.registry
        self._runner: web.AppRunner | None = None
        self._own: tuple[Gauge, ...] = ()

    async def start(self) -> None:
        """Begin to listen."""
        app = web.Application()
        app.add_routes(self._usual.routes())
        app.add_routes(
            [
                web.get("/", self._asset),
                web.get("/{path:(?:favicon.svg|static/.+)}", self._asset),
                web.get("/live", self._live),
                web.get("/figures", self._figures),
            ]
        )
        app.on_response_prepare.append(_guard)
        app.on_shutdown.append(self._end)
        # With handler_cancellation a viewer who leaves is known at once, not at the next message.
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, handler_cancellation=True, shutdown_timeout=1.0
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner = runner
        self._own = (ready_gauge(self._registry), build_gauge(self._registry))
        self._own[0].set(1)

    async def stop(self) -> None:
        """End all streams and stop listening; does nothing when not started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        for gauge in self._own:
            self._registry.unregister(gauge)
        self._own = ()

    async def _end(self, _app: web.Application) -> None:
        await self._feed.close()
        await self._scraper.close()
        self._source.close()

    async def _ask(self, question: Question) -> dict[str, Any]:
        now = time.time()
        return await self._source.ask(lambda client: answer(client, question, now, self._memo))

    async def _look(self) -> dict[str, Any]:
        roles = await self._scraper.read()
        rates = self._rates.take(time.monotonic(), health.counters(roles))
        return health.judge(roles, rates)

    async def _asset(self, request: web.Request) -> web.Response:
        path = request.match_info.get("path", "index.html").removeprefix("static/")
        asset = self._assets.get(path)
        if asset is None:
            raise web.HTTPNotFound
        headers = {"ETag": asset.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if asset.tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        body = asset.body
        if "gzip" in request.headers.get("Accept-Encoding", "") and len(asset.compressed) < len(asset.body):
            body = asset.compressed
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers | {"Content-Type": asset.content_type})

    async def _live(self, request: web.Request) -> web.StreamResponse:
        try:
            messages = self._feed.follow(read_question(request.query))
            async with aclosing(messages):
                first = await anext(messages)
                response = web.StreamResponse(
                    headers={
                        "Content-Type": "text/event-stream",
                        "Cache-Control": "no-store",
                        # nginx would keep the stream back
                        "X-Accel-Buffering": "no",
                    }
                )
                await response.prepare(request)
                await response.write(first)
                async for message in messages:
                    async with asyncio.timeout(SEND_S):
                        await response.write(message)
        except BadQuestion as error:
            return _refusal(400, str(error))
        except TooMany as error:
            return _refusal(503, str(error))
        except (ConnectionError, TimeoutError):
            # The viewer is gone.
            pass
        return response

    async def _figures(self, request: web.Request) -> web.Response:
        """The next answer and the next look at health, as one JSON object."""
        try:
            messages = self._feed.follow(read_question(request.query))
            found: dict[str, Any] = {}
            async with aclosing(messages):
                async for message in messages:
                    found |= _read_events(message)
                    if found.get("tick", {}).get("problem"):
                        return _refusal(503, found["tick"]["problem"])
                    if {"figures", "health", "tick"} <= found.keys():
                        break
        except BadQuestion as error:
            return _refusal(400, str(error))
        except TooMany as error:
            return _refusal(503, str(error))
        return _json(found)


def _read_events(message: bytes) -> dict[str, Any]:
    found = {}
    for block in message.decode().split("\n\n"):
        name, _, data = block.partition("\ndata: ")
        if data:
            found[name.removeprefix("event: ")] = orjson.loads(data)
    return found


def _json(content: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(content),
        status=status,
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )


def _refusal(status: int, text: str) -> web.Response:
    return _json({"error": text}, status)


async def _guard(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
