"""Reads addresses as a person would: hosts, registrable domains, and the parameters that say where a visitor came from.

Rule: nothing here raises. What can't be read is '' (no host) or absent (no parameter). One host has one form: lower
case, ASCII (IDNA), without port, credentials or trailing dot. Parameter names are matched in lower case; of a doubled
parameter the first that is not empty counts; the query is read before the fragment, where pages and routers put UTM
parameters too.

Where it stands: an event's `url` and `referrer` -> here -> `streams.core.channels`. All functions are pure; the
dictionaries only remember results.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

import idna
from publicsuffixlist import PublicSuffixList

from streams.core.data import CLICK_IDS
from streams.core.memo import Memo

if TYPE_CHECKING:
    from streams.core.data import ClickIdParameter

HW_CID: Final = "hw_cid"
APP_SCHEMES: Final = ("android-app://", "ios-app://")
PACKAGES: Final = ("com.", "org.", "net.")
"""How names of apps begin: they are hosts written backwards, so nothing is above them."""

_SUFFIXES = PublicSuffixList()
_LONGEST_AUTHORITY = 1024
_LONGEST_REMEMBERED = 512

_WITH_AUTHORITY = re.compile(r"\s*(?:([a-z][a-z0-9+.\-]*):)?[/\\]{2}([^/\\]*)", re.IGNORECASE)
_ESCAPED = re.compile(r"\s*(?:[a-z][a-z0-9+.\-]*)?%3a%2f%2f", re.IGNORECASE)
_END_OF_AUTHORITY = re.compile(r"[?#\\/]")
_PORT = re.compile(r":\d*$")
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_BARE_TOP_LEVEL = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]+")
_FILE_ENDINGS = frozenset(
    {
        "html",
        "htm",
        "php",
        "asp",
        "aspx",
        "jsp",
        "js",
        "css",
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "pdf",
        "txt",
        "xml",
        "json",
    }
)
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_AMPERSAND_REST = re.compile(r"(?:amp;|#?38;|#?x26;)+", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")

_authorities: Memo[str, str] = Memo(20_000)
_registrables: Memo[str, str] = Memo(20_000)
_decoded: Memo[str, str] = Memo(5_000)


def host_of(address: str) -> str:
    """The host of a web address in its one form, '' where there is none; a missing scheme is forgiven."""
    parts = address.split("/", 3)
    if len(parts) > 2 and not parts[1] and parts[0] in ("https:", "http:"):
        authority = parts[2]
        host = _authorities.get(authority)
        if host is None:
            host = _host(authority)
            if len(authority) <= _LONGEST_REMEMBERED:
                _authorities.keep(authority, host)
        return host
    return _odd_host(address)


def app_of(address: str) -> str:
    """An app's referrer in its one form, scheme and name in lower case; '' for any other address.

    `android-app://PACKAGE/...` names the package, `ios-app://ID/...` the number in the App Store or the bundle id.
    """
    address = address.strip()
    for scheme in APP_SCHEMES:
        if address[: len(scheme)].lower() == scheme:
            name = _END_OF_AUTHORITY.split(address[len(scheme) :], maxsplit=1)[0].lower()
            return scheme + name if _HOST.fullmatch(name) else ""
    return ""


def app_name(origin: str) -> str:
    """The name of an app without its scheme; a host stays as it is."""
    return origin.rpartition("://")[2]


def endings(host: str) -> list[str]:
    """A host and all hosts above it, longest first; an app or an IPv6 address has nothing above it."""
    if ":" in host:
        return [host]
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


def plain_host(text: str) -> str:
    """The host that a configuration value names: a bare host or an address, '' if neither ('localhost' is one)."""
    return host_of(text) or _host(text.strip().removeprefix("*.").removeprefix("."))


def _odd_host(address: str) -> str:
    if _ESCAPED.match(address):
        address = unquote(address, errors="replace")
    match = _WITH_AUTHORITY.match(address)
    if match is not None:
        return _host(match[2]) if (match[1] or "https").lower() in ("https", "http") else ""
    # Without a scheme only what looks like a host is one: `shop.example/p`, but not `index.html`, `null`,
    # `about:blank` or a mail address.
    authority = _END_OF_AUTHORITY.split(address.strip()[:_LONGEST_AUTHORITY], maxsplit=1)[0]
    host = "" if "@" in authority else _host(authority)
    ending = host.rpartition(".")
    if not ending[0] or ending[2] in _FILE_ENDINGS:
        return ""
    return host if _BARE_TOP_LEVEL.fullmatch(ending[2]) or _IPV4.fullmatch(host) else ""


def _host(authority: str) -> str:
    if len(authority) > _LONGEST_AUTHORITY:
        return ""
    host = _END_OF_AUTHORITY.split(authority, maxsplit=1)[0].strip().rpartition("@")[2]
    if host.startswith("["):
        return _ipv6(host)
    host = _PORT.sub("", host)
    if "%" in host:
        host = unquote(host, errors="replace")
    if not host.isascii():
        host = _ascii(host)
    host = host.lower().removesuffix(".")
    return host if len(host) <= 253 and _HOST.fullmatch(host) else ""


def _ascii(host: str) -> str:
    """A host with letters beyond ASCII in IDNA form; IDNA 2003 knows some names (emoji) that 2008 refuses."""
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        try:
            return host.encode("idna").decode("ascii")
        except UnicodeError:
            return ""


def _ipv6(host: str) -> str:
    inner, closed, rest = host[1:].partition("]")
    try:
        return f"[{ipaddress.IPv6Address(inner).compressed}]" if closed and not _PORT.sub("", rest) else ""
    except ValueError:
        return ""


def registrable(host: str) -> str:
    """The registrable domain of a host by the public suffix list: `www.shop.co.uk` -> `shop.co.uk`.

    An IP address, a single label or a public suffix is its own.
    """
    found = _registrables.get(host)
    if found is None:
        named = host and ":" not in host and not _IPV4.fullmatch(host)
        found = _registrables.keep(host, (_SUFFIXES.privatesuffix(host) if named else None) or host)
    return found


def decoded(text: str) -> str:
    """An explicit field's value: trimmed, and percent-decoded once where all of it is validly encoded.

    "50% off" stays as it is, and so does '+'.
    """
    if "%" in text and not _BAD_ESCAPE.search(text):
        try:
            return unquote(text, errors="strict").strip()
        except UnicodeDecodeError:
            return text.strip()
    return text.strip()


def _query_value(text: str) -> str:
    """A parameter's value: '+' is a space, percent-decoded once as UTF-8, else Windows-1252 (old mailers), trimmed."""
    value = _decoded.get(text)
    if value is None:
        spaced = text.replace("+", " ")
        try:
            value = unquote(spaced, errors="strict").strip()
        except UnicodeDecodeError:
            value = unquote(spaced, encoding="cp1252", errors="replace").strip()
        if len(text) <= _LONGEST_REMEMBERED:
            _decoded.keep(text, value)
    return value


class _ParameterNames(Memo[str, str]):
    """Parameter names as written -> the known name in lower case, '' for one that says nothing here."""

    def __missing__(self, written: str) -> str:
        name = unquote(written, errors="replace").replace("+", " ").strip().lstrip("!/")
        name = _AMPERSAND_REST.sub("", name, count=1).strip().lower()
        known = name if (name.startswith("utm_") and name != "utm_") or name in CLICK_IDS or name == HW_CID else ""
        return self.keep(written, known) if len(written) <= _LONGEST_REMEMBERED else known


class Shape:
    """What the queries of one link have in common: its UTM parameters, and which click ids it bears, of any value.

    Equal shapes are one object as long as it is remembered, so that it can be a key.
    """

    __slots__ = ("speaking", "text", "utm")

    def __init__(self, utm: dict[str, str], names: tuple[str, ...] = ()) -> None:
        self.utm = utm
        self.text = "&".join(sorted(f"{name}={value}" for name, value in utm.items()))
        self.speaking: ClickIdParameter | None = min(
            (CLICK_IDS[name] for name in names if name in CLICK_IDS), default=None
        )
        """The click id that speaks for the link: of several, the first in the data's order."""


class Query(NamedTuple):
    """What an address states of where its visitor came from: nothing where `evidence` is ''."""

    shape: Shape
    evidence: str
    """UTM parameters, then click ids, each sorted; names in lower case and decoded values: `utm_source=b&gclid=a`."""
    unique: bool
    """It bears a click id, ours or a network's, so that it is seen once."""
    hw_cid: str
    """Our own click id, '' where there is none."""


NOTHING: Final = Query(Shape({}), "", unique=False, hw_cid="")

_names: Final = _ParameterNames(5_000)
_shapes: Memo[tuple[object, ...], Shape] = Memo(10_000)
_queries: Memo[str, Query] = Memo(10_000)
_fronts: Memo[str, tuple[Shape, str, bool]] = Memo(10_000)
_new = tuple.__new__


def read_query(address: str) -> Query:
    """The UTM parameters, click ids and `hw_cid` in an address's query and fragment; an empty value states nothing."""
    start = address.find("?")
    if start < 0 or address.find("#", 0, start) >= 0:
        start = address.find("#")
        if start < 0:
            return _read_escaped(address) if "%" in address and _ESCAPED.match(address) else NOTHING
    text = address[start + 1 :]
    query = _queries.get(text)
    if query is not None:
        return query
    # One click id at the end, as networks append it: the rest has been seen before.
    front, _, value = text.rpartition("=")
    known = _fronts.get(front)
    if known is not None and _PLAIN.fullmatch(value):
        return _new(Query, (known[0], known[1] + value, True, value if known[2] else ""))
    query = _read(text)
    if len(text) <= _LONGEST_REMEMBERED:
        if not query.unique:
            _queries.keep(text, query)
        elif _PLAIN.fullmatch(value) and not _read(front).unique:
            _fronts.keep(front, (query.shape, query.evidence[: -len(value)], bool(query.hw_cid)))
    return query


def _read_escaped(address: str) -> Query:
    """The query of an address that was percent-encoded as a whole, once."""
    address = unquote(address, errors="replace")
    return NOTHING if _ESCAPED.match(address) else read_query(address)


def _read(text: str) -> Query:
    # A second `?` stands where `&` was meant, in links to which someone has appended parameters unseen.
    if "?" in text or "#" in text:
        text = text.replace("?", "&").replace("#", "&")
    utm: dict[str, str] = {}
    click_ids: dict[str, str] = {}
    for piece in text.split("&"):
        written, _, value = piece.partition("=")
        name = _names[written]
        if name and value:
            found = utm if name[:4] == "utm_" else click_ids
            if name not in found:
                value = _query_value(value) if "%" in value or "+" in value else value.strip()
                if value:
                    found[name] = value
    if not utm and not click_ids:
        return NOTHING
    key: tuple[object, ...] = (*utm.items(), *click_ids)
    shape = _shapes.get(key)
    if shape is None:
        shape = _shapes.keep(key, Shape(utm, tuple(click_ids)))
    if not click_ids:
        return Query(shape, shape.text, unique=False, hw_cid="")
    evidence = "&".join(sorted([f"{name}={value}" for name, value in click_ids.items()]))
    if utm:
        evidence = f"{shape.text}&{evidence}"
    return Query(shape, evidence, True, click_ids.get(HW_CID, ""))
