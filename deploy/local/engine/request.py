"""One HTTP request as ClickHouse understands it: query, settings, parameters, session, credentials, bodies.

Rule: every URL parameter is either the protocol's own (the names below), a query parameter (``param_NAME``), or a
setting; settings that are about HTTP itself end here, all others are the engine's to judge. Pure: no I/O.
Source: src/Server/HTTPHandler.cpp of ClickHouse.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from deploy.local.engine.compression import accepted
from deploy.local.engine.errors import AUTHENTICATION_FAILED, BAD_ARGUMENTS, INVALID_SESSION_TIMEOUT, refused
from deploy.local.engine.execution import Terms
from deploy.local.engine.formats import DEFAULT_FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MOST_FIELDS: Final = 10_000
_MOST_SESSION_SECONDS: Final = 3600
_SESSION_SECONDS: Final = 60

_PROTOCOL: Final = frozenset(
    {
        "query",
        "database",
        "default_format",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "user",
        "password",
        "quota_key",
        "role",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "stacktrace",
        "client_protocol_version",
    }
)
# Settings of the engine that only an HTTP server acts on.
_HTTP_SETTINGS: Final = frozenset(
    {
        "add_http_cors_header",
        "cancel_http_readonly_queries_on_client_close",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_response_buffer_size",
        "http_wait_end_of_query",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
    }
)
_EXTERNAL_SUFFIXES: Final = ("_format", "_types", "_structure")


@dataclass(frozen=True, slots=True)
class Session:
    """``session_id`` and what comes with it; ``seconds`` is how long it is kept after its last request."""

    name: str
    seconds: int
    must_exist: bool
    closes: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """A request without its body."""

    query: bytes
    terms: Terms
    session: Session | None
    user: str
    password: str
    readonly: bool
    blocks_in: bool
    blocks_out: bool
    encoding_in: str
    encoding_out: str
    multipart: bool
    external: Mapping[str, str]


def read_request(
    method: str, query_string: str, headers: Mapping[str, str], form: Iterable[tuple[str, str]] = ()
) -> Ask:
    """Reads a request's line and headers; ``form`` holds the plain fields of a multipart body, which win.

    Raises `EngineError` for what ClickHouse refuses at this point.
    """
    try:
        pairs = parse_qsl(
            query_string, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_FIELDS, separator="&"
        )
    except ValueError as error:
        raise refused(BAD_ARGUMENTS, f"The query string cannot be read: {error}") from error
    named = dict(pairs)
    named.update(form)
    multipart = headers.get("Content-Type", "").startswith("multipart/")
    parameters: dict[str, str] = {}
    settings: dict[str, str] = {}
    external: dict[str, str] = {}
    for name, value in named.items():
        if name.startswith("param_"):
            parameters[name.removeprefix("param_")] = value
        elif multipart and name.endswith(_EXTERNAL_SUFFIXES):
            external[name] = value
        elif name not in _PROTOCOL and name not in _HTTP_SETTINGS:
            settings[name] = value
    user, password = _credentials(named, headers)
    compresses = named.get("enable_http_compression", "1") not in ("0", "false")
    return Ask(
        query=named.get("query", "").encode("utf-8", "surrogateescape"),
        terms=Terms(
            database=named.get("database", "") or headers.get("X-ClickHouse-Database", ""),
            settings=settings,
            parameters=parameters,
            format=named.get("default_format", "") or headers.get("X-ClickHouse-Format", "") or DEFAULT_FORMAT,
            query_id=named.get("query_id", "") or str(uuid.uuid4()),
            whole=_true(named, "wait_end_of_query") or _true(named, "http_wait_end_of_query"),
        ),
        session=_session(named),
        user=user,
        password=password,
        readonly=method in ("GET", "HEAD"),
        blocks_in=_true(named, "decompress"),
        blocks_out=_true(named, "compress"),
        encoding_in=headers.get("Content-Encoding", ""),
        encoding_out=accepted(headers.get("Accept-Encoding", "")) if compresses else "",
        multipart=multipart,
        external=external,
    )


def authenticate(ask: Ask, password: str) -> None:
    """Lets in user ``default`` with ``password`` ("" if there is none); raises `EngineError` 516 for all others."""
    good = hmac.compare_digest(ask.password.encode("utf-8", "replace"), password.encode())
    if ask.user != "default" or not good:
        reason = "Authentication failed: password is incorrect, or there is no user with such name."
        raise refused(AUTHENTICATION_FAILED, f"{ask.user}: {reason}")


def _true(named: Mapping[str, str], name: str) -> bool:
    return named.get(name, "") in ("1", "true")


def _credentials(named: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", "") or "default", headers.get("X-ClickHouse-Key", "")
    scheme, _, coded = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise refused(BAD_ARGUMENTS, "The Authorization header is no valid Basic credential") from error
        return user or "default", password
    return named.get("user", "") or "default", named.get("password", "")


def _session(named: Mapping[str, str]) -> Session | None:
    name = named.get("session_id", "")
    if not name:
        return None
    given = named.get("session_timeout", "")
    seconds = _SESSION_SECONDS
    if given:
        if not given.isascii() or not given.isdigit():
            raise refused(INVALID_SESSION_TIMEOUT, f"Invalid session timeout: '{given}'")
        seconds = int(given)
        if seconds > _MOST_SESSION_SECONDS:
            limit = f"Maximum session timeout could be modified in configuration file, it is {_MOST_SESSION_SECONDS}"
            raise refused(
                INVALID_SESSION_TIMEOUT, f"Session timeout '{given}' is larger than max_session_timeout. {limit}"
            )
    return Session(name, seconds, _true(named, "session_check"), _true(named, "close_session"))
