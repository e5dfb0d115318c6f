"""``POST /events``: one event or an array of them, from pages (beacons) and from servers.

Rule: each event is judged by itself; the answer names those that are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.errors import Refused
from streams.collector.desk import refusal_response
from streams.collector.gate import EVENT_BYTES
from streams.collector.intake import MAX_BODY_BYTES, MAX_EVENT_BYTES, Unacceptable, read_body
from streams.collector.messages import NO_STORE, NOSNIFF, BodyTooLarge, BodyTooSlow, Request, Response, error_response
from streams.collector.messages import json_response as _json

if TYPE_CHECKING:
    from streams.collector.desk import Desk
    from streams.collector.origins import Origins

_YES: Final = Response(202, b'{"accepted":1,"rejected":[]}', [("content-type", "application/json"), NOSNIFF, NO_STORE])
"""The answer to nearly every request: as short as it can be."""


async def post_events(desk: Desk, request: Request) -> Response:
    """Take a body of events."""
    origin = desk.origin(request)
    try:
        body = await request.read(MAX_BODY_BYTES)
    except BodyTooLarge as error:
        desk.gate.weigh(request, MAX_BODY_BYTES)
        refusal = Refused("too_large", f"a body of more than {MAX_BODY_BYTES:,} bytes; the first bytes are kept")
        await desk.refuse(error.start[:MAX_EVENT_BYTES], refusal, origin)
        return refusal_response(413, refusal)
    except BodyTooSlow:
        return too_slow()
    if len(body) > EVENT_BYTES:
        desk.gate.weigh(request, len(body))
    try:
        intake = read_body(body, origin, desk.secret)
    except Unacceptable as error:
        await desk.refuse(body, error.refusal, origin)
        return refusal_response(error.status, error.refusal)
    await desk.keep(intake)
    taken = len(intake.records)
    if intake.rejected:
        return _json(202, {"accepted": taken, "rejected": intake.rejected})
    if taken == 1:
        return _YES
    return _json(202, b'{"accepted":%d,"rejected":[]}' % taken)


def too_slow() -> Response:
    """What a client is told whose body did not come; the connection is of no more use."""
    return error_response(408, "the body did not arrive whole, or not in time", ("connection", "close"))


def preflight(origins: Origins, request: Request) -> Response:
    """What a browser asks before it posts JSON from another origin."""
    site = request.headers.get("origin")
    headers = [NOSNIFF, ("allow", "POST, OPTIONS"), *(origins.headers(site) if site is not None else ())]
    if site is not None and origins.allows(site):
        headers += [
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "content-type"),
            ("access-control-max-age", "86400"),
        ]
    return Response(204, b"", headers)
