"""The browser script: `GET /hw.js` serves ``hw.min.js``, which `build` makes of ``hw.js``.

Rule: what is served is a committed file and nothing of the request is in it, so that any cache may keep it and a page
may pin it by its hash. Everything is prepared once, when the module is imported.
"""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from streams.collector.messages import NOSNIFF, Response

if TYPE_CHECKING:
    from streams.collector.messages import Headers, RequestHeaders

BUILT: Final = Path(__file__).with_name("hw.min.js")
MAX_GZIPPED: Final = 2048
"""Most bytes that the script may take gzipped."""
CACHE: Final = "public, max-age=3600, stale-while-revalidate=86400, stale-if-error=604800"
"""A new version is everywhere within an hour; a collector that is away for a while takes no script from a page."""


class _Variant(NamedTuple):
    body: bytes
    etag: str
    headers: Headers


def compressed(script: bytes) -> bytes:
    """`script` gzipped as small as gzip can, always to the same bytes."""
    return gzip.compress(script, 9, mtime=0)


def script_response(method: str, headers: RequestHeaders) -> Response:
    """The script, gzipped where the client takes that; 304 where it has it, no body for HEAD."""
    variant = _GZIPPED if accepts_gzip(headers.get("accept-encoding")) else _PLAIN
    known = headers.get("if-none-match")
    if known is not None and is_among(variant.etag, known):
        return Response(304, b"", [*_SHARED, ("etag", variant.etag)])
    return Response(200, b"" if method == "HEAD" else variant.body, variant.headers)


def accepts_gzip(accepted: str | None) -> bool:
    """Whether an ``Accept-Encoding`` lets an answer be gzipped (RFC 9110, 12.5.3)."""
    weights = {}
    for part in (accepted or "").lower().split(","):
        coding, _, parameters = part.partition(";")
        name, _, weight = parameters.strip().partition("=")
        weights[coding.strip()] = weight.strip().rstrip("0.") if name.strip() == "q" else "1"
    return bool(weights.get("gzip", weights.get("*", "")))


def is_among(etag: str, known: str) -> bool:
    """Whether an ``If-None-Match`` names `etag`; weak ones count as well (RFC 9110, 13.1.2)."""
    return known.strip() == "*" or etag in {part.strip().removeprefix("W/") for part in known.split(",")}


_SHARED: Final[Headers] = [
    ("cache-control", CACHE),
    ("vary", "Accept-Encoding"),
    # Any page may load it, with `crossorigin` and `integrity` as well, and see how long that took.
    ("access-control-allow-origin", "*"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("timing-allow-origin", "*"),
]


def _variant(script: bytes, encoding: str) -> _Variant:
    body = compressed(script) if encoding else script
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = [("content-type", "text/javascript; charset=utf-8"), ("etag", etag), NOSNIFF, *_SHARED]
    if encoding:
        headers.append(("content-encoding", encoding))
    return _Variant(body, etag, headers)


_PLAIN: Final = _variant(BUILT.read_bytes(), "")
_GZIPPED: Final = _variant(BUILT.read_bytes(), "gzip")
