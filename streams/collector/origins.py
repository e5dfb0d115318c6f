"""Origins: which sites' pages may read what the collector answers them (CORS).

Rule: the pages of a registered site's domains, of their subdomains and of the origins that the settings list. Where no
site states its domains, any page may, since nobody knows better. A page of any origin can send (a beacon needs no
leave); what it may not is read the answer and send JSON by that type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from streams.collector.campaigns import CampaignBook
    from streams.collector.messages import Headers

ANY: Final = "*"
_REMEMBERED: Final = 4096
_MAX_ORIGIN: Final = 300
"""Scheme, the longest host name (RFC 1035: 253) and a port."""


def read_origins(text: str) -> frozenset[str]:
    """Origins from a setting, `*` for all; raises `ConfigurationError`."""
    found = frozenset(text.replace(",", " ").lower().split())
    for origin in found - {ANY}:
        scheme, separator, host = origin.partition("://")
        if scheme not in {"http", "https"} or not separator or not host or "/" in host:
            raise ConfigurationError(f"cors_origins: {origin!r} is not written https://host")
    return found


class Origins:
    """Who may read answers: `listed`, and the pages of the sites in `book`."""

    def __init__(self, book: CampaignBook, listed: frozenset[str]) -> None:
        self._book = book
        self._listed = listed
        self._domains = book.domains
        self._known: dict[str, Headers] = {}

    def headers(self, origin: str) -> Headers:
        """What lets a page of `origin` read the answer, with a beacon's credentials; always that it depends on it."""
        if self._domains is not self._book.domains:
            self._domains, self._known = self._book.domains, {}
        if len(origin) > _MAX_ORIGIN:
            return [_VARY]
        known = self._known.get(origin)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[origin] = _allowing(origin) if self.allows(origin) else [_VARY]
        return known

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin`, as a browser states it, may read answers."""
        if len(origin) > _MAX_ORIGIN or not origin.isascii() or not origin.isprintable():
            return False
        if ANY in self._listed or origin.lower() in self._listed or not self._domains:
            return True
        try:
            host = urlsplit(origin).hostname or ""
        except ValueError:
            return False
        while host:
            if host in self._domains:
                return True
            host = host.partition(".")[2]
        return False


def _allowing(origin: str) -> Headers:
    return [("access-control-allow-origin", origin), ("access-control-allow-credentials", "true"), _VARY]


_VARY: Final = ("vary", "Origin")
