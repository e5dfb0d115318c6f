"""The collector's routes: what each takes, keeps and answers (contract, section 6).

Rule: a handler awaits `EventLog.append` before it says yes; where that raises, the answer is 503 and the client tries
again with the same event ids. Own routing (a dict and one prefix) rather than a framework's, which costs more than the
rest of the request. No handler knows the server; the clock is an argument.
"""

from __future__ import annotations

import base64
import os
import time as clocks
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl

import orjson
import structlog
from uuid_utils import uuid4, uuid7

from schemas.errors import Refused, Unavailable
from streams.collector.intake import (
    MAX_BODY_BYTES,
    MAX_EVENT_BYTES,
    Origin,
    Unacceptable,
    dead_letter,
    read_body,
    take_event,
    typed_parameters,
)
from streams.collector.messages import (
    NO_STORE,
    NOSNIFF,
    BodyTooLarge,
    BodyTooSlow,
    Proxies,
    Request,
    Response,
    declines,
    error_response,
    json_response,
    read_cookie,
    text_response,
    write_cookie,
)
from streams.collector.redirects import choose_destination, click_event, location
from streams.collector.script import script_response
from streams.core.addresses import read_query
from streams.core.ids import mint_click_id, verify_click_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from schemas.reasons import Reason
    from streams.collector.campaigns import CampaignBook
    from streams.collector.eventlog import EventLog, Record
    from streams.collector.metrics import Metrics

log = structlog.get_logger()

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
"""A transparent image of one pixel, 43 bytes."""
GIF_NOT_KEPT: Final = GIF[:6] + b"\x02" + GIF[7:]
"""The same, 2 pixels wide: a script that loads the image sees its size and not its status."""
COOKIE: Final = "hw_vid"
SCRIPT_COOKIE: Final = "hw_id"
"""The browser script's cookie, seen where the collector shares the site's domain: the visitor as the pages know it."""
COOKIE_AGE_S: Final = 400 * 86_400
"""As long as browsers keep a cookie at most (RFC 6265bis, 5.5)."""
MAX_REFERER: Final = 8192
RETRY: Final = ("retry-after", "1")
MAX_PARAMETERS: Final = 100
_GIF_HEADERS: Final = [
    ("content-type", "image/gif"),
    ("cache-control", "no-store, no-cache, must-revalidate, private, max-age=0"),
    ("pragma", "no-cache"),
    ("expires", "0"),
    ("cross-origin-resource-policy", "cross-origin"),
    NOSNIFF,
]
_TOUCHES: Final = ("click", "impression", "landing", "consent")


class Route(NamedTuple):
    """A path: its name in metrics, and its handlers by method."""

    name: str
    handlers: dict[str, Callable[[Request], Awaitable[Response]]]


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
        proxies: Proxies | None = None,
        cookie_domain: str = "",
        clock: Callable[[], int] = lambda: clocks.time_ns() // 1_000_000,
    ) -> None:
        self._events = events
        self._campaigns = campaigns
        self._metrics = metrics
        self._keys = keys
        self._proxies = proxies or Proxies("")
        self._cookie_domain = cookie_domain
        self._clock = clock
        self._yes = json_response(202, {"accepted": 1, "rejected": []})
        self._click = Route("/c/{campaign}", {"GET": self._redirect, "HEAD": self._redirect})
        self._other = Route("other", {})
        self._routes = {
            "/events": Route("/events", {"POST": self._post_events, "OPTIONS": self._preflight}),
            "/pixel.gif": Route("/pixel.gif", {"GET": self._pixel}),
            "/hw.js": Route("/hw.js", {"GET": self._script, "HEAD": self._script}),
            "/healthz": Route("/healthz", {"GET": self._healthz, "HEAD": self._healthz}),
            "/readyz": Route("/readyz", {"GET": self._readyz, "HEAD": self._readyz}),
            "/metrics": Route("/metrics", {"GET": self._render_metrics}),
        }
        metrics.expect(route.name for route in (*self._routes.values(), self._click))

    @property
    def ready(self) -> bool:
        """Whether events can be kept and campaigns are known."""
        return self._events.ready and self._campaigns.ready

    async def handle(self, request: Request) -> Response:
        """Answer one request. Never raises but for cancellation."""
        began = clocks.perf_counter()
        path = request.path
        route = self._routes.get(path)
        if route is None:
            route = self._click if path.startswith("/c/") and len(path) > len("/c/") else self._other
        handler = route.handlers.get(request.method)
        try:
            if handler is not None:
                response = await handler(request)
            elif route.handlers:
                allowed = ", ".join(route.handlers)
                response = error_response(405, f"this address takes {allowed}", ("allow", allowed))
            else:
                response = error_response(404, "there is nothing at this address")
        except Unavailable as error:
            response = error_response(503, str(error), RETRY)
        except Exception:
            log.exception("request_failed", route=route.name)
            response = error_response(500, "the collector failed on this request")
        self._metrics.answered(route.name, response.status, clocks.perf_counter() - began)
        return response

    async def _post_events(self, request: Request) -> Response:
        headers = request.headers
        try:
            response = await self._take_body(request)
        except Unavailable as error:
            response = error_response(503, str(error), RETRY)
        site = headers.get("origin")
        if site is not None:
            response = Response(response.status, response.body, [*response.headers, *_cross_site(site)])
        return response

    async def _take_body(self, request: Request) -> Response:
        origin = self._origin(request)
        try:
            body = await request.read(MAX_BODY_BYTES)
        except BodyTooLarge as error:
            refusal = Refused("too_large", f"a body of more than {MAX_BODY_BYTES:,} bytes; the first bytes are kept")
            return await self._refuse(413, error.start[:MAX_EVENT_BYTES], refusal, origin)
        except BodyTooSlow:
            return error_response(408, "the body did not arrive in time", ("connection", "close"))
        try:
            records, dead_letters, rejected = read_body(body, origin, self._keys[0][1])
        except Unacceptable as error:
            return await self._refuse(error.status, body, error.refusal, origin)
        if not rejected:
            if records:
                await self._events.append(records)
                self._count(records)
            if len(records) == 1:
                return Response(202, self._yes.body, self._yes.headers)
            return json_response(202, b'{"accepted":%d,"rejected":[]}' % len(records))
        await self._events.append([*records, *dead_letters])
        self._count(records)
        for refused in rejected:
            self._count_refused(refused["reason"])
        return json_response(202, {"accepted": len(records), "rejected": rejected})

    async def _refuse(self, status: int, body: bytes, refusal: Refused, origin: Origin) -> Response:
        """Keep a body that is refused as a whole, and say why it is."""
        await self._events.append([dead_letter(body, refusal, origin.received_at)])
        self._count_refused(refusal.reason)
        return json_response(status, {"error": refusal.detail, "reason": refusal.reason})

    async def _pixel(self, request: Request) -> Response:
        origin = self._origin(request)
        headers = list(_GIF_HEADERS)
        try:
            parameters = _parameters(request.query)
            data = typed_parameters(parameters)
            data.setdefault("event_id", str(uuid7()))
            data.setdefault("time", origin.received_at)
            _complete(data, request)
            self._name_visitor(data, request, headers)
            stated = orjson.dumps(data)
            record = take_event(data, origin, self._keys[0][1])
        except _TooMany as error:
            refusal, stated = Refused("malformed", str(error)), request.query.encode()
        except Refused as error:
            refusal = error
        else:
            return await self._answer_pixel([record], None, headers)
        return await self._answer_pixel([dead_letter(stated, refusal, origin.received_at)], refusal, headers)

    async def _answer_pixel(
        self, records: list[Record], refusal: Refused | None, headers: list[tuple[str, str]]
    ) -> Response:
        try:
            await self._events.append(records)
        except Unavailable:
            return Response(503, GIF_NOT_KEPT, [*_GIF_HEADERS, RETRY])
        if refusal is None:
            self._count(records)
        else:
            self._count_refused(refusal.reason)
        return Response(200, GIF, headers)

    def _name_visitor(self, data: dict[str, object], request: Request, headers: list[tuple[str, str]]) -> None:
        """State the visitor where the parameters do not: the arriving click's, the cookie's, or for a touch a new one.

        A conversion without a visitor stays unmatched: a made-up one would stand in the way of the server's, which
        may know better (the earliest visitor stated is the conversion's).
        """
        kind, denied = data.get("type"), data.get("consent") == "denied"
        if "visitor_id" in data or kind not in (*_TOUCHES, "conversion") or (denied and kind != "consent"):
            return
        visitor_id = self._visitor_of_click(data.get("url")) or _visitor_of_cookie(request)
        if visitor_id is None and kind in _TOUCHES:
            visitor_id = uuid4().hex
        if visitor_id is not None:
            data["visitor_id"] = visitor_id
            if not denied:
                headers.append(self._cookie(visitor_id, request))

    def _visitor_of_click(self, url: object) -> str | None:
        """The visitor that our click id in `url` names, if we have signed it."""
        click = verify_click_id(read_query(url).hw_cid, self._keys) if isinstance(url, str) else None
        return read_cookie(f"{COOKIE}={click.visitor_id}", COOKIE) if click is not None else None

    async def _script(self, request: Request) -> Response:
        return script_response(request.method, request.headers)

    async def _redirect(self, request: Request) -> Response:
        if not self._campaigns.ready:
            raise Unavailable("the campaigns are not read yet")
        origin = self._origin(request)
        now = origin.received_at
        try:
            parameters = _parameters(request.query)
        except _TooMany as error:
            return error_response(400, str(error))
        campaign = self._campaigns.find(request.path[len("/c/") :], parameters.get("site", ""), now)
        if "consent" not in parameters and declines(request.headers):
            parameters["consent"] = "denied"
        denied = parameters.get("consent") == "denied"
        cookie = None if denied else _visitor_of_cookie(request)
        visitor_id = cookie or uuid4().hex
        destination = choose_destination(campaign, visitor_id) if campaign is not None else None
        if campaign is None or destination is None:
            return text_response(404, "There is no such campaign.\n")
        if request.method == "HEAD":
            return Response(302, b"", [("location", location(destination.url, "")), NO_STORE, NOSNIFF])
        click_id = "" if denied else mint_click_id(visitor_id, campaign.campaign, os.urandom(8), self._keys)
        data = click_event(
            campaign,
            destination,
            parameters,
            event_id=str(uuid7()),
            visitor_id=visitor_id,
            click_id=click_id,
            time=now,
            referrer=request.headers.get("referer") or "",
        )
        await self._keep_click(data, origin)
        headers = [("location", location(destination.url, click_id)), NO_STORE, NOSNIFF]
        if not denied:
            headers.append(self._cookie(visitor_id, request))
        return Response(302, b"", headers)

    async def _keep_click(self, data: dict[str, object], origin: Origin) -> None:
        """Keep a click; what its address states wrongly goes to ``dead-letters``, and the visitor goes on."""
        stated = orjson.dumps(data)
        try:
            record = take_event(data, origin, self._keys[0][1])
        except Refused as refusal:
            await self._events.append([dead_letter(stated, refusal, origin.received_at)])
            self._count_refused(refusal.reason)
        else:
            await self._events.append([record])
            self._count([record])

    async def _preflight(self, request: Request) -> Response:
        site = request.headers.get("origin")
        headers = [NOSNIFF, ("allow", "POST, OPTIONS")]
        if site is not None:
            headers += [
                *_cross_site(site),
                ("access-control-allow-methods", "POST"),
                ("access-control-allow-headers", "content-type"),
                ("access-control-max-age", "86400"),
            ]
        return Response(204, b"", headers)

    async def _healthz(self, _request: Request) -> Response:
        return text_response(200, "ok\n")

    async def _readyz(self, _request: Request) -> Response:
        if not self._events.ready:
            return text_response(503, "Kafka is not reachable\n")
        if not self._campaigns.ready:
            return text_response(503, "the campaigns are not read yet\n")
        return text_response(200, "ready\n")

    async def _render_metrics(self, _request: Request) -> Response:
        self._metrics.ready.set(self.ready)
        headers = [("content-type", "text/plain; version=0.0.4; charset=utf-8"), NOSNIFF]
        return Response(200, self._metrics.render(), headers)

    def _origin(self, request: Request) -> Origin:
        return Origin(self._clock(), self._proxies.client_of(request), request.headers.get("user-agent"))

    def _cookie(self, visitor_id: str, request: Request) -> tuple[str, str]:
        secure = self._proxies.is_https(request)
        return write_cookie(COOKIE, visitor_id, max_age=COOKIE_AGE_S, domain=self._cookie_domain, secure=secure)

    def _count(self, records: list[Record]) -> None:
        for record in records:
            self._metrics.accepted[record.topic].inc()

    def _count_refused(self, reason: Reason) -> None:
        self._metrics.refused.inc()
        self._metrics.dead_letters[reason].inc()


class _TooMany(Exception):  # noqa: N818 - an answer, not a failure of ours
    """An address has too many parameters."""


def _parameters(query: str) -> dict[str, str]:
    """The first value of each parameter that has one; raises `_TooMany`."""
    try:
        pairs = parse_qsl(query, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise _TooMany(f"more than {MAX_PARAMETERS} parameters") from None
    return dict(reversed(pairs))


def _complete(data: dict[str, object], request: Request) -> None:
    """State of a pixel's event what its page does not (in ``noscript`` it can't) and the request does."""
    kind = data.get("type")
    page = request.headers.get("referer")
    if kind == "landing" and page and len(page) <= MAX_REFERER:
        data.setdefault("url", page)
    if kind != "consent" and declines(request.headers):
        data.setdefault("consent", "denied")


def _visitor_of_cookie(request: Request) -> str | None:
    cookies = request.headers.get("cookie")
    return read_cookie(cookies, SCRIPT_COOKIE) or read_cookie(cookies, COOKIE)


def _cross_site(site: str) -> list[tuple[str, str]]:
    """What lets a page of another origin post here and read the answer, with a beacon's credentials."""
    return [
        ("access-control-allow-origin", site),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin"),
    ]
