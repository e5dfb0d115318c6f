"""Network addresses: whose a request is, which networks are listed, and what of an address may be kept.

Rule: nothing that a client writes is believed. ``X-Forwarded-For`` counts only where a listed proxy sent it, and only
up to the first address that is not a listed proxy's, read from the right. What goes to Kafka of an address is what the
setting lets through (contract: never more than the operator wants).
"""

from __future__ import annotations

import hmac
import socket
from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.collector.messages import Request

IpMode = Literal["truncated", "hashed", "full", "none"]
"""What is kept of an address: its network (/24, /48), a keyed hash of it, all of it, or nothing."""
_REMEMBERED: Final = 32_768
_OWN_MACHINE: Final = ("localhost", "127.", "[::1]")
_MAX_HOP: Final = 64
"""No address with port and zone is longer; what is, is not remembered."""
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""What IPv4 addresses begin with that IPv6 carries."""


class Networks:
    """A list of networks, as `setting` states it in `text`: addresses and networks, separated by commas or spaces.

    Raises `ConfigurationError` where one is neither.
    """

    def __init__(self, text: str, setting: str) -> None:
        try:
            networks = [ip_network(part, strict=False) for part in text.replace(",", " ").split()]
        except ValueError as error:
            raise ConfigurationError(f"{setting}: {error}") from None
        self._networks = [
            (network.max_prefixlen // 8, int(network.netmask), int(network.network_address)) for network in networks
        ]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        packed = _packed(address)
        if packed is None:
            return False
        size, number = len(packed), int.from_bytes(packed, "big")
        return any(size == bits and number & mask == start for bits, mask, start in self._networks)


class Client(NamedTuple):
    """Where a request comes from."""

    address: str
    crowd: str
    """What counts as one client for a rate limit: an IPv4 address, or the /64 that an IPv6 client has to itself."""
    kept: str
    """What may be kept of the address; '' where that is nothing."""
    exempt: bool
    """Whether no rate limit holds."""
    trusted: bool
    """Whether it is a proxy that is believed."""


class Clients:
    """Whose a request is: by `trusted` proxies, and what `keep_ip` and `exempt` make of an address.

    What was found out about an address is remembered, for so many of them.
    """

    def __init__(self, trusted: Networks, exempt: Networks, keep_ip: Callable[[str], str]) -> None:
        self._trusted = trusted
        self._exempt = exempt
        self._keep_ip = keep_ip
        self._known = lru_cache(maxsize=_REMEMBERED)(self._look_up)

    def of(self, request: Request) -> Client:
        """The client: the last in ``X-Forwarded-For`` that is no trusted proxy, else that of the connection."""
        client = self._known(request.peer) or Client(request.peer, request.peer, "", exempt=False, trusted=False)
        if not client.trusted:
            return client
        if "x-forwarded-for" not in request.headers:
            return client
        # A client may have sent such a header too, and a proxy have added one of its own: all of them are one list.
        for part in reversed(",".join(request.headers.get_all("x-forwarded-for")).split(",")):
            hop = self._known(part) if len(part) <= _MAX_HOP else None
            if hop is None:
                # Whoever it is, it is not the proxy: what no limit holds for is the proxy's own.
                return client._replace(exempt=False)
            client = hop
            if not client.trusted:
                break
        return client

    def is_https(self, request: Request) -> bool:
        """Whether the client spoke https, to us or to a proxy.

        A trusted proxy says so, or the browser does: it sends `Sec-Fetch-Site` only where it spoke https, or to its
        own machine (https://w3c.github.io/webappsec-fetch-metadata/).
        """
        if request.scheme == "https":
            return True
        host = request.headers.get("host") or ""
        if request.headers.get("sec-fetch-site") is not None and not host.startswith(_OWN_MACHINE):
            return True
        peer = self._known(request.peer)
        if peer is None or not peer.trusted:
            return False
        return (request.headers.get("x-forwarded-proto") or "").rpartition(",")[2].strip().lower() == "https"

    def _look_up(self, text: str) -> Client | None:
        address = bare_address(text)
        if address is None:
            return None
        return Client(
            address,
            _network(address, 64) if ":" in address else address,
            self._keep_ip(address),
            address in self._exempt,
            address in self._trusted,
        )


def bare_address(text: str) -> str | None:
    """The address in `text`, without brackets, port and zone, IPv4 as IPv4; None where there is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    packed = _packed(text.partition("%")[0])
    if packed is None:
        return None
    if packed.startswith(_MAPPED):
        packed = packed[12:]
    return _unpacked(packed)


def ip_keeper(mode: IpMode, secret: bytes) -> Callable[[str], str]:
    """A function from an address to what may be kept of it, '' where that is nothing.

    `secret` keys the hash of mode ``hashed``. What is no address is not kept, except in mode ``full``.
    """

    def truncate(text: str) -> str:
        address = bare_address(text)
        return _network(address, 48 if ":" in address else 24) if address else ""

    def hashed(text: str) -> str:
        address = bare_address(text)
        return hmac.digest(secret, b"ip\n" + address.encode(), "sha256").hex()[:32] if address else ""

    keepers: dict[IpMode, Callable[[str], str]] = {"truncated": truncate, "hashed": hashed, "full": str}
    return keepers.get(mode, lambda _text: "")


def _packed(text: str) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return None


def _unpacked(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _network(address: str, bits: int) -> str:
    """The first address of the network of so many bits that `address` is in."""
    packed = _packed(address) or b""
    kept = bits // 8
    return _unpacked(packed[:kept] + bytes(len(packed) - kept))
