"""``POST /import/costs`` and ``/import/conversions``: files of any length, read as they arrive.

Rule: what has been answered for is kept; a file that broke off is sent again whole, and what came the first time counts
once (`streams.collector.import_lines`). The address may state the file's name (``file``) and when it was written
(``time``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.errors import Refused, Unavailable
from schemas.events import read_time
from streams.collector.desk import refusal_response
from streams.collector.import_lines import Reader, Tally, form_of, take_lines
from streams.collector.intake import Origin, Unacceptable
from streams.collector.messages import BodyTooSlow, Request, Response, error_response, json_response
from streams.collector.parameters import TooMany, read_parameters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streams.collector.desk import Desk
    from streams.collector.import_lines import Kind

MAX_BYTES: Final = 1 << 30
"""One file; larger ones come in parts."""
_SMALL: Final = 8_000_000
_MAX_NAME: Final = 256


async def post_import(desk: Desk, request: Request, kind: Kind) -> Response:
    """Take a file of `kind`."""
    if (request.headers.get("content-encoding") or "identity").lower() != "identity":
        return error_response(415, "a file comes as it is: no content-encoding")
    try:
        reader = _reader(request, kind)
    except Refused as refusal:
        return refusal_response(400, refusal)
    tally = Tally()
    try:
        _check_length(request)
        return await _take(desk, request, reader, tally)
    except _TooLong:
        return json_response(413, {"error": f"more than {MAX_BYTES:,} bytes; send it in parts"} | tally.answer())
    except BodyTooSlow:
        told = {"error": "the file did not arrive whole, or not in time; send it again, what is kept counts once"}
        return json_response(408, told | tally.answer(), ("connection", "close"))
    except Unavailable:
        told = {"error": "the collector can't take it now; send the file again, what is kept counts once"}
        told |= tally.answer()
        return json_response(503, told, ("retry-after", "1"))


def _reader(request: Request, kind: Kind) -> Reader:
    """What reads the file, by what the request says of it. Raises `Refused`."""
    try:
        asked = read_parameters(request.query)
    except TooMany as error:
        raise Refused("malformed", str(error)) from None
    time = read_time(_number(asked["time"])) if "time" in asked else None
    form = form_of(request.headers.get("content-type"))
    return Reader(kind, form, file=asked.get("file", "")[:_MAX_NAME], time=time)


async def _take(desk: Desk, request: Request, reader: Reader, tally: Tally) -> Response:
    # Who uploads a file is no visitor of the site.
    origin = Origin(desk.clock(), "", None, keep_ip=desk.rules.keep_ip)
    try:
        await take_lines(reader, _chunks(request), desk.keep, origin, desk.secret, tally)
    except Unacceptable as error:
        await desk.refuse(reader.first, error.refusal, origin)
        return refusal_response(error.status, error.refusal)
    return json_response(200, tally.answer())


class _TooLong(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A file is longer than is taken."""


def _check_length(request: Request) -> None:
    """Refuse a file that says that it is too long before it is read. Raises `_TooLong`."""
    stated = request.headers.get("content-length") or ""
    if stated.isascii() and stated.isdecimal() and int(stated) > MAX_BYTES:
        raise _TooLong


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    if request.stream is None:
        yield await request.read(_SMALL)
        return
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > MAX_BYTES:
            raise _TooLong
        yield chunk


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else text
