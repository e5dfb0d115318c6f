"""The collector's routes: which there are, how each is entered, and what becomes of a request (contract, section 6).

Rule: a route awaits `EventLog.append` before it says yes; where that raises, the answer is 503 and the client tries
again with the same event ids. Own routing (a dict and one prefix) rather than a framework's, which costs more than the
rest of the request. No route knows the server; the clock is an argument.
"""

from __future__ import annotations

import time as clocks
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from schemas.errors import Unavailable
from streams.collector.clicks import PREFIX, lead_on
from streams.collector.desk import Desk
from streams.collector.events import post_events, preflight
from streams.collector.gate import Gate, TurnedAway
from streams.collector.imports import post_import
from streams.collector.messages import (
    NOSNIFF,
    Request,
    Response,
    error_response,
    text_response,
)
from streams.collector.origins import Origins
from streams.collector.pixel import get_pixel, not_kept
from streams.collector.postback import take_postback
from streams.collector.rules import Rules
from streams.collector.script import script_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from streams.collector.campaigns import CampaignBook
    from streams.collector.eventlog import EventLog
    from streams.collector.gate import Entry
    from streams.collector.metrics import Metrics

log = structlog.get_logger()

RETRY: Final = ("retry-after", "1")


class Route(NamedTuple):
    """A path: its name in metrics, its handlers by method, and how it is entered."""

    name: str
    handlers: dict[str, Callable[[Request], Awaitable[Response]]]
    entry: Entry = "free"


class Collector:
    """All routes over one `EventLog`.

    `keys` are the signing keys of click ids (the first one signs), `clock` gives milliseconds since the epoch.
    """

    def __init__(
        self,
        events: EventLog,
        campaigns: CampaignBook,
        metrics: Metrics,
        *,
        keys: Sequence[tuple[str, bytes]],
        rules: Rules | None = None,
        clock: Callable[[], int] = lambda: clocks.time_ns() // 1_000_000,
        steady: Callable[[], float] = clocks.monotonic,
    ) -> None:
        rules = rules or Rules()
        self._gate = Gate(rules, steady)
        self._desk = Desk(events, campaigns, metrics, keys=keys, rules=rules, gate=self._gate, clock=clock)
        self._client_of = self._desk.clients.of
        self._origins = Origins(campaigns, rules.cors_origins)
        self._metrics = metrics
        self._click = Route("/c/{campaign}", {"GET": self._lead_on, "HEAD": self._lead_on}, "open")
        self._other = Route("other", {})
        routes = (
            Route("/events", {"POST": self._post_events, "OPTIONS": self._preflight}, "open"),
            Route("/pixel.gif", {"GET": self._get_pixel}, "open"),
            Route("/postback", {"GET": self._postback, "POST": self._postback}, "partners"),
            Route("/import/costs", {"POST": self._import_costs}, "keyed"),
            Route("/import/conversions", {"POST": self._import_conversions}, "keyed"),
            Route("/hw.js", {"GET": self._script, "HEAD": self._script}),
            Route("/healthz", {"GET": self._healthz, "HEAD": self._healthz}),
            Route("/readyz", {"GET": self._readyz, "HEAD": self._readyz}),
            Route("/metrics", {"GET": self._render_metrics}, "metrics"),
        )
        self._routes = {route.name: route for route in routes}
        metrics.expect(route.name for route in (*routes, self._click))

    @property
    def ready(self) -> bool:
        """Whether events can be kept and campaigns are known."""
        return self._desk.events.ready and self._desk.campaigns.ready

    async def handle(self, request: Request) -> Response:
        """Answer one request. Never raises but for cancellation."""
        began = clocks.perf_counter()
        path = request.path
        route = self._routes.get(path)
        if route is None:
            route = self._click if path.startswith(PREFIX) and len(path) > len(PREFIX) else self._other
        handler = route.handlers.get(request.method)
        try:
            if handler is not None:
                request.client = self._client_of(request)
                if route.entry != "free" and request.method != "OPTIONS":
                    self._gate.enter(request, route.entry)
                response = await handler(request)
            elif route.handlers:
                allowed = ", ".join(route.handlers)
                response = error_response(405, f"this address takes {allowed}", ("allow", allowed))
            else:
                response = error_response(404, "there is nothing at this address")
        except TurnedAway as error:
            response = error_response(error.status, str(error), *error.headers)
        except Unavailable:
            # Why, is said to operators alone: it may name hosts and paths.
            response = error_response(503, "the collector can't take it now; send it again", RETRY)
        except Exception:
            log.exception("request_failed", route=route.name)
            response = error_response(500, "the collector failed on this request")
        if path == "/events":
            response = self._cross_site(request, response)
        elif path == "/pixel.gif" and response.status >= 429:
            response = not_kept(response.status, *(pair for pair in response.headers if pair[0] == "retry-after"))
        self._metrics.answered(route.name, response.status, clocks.perf_counter() - began)
        return response

    def _cross_site(self, request: Request, response: Response) -> Response:
        """`response` with what lets a page of another origin read it, whatever it says."""
        origin = request.headers.get("origin")
        if origin is None or request.method == "OPTIONS":
            return response
        return Response(response.status, response.body, response.headers + self._origins.headers(origin))

    async def _post_events(self, request: Request) -> Response:
        return await post_events(self._desk, request)

    async def _preflight(self, request: Request) -> Response:
        return preflight(self._origins, request)

    async def _get_pixel(self, request: Request) -> Response:
        return await get_pixel(self._desk, request)

    async def _lead_on(self, request: Request) -> Response:
        return await lead_on(self._desk, request)

    async def _postback(self, request: Request) -> Response:
        return await take_postback(self._desk, request)

    async def _import_costs(self, request: Request) -> Response:
        return await post_import(self._desk, request, "cost")

    async def _import_conversions(self, request: Request) -> Response:
        return await post_import(self._desk, request, "conversion")

    async def _script(self, request: Request) -> Response:
        return script_response(request.method, request.headers)

    async def _healthz(self, _request: Request) -> Response:
        return text_response(200, "ok\n")

    async def _readyz(self, _request: Request) -> Response:
        state = self._desk.events.state
        if not self._desk.events.ready:
            return text_response(503, f"{state}\n")
        if not self._desk.campaigns.ready:
            return text_response(503, "the campaigns are not read yet\n")
        return text_response(200, f"ready: {state}\n" if state else "ready\n")

    async def _render_metrics(self, _request: Request) -> Response:
        self._metrics.ready.set(self.ready)
        headers = [("content-type", "text/plain; version=0.0.4; charset=utf-8"), NOSNIFF]
        return Response(200, self._metrics.render(), headers)
