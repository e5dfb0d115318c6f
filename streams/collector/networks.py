"""Network addresses: whose a request is, which networks are listed, and what of an address may be kept.

Rule: nothing that a client writes is believed. ``X-Forwarded-For`` counts only where a listed proxy sent it, and only
up to the first address that is not a listed proxy's, read from the right. What goes to Kafka of an address is what the
setting lets through (contract: never more than the operator wants).
"""

from __future__ import annotations

import hmac
import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.collector.messages import Request

IpMode = Literal["truncated", "hashed", "full", "none"]
"""What is kept of an address: its network (/24, /48), a keyed hash of it, all of it, or nothing."""
KEPT_BITS: Final = {4: 24, 6: 48}
_REMEMBERED: Final = 16_384
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """A list of networks, as `setting` states it in `text`: addresses and networks, separated by commas or spaces.

    Raises `ConfigurationError` where one is neither.
    """

    def __init__(self, text: str, setting: str) -> None:
        try:
            self._networks = tuple(ipaddress.ip_network(part, strict=False) for part in text.replace(",", " ").split())
        except ValueError as error:
            raise ConfigurationError(f"{setting}: {error}") from None
        self._holds = lru_cache(maxsize=_REMEMBERED)(self._look_up)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        return bool(self._networks) and self._holds(address)

    def _look_up(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


class Proxies:
    """The proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` count."""

    def __init__(self, text: str) -> None:
        self._trusted = Networks(text, "trusted_proxies")

    def client_of(self, request: Request) -> str:
        """The client's address: the last one in ``X-Forwarded-For`` that is no trusted proxy, else the connection's."""
        address = request.peer
        if address not in self._trusted:
            return address
        # A client may have sent such a header too, and a proxy have added one of its own: all of them are one list.
        for part in reversed(",".join(request.headers.get_all("x-forwarded-for")).split(",")):
            hop = bare_address(part)
            if hop is None:
                break
            address = hop
            if address not in self._trusted:
                break
        return address

    def is_https(self, request: Request) -> bool:
        """Whether the client spoke https, to us or to a trusted proxy."""
        if request.scheme == "https":
            return True
        if request.peer not in self._trusted:
            return False
        return (request.headers.get("x-forwarded-proto") or "").rpartition(",")[2].strip().lower() == "https"


def bare_address(text: str) -> str | None:
    """The address in `text`, without brackets, port and zone, IPv4 as IPv4; None where there is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return str(mapped or address)


@lru_cache(maxsize=_REMEMBERED)
def crowd_of(address: str) -> str:
    """What counts as one client for a rate limit: an IPv4 address, or the /64 that one IPv6 client has to itself."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, 64), strict=False))
    except ValueError:
        return address


def ip_keeper(mode: IpMode, secret: bytes) -> Callable[[str], str]:
    """A function from an address to what may be kept of it, '' where that is nothing.

    `secret` keys the hash of mode ``hashed``. What is no address is not kept, except in mode ``full``.
    """

    def keep(text: str) -> str:
        address = bare_address(text)
        if address is None:
            return ""
        if mode == "hashed":
            return hmac.digest(secret, b"ip\n" + address.encode(), "sha256").hex()[:32]
        version = 6 if ":" in address else 4
        return str(ipaddress.ip_network((address, KEPT_BITS[version]), strict=False).network_address)

    if mode == "full":
        return str
    if mode == "none":
        return lambda _text: ""
    return lru_cache(maxsize=_REMEMBERED)(keep)
