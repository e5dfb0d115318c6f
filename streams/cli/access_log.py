"""Access logs of web servers, in the combined format of nginx and Apache, as touches.

Rule: pure; a line is one page view or it is none, for a reason that is counted. A page view is a GET that was answered
with a page (200 to 299, or 304): no assets, no robots.txt. Its visitor is whom the line names (our click id, a
parameter, a field, our cookie, in this order), else a keyed hash of the address' network, user agent and day, which
nobody can follow over days or turn back. The same line is the same event, whichever file it is in: rotated logs may be
read twice.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

from streams.collector.networks import ip_keeper
from streams.collector.visitors import CONSENT_COOKIE, COOKIE, SCRIPT_COOKIE, visitor_of_click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Skipped = Literal["unreadable", "not_a_page", "bot"]
"""Why a line is no touch."""

_LINE: Final = re.compile(
    r"(?:(?P<host>\S+) )?(?P<ip>\S+) \S+ (?:\"[^\"]*\"|\S+) \[(?P<time>[^\]]{20,32})\]"
    r' "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) \S+'
    r'(?: "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"(?P<rest>.*))?',
)
"""Combined, common, and combined with a virtual host before it or fields after it."""
_REST: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPED: Final = re.compile(r'\\(?:x([0-9A-Fa-f]{2})|(["\\]))')
_ASSET: Final = re.compile(
    r"\.(?:js|mjs|css|map|json|xml|txt|ico|png|jpe?g|gif|svg|webp|avif|bmp|woff2?|ttf|otf|eot|mp4|webm|mp3|ogg|wasm"
    r"|pdf|zip|gz|csv)$",
    re.IGNORECASE,
)
_NOT_PAGES: Final = re.compile(r"^/(?:\.well-known/|wp-json/|wp-cron\.php|xmlrpc\.php|healthz$|readyz$|metrics$)")
_VISITOR: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}", re.ASCII)
_COOKIE: Final = re.compile(
    rf"(?<![^\s\";])({SCRIPT_COOKIE}|{COOKIE}|{CONSENT_COOKIE})=([A-Za-z0-9._~-]{{1,128}})(?![^\s\";])"
)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MAX_URL: Final = 8192


class Reading(NamedTuple):
    """How a log is to be read: of which site, with which address before paths, and whose its visitors are.

    `keys`: those of click ids, the first of which hashes. `visitor_field`: the field after the user agent that names
    the visitor, from 1; 0: none does. `visitor_parameter`: the parameter of addresses that does; '': none.
    """

    site: str
    base: str
    keys: Sequence[tuple[str, bytes]]
    visitor_field: int = 0
    visitor_parameter: str = ""


def read_line(line: str, reading: Reading, is_person: Callable[[str], bool]) -> dict[str, Any] | Skipped:
    """The touch that a line tells of, or why it tells of none; `is_person` judges user agents."""
    found = _LINE.fullmatch(line)
    if found is None:
        return "unreadable"
    time = read_time(found["time"])
    if time is None:
        return "unreadable"
    method, _, rest = found["request"].partition(" ")
    target = rest.rpartition(" ")[0] or rest
    if method != "GET" or not (found["status"][0] == "2" or found["status"] == "304") or not target.startswith("/"):
        return "not_a_page"
    path = target.partition("?")[0]
    if _ASSET.search(path) or _NOT_PAGES.match(path):
        return "not_a_page"
    agent = unescape(found["agent"] or "")
    if not is_person(agent):
        return "bot"
    host = (found["host"] or "").rpartition(":")[0] or found["host"]
    base = f"{urlsplit(reading.base).scheme}://{host}" if host else reading.base
    url = (base + unescape(target))[:_MAX_URL]
    referrer = unescape(found["referrer"] or "")
    cookies = dict(_COOKIE.findall(found["rest"] or ""))
    touch = {
        "event_id": f"l-{_hash(reading, 'line', line)}",
        "type": "landing",
        "time": time,
        "site": reading.site,
        "visitor_id": _named(url, found["rest"] or "", cookies, reading)
        or _hash(reading, "visitor", str(time // 86_400_000), _network(found["ip"]), agent),
        "url": url,
        "ip": found["ip"],
    }
    if referrer not in {"", "-"}:
        touch["referrer"] = referrer[:_MAX_URL]
    if agent not in {"", "-"}:
        touch["user_agent"] = agent[:2048]
    if cookies.get(CONSENT_COOKIE) == "denied":
        touch["consent"] = "denied"
    return touch


@lru_cache(maxsize=4096)
def read_time(text: str) -> int | None:
    """Milliseconds since the epoch of ``10/Oct/2026:13:55:36 -0700``; None where it is no such time."""
    try:
        day, month, year, hour, minute, second = re.split("[/: ]", text)[:6]
        zone = text[-5:]
        offset = (int(zone[1:3]) * 60 + int(zone[3:5])) * (-1 if zone[0] == "-" else 1)
        number = _MONTHS.index(month) + 1
        moment = datetime(int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except (ValueError, IndexError):
        return None
    return round(moment.timestamp() * 1000) - offset * 60_000


def unescape(text: str) -> str:
    r"""A field as it was before the server escaped it: nginx writes ``\x22``, Apache ``\"``."""
    if "\\" not in text:
        return text
    raw = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)
    try:
        return raw.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return raw


def _named(url: str, rest: str, cookies: dict[str, str], reading: Reading) -> str:
    """The visitor whom the line names; '' where it names nobody."""
    if "hw_cid=" in url and (clicked := visitor_of_click(url, reading.keys)):
        return clicked
    stated = []
    if reading.visitor_parameter:
        stated += parse_qs(urlsplit(url).query).get(reading.visitor_parameter, [])[:1]
    if reading.visitor_field:
        fields = [quoted or plain for quoted, plain in _REST.findall(rest)]
        stated += fields[reading.visitor_field - 1 : reading.visitor_field]
    found = next((name for name in stated if name != "-" and _VISITOR.fullmatch(name)), "")
    return found or cookies.get(SCRIPT_COOKIE) or cookies.get(COOKIE) or ""


_truncated = ip_keeper("truncated", b"")


@lru_cache(maxsize=16_384)
def _network(address: str) -> str:
    """The /24 or /48 of an address; what is none (a server may log names) as it is."""
    return _truncated(address) or address


def _hash(reading: Reading, *parts: str) -> str:
    """32 hex digits that nobody can make, or turn back, without the key."""
    text = "\n".join(("access log", reading.site, *parts))
    return hmac.digest(reading.keys[0][1], text.encode(), "sha256").hex()[:32]
