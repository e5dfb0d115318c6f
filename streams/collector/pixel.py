"""``GET /pixel.gif``: one event as query parameters, for pages without script and for mails.

Rule: always an image, so that no page looks broken; its status and its width say to a script whether the event was
kept. What the address leaves out and the request shows (page, visitor, moment) is completed.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from uuid_utils import uuid7

from schemas.errors import Refused, Unavailable
from streams.collector.intake import typed_parameters
from streams.collector.messages import NOSNIFF, Headers, Request, Response
from streams.collector.parameters import TooMany, read_parameters, without_address
from streams.collector.validity import TOUCHES
from streams.collector.visitors import may_set, new_visitor, opted_out, stated_consent, visitor_of_click
from streams.collector.visitors import visitor_of_cookie as _visitor_of_cookie

if TYPE_CHECKING:
    from streams.collector.desk import Desk

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
"""A transparent image of one pixel, 43 bytes."""
GIF_NOT_KEPT: Final = GIF[:6] + b"\x02" + GIF[7:]
"""The same, 2 pixels wide: a script that loads the image sees its size and not its status."""
MAX_REFERER: Final = 8192
RETRY: Final = ("retry-after", "1")
_HEADERS: Final = [
    ("content-type", "image/gif"),
    ("cache-control", "no-store, no-cache, must-revalidate, private, max-age=0"),
    ("pragma", "no-cache"),
    ("expires", "0"),
    ("cross-origin-resource-policy", "cross-origin"),
    NOSNIFF,
]
_OF_A_VISITOR: Final = (*TOUCHES, "consent")


async def get_pixel(desk: Desk, request: Request) -> Response:
    """Take an event from the address."""
    origin = desk.origin(request)
    headers: Headers = []
    try:
        parameters = read_parameters(request.query)
    except TooMany as error:
        try:
            await desk.refuse(without_address(request.query), Refused("malformed", str(error)), origin)
        except Unavailable:
            return not_kept()
        return Response(200, GIF, _HEADERS)
    data = typed_parameters(parameters)
    data.setdefault("event_id", str(uuid7()))
    data.setdefault("time", origin.received_at)
    _complete(data, request)
    named = "visitor_id" in data
    _name_visitor(desk, data, request, headers)
    try:
        refusal = await desk.keep_event(data, origin, named=named)
    except Unavailable:
        return not_kept()
    return Response(200, GIF, [*_HEADERS, *(headers if refusal is None else [])])


def not_kept(status: int = 503, *headers: tuple[str, str]) -> Response:
    """The image, where the event can't be kept."""
    return Response(status, GIF_NOT_KEPT, [*_HEADERS, *(headers or [RETRY])])


def _complete(data: dict[str, Any], request: Request) -> None:
    """State of an event what its page does not (in ``noscript`` it can't) and the request does."""
    kind = data.get("type")
    page = request.headers.get("referer")
    if kind == "landing" and page and len(page) <= MAX_REFERER:
        data.setdefault("url", page)
    if kind != "consent":
        consent = stated_consent(data.get("consent"), request.headers)
        if consent is not None:
            data["consent"] = consent


def _name_visitor(desk: Desk, data: dict[str, Any], request: Request, headers: Headers) -> None:
    """State the visitor where the parameters do not: the arriving click's, the cookie's, or for a touch a new one.

    A conversion without a visitor stays unmatched: a made-up one would stand in the way of the server's, which
    may know better (the earliest visitor stated is the conversion's).
    """
    kind, denied = data.get("type"), data.get("consent") == "denied"
    if kind not in (*_OF_A_VISITOR, "conversion") or (denied and kind != "consent"):
        return
    known = _visitor_of_cookie(request.headers)
    if denied and known is not None:
        headers.append(desk.forget(request))
    if "visitor_id" in data:
        return
    visitor_id = visitor_of_click(data.get("url"), desk.keys) or known
    if visitor_id is None and kind in _OF_A_VISITOR:
        visitor_id = new_visitor()
    if visitor_id is not None:
        data["visitor_id"] = visitor_id
        site = desk.campaigns.site(str(data.get("site")), desk.clock())
        # Before the registry is read nobody knows what the site's default is.
        default = site.consent_default if desk.campaigns.ready else "denied"
        if may_set(data.get("consent"), default) and not opted_out(request.headers):
            headers.append(desk.remember(visitor_id, request))
