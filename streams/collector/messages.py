"""HTTP as the handlers see it: requests, responses, cookies, and whose address a request came from.

Rule: no server is known here, so the same handlers run behind granian and in tests. Texts of a request are never put
into a response, other than the Origin of a cross-site request.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import orjson

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Headers = list[tuple[str, str]]

_COOKIE_VALUE: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}", re.ASCII)


class RequestHeaders(Protocol):
    """Request headers by lower-case name; of a repeated one the first."""

    def get(self, key: str, default: None = None) -> str | None:
        """The value, or None."""


class BodyTooLarge(Exception):  # noqa: N818 - an answer, not a failure of ours
    """More bytes than allowed; ``start`` is what was read of them (maybe nothing)."""

    def __init__(self, start: bytes) -> None:
        super().__init__("body too large")
        self.start = start


class BodyTooSlow(Exception):  # noqa: N818 - an answer, not a failure of ours
    """The client did not send its body in time, or went away."""


@dataclass(slots=True)
class Request:
    """One request. ``path`` is percent-decoded, ``query`` raw; ``peer`` is the address of the connection."""

    method: str
    path: str
    query: str
    headers: RequestHeaders
    peer: str
    scheme: str
    read: Callable[[int], Awaitable[bytes]]
    """Reads the body, of at most so many bytes; raises `BodyTooLarge`, `BodyTooSlow`."""


@dataclass(slots=True)
class Response:
    """One answer; headers by lower-case name."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)


NOSNIFF: Final = ("x-content-type-options", "nosniff")
NO_STORE: Final = ("cache-control", "no-store")
_JSON: Final[Headers] = [("content-type", "application/json"), NOSNIFF, NO_STORE]
_TEXT: Final[Headers] = [("content-type", "text/plain; charset=utf-8"), NOSNIFF, NO_STORE]


def json_response(status: int, content: object | bytes, *headers: tuple[str, str]) -> Response:
    """An answer in JSON; `content` as bytes is JSON already."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return Response(status, body, [*_JSON, *headers])


def error_response(status: int, message: str, *headers: tuple[str, str]) -> Response:
    """An answer that says in one line what is wrong."""
    return json_response(status, {"error": message}, *headers)


def text_response(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """An answer in plain text."""
    return Response(status, text.encode(), [*_TEXT, *headers])


def read_cookie(header: str | None, name: str) -> str | None:
    """The value of the first cookie `name` that has the form of an id of ours, else None."""
    if not header:
        return None
    for part in header.split(";"):
        key, equals, value = part.strip().partition("=")
        if equals and key == name and _COOKIE_VALUE.fullmatch(value):
            return value
    return None


def write_cookie(name: str, value: str, *, max_age: int, domain: str, secure: bool) -> tuple[str, str]:
    """A ``set-cookie`` header for a first-party cookie that no script reads; `max_age` in seconds."""
    text = f"{name}={value}; Max-Age={max_age}; Path=/; HttpOnly; SameSite=Lax"
    if domain:
        text += f"; Domain={domain}"
    return ("set-cookie", text + "; Secure" if secure else text)


def declines(headers: RequestHeaders) -> bool:
    """Whether a browser asks not to be followed: Global Privacy Control, or a denial that the browser script keeps."""
    return headers.get("sec-gpc") == "1" or read_cookie(headers.get("cookie"), "hw_consent") == "denied"


class Proxies:
    """The proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` count.

    `text` holds addresses and networks, comma separated; raises `ConfigurationError` where one is neither.
    """

    def __init__(self, text: str) -> None:
        try:
            self._networks = [
                ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip()
            ]
        except ValueError as error:
            raise ConfigurationError(f"trusted_proxies: {error}") from None
        self._trusts = lru_cache(maxsize=4096)(self._look_up)

    def client_of(self, request: Request) -> str:
        """The client's address: the last one in ``X-Forwarded-For`` that is no trusted proxy, else the connection's."""
        address = request.peer
        if not self._networks or not self._trusts(address):
            return address
        for part in reversed((request.headers.get("x-forwarded-for") or "").split(",")):
            hop = _bare_address(part.strip())
            if hop is None:
                break
            address = hop
            if not self._trusts(address):
                break
        return address

    def is_https(self, request: Request) -> bool:
        """Whether the client spoke https, to us or to a trusted proxy."""
        if request.scheme == "https":
            return True
        if not self._networks or not self._trusts(request.peer):
            return False
        return (request.headers.get("x-forwarded-proto") or "").strip().lower() == "https"

    def _look_up(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _bare_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return None
