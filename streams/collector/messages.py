"""HTTP as the handlers see it: requests, responses and cookies.

Rule: no server is known here, so the same handlers run behind granian and in tests. Texts of a request are never put
into a response, other than the Origin of a cross-site request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from streams.collector.networks import Client

Headers = list[tuple[str, str]]

_COOKIE_VALUE: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}", re.ASCII)


class RequestHeaders(Protocol):
    """Request headers by lower-case name; of a repeated one the first. One that is not ASCII has no value."""

    def __contains__(self, key: str) -> bool:
        """Whether it was sent, with whatever value."""

    def get(self, key: str, default: None = None) -> str | None:
        """The value, or None."""

    def get_all(self, key: str) -> list[str]:
        """All values of a header that may be repeated."""


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
    stream: Callable[[], AsyncIterator[bytes]] | None = None
    """Reads a body of any size piece by piece; raises `BodyTooSlow`."""
    client: Client | None = None
    """Whose it is, as far as proxies are believed; the collector states it."""
    keyed: bool = True
    """Whether an API key came with it, or none is set; the gate states it."""
    key_name: str = ""
    """What its API key is called where one was presented; the gate states it."""

    @property
    def sender(self) -> Client:
        """Whose it is; to be asked for only where the collector has stated it."""
        if self.client is None:
            raise AssertionError("nobody has looked whose request it is")
        return self.client


@dataclass(slots=True)
class Response:
    """One answer; headers by lower-case name."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)


NOSNIFF: Final = ("x-content-type-options", "nosniff")
NO_STORE: Final = ("cache-control", "no-store")
INERT: Final = ("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
"""Whatever an answer might be taken for: it runs nothing, loads nothing, and nobody frames it."""
_JSON: Final[Headers] = [("content-type", "application/json"), NOSNIFF, NO_STORE, INERT]
_TEXT: Final[Headers] = [("content-type", "text/plain; charset=utf-8"), NOSNIFF, NO_STORE, INERT]


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
