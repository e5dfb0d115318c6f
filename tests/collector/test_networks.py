"""Addresses: whose a request is, what may be kept, who is listed."""

from __future__ import annotations

import ipaddress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigurationError
from streams.collector.messages import Request
from streams.collector.networks import Clients, Networks, bare_address, ip_keeper
from tests.collector.conftest import NO_BODY, Headers

EVERY = st.ip_addresses().map(str)


def asked(peer: str, *forwarded: str, **headers: str) -> Request:
    sent = httpx.Headers([*(("x-forwarded-for", value) for value in forwarded), *headers.items()])
    return Request("GET", "/", "", Headers(sent), peer, "http", NO_BODY)


def clients(trusted: str = "10.0.0.0/8, 2001:db8:1::/48", exempt: str = "") -> Clients:
    return Clients(Networks(trusted, "trusted_proxies"), Networks(exempt, "rate_exempt"), ip_keeper("truncated", b""))


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (["198.51.100.9"], "198.51.100.9"),
        (["6.6.6.6, 198.51.100.9"], "198.51.100.9"),
        (["6.6.6.6", "198.51.100.9"], "198.51.100.9"),
        (["6.6.6.6, 198.51.100.9, 10.9.9.9, 10.8.8.8"], "198.51.100.9"),
        (["198.51.100.9:4711"], "198.51.100.9"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["::ffff:198.51.100.9"], "198.51.100.9"),
        (["6.6.6.6, nonsense"], "10.1.1.1"),
        (["6.6.6.6, "], "10.1.1.1"),
        (["10.2.2.2"], "10.2.2.2"),
        ([], "10.1.1.1"),
    ],
)
def test_behind_a_trusted_proxy(forwarded: list[str], address: str) -> None:
    """The last that is no trusted proxy's, over all headers of the name; what stands before it anyone may write."""
    assert clients().of(asked("10.1.1.1", *forwarded)).address == address


@given(peer=EVERY, forwarded=st.lists(st.text(max_size=40) | EVERY, max_size=5))
def test_strangers_are_not_believed(peer: str, forwarded: list[str]) -> None:
    """Whatever they write, theirs is the address of their connection."""
    written = [value.encode("ascii", "ignore").decode().replace("\r", "").replace("\n", "") for value in forwarded]
    assert clients(trusted="").of(asked(peer, *written)).address == bare_address(peer)


@given(EVERY)
def test_truncated(address: str) -> None:
    """The network of /24 or /48, so that nobody can be told from their neighbours."""
    kept = ip_keeper("truncated", b"")(address)
    bits = 24 if ipaddress.ip_address(bare_address(address) or "").version == 4 else 48
    network = ipaddress.ip_network((bare_address(address), bits), strict=False)
    assert kept == str(ipaddress.ip_address(str(network.network_address)))


@given(EVERY, EVERY)
def test_hashed(one: str, other: str) -> None:
    """The same address always to the same text, by which nobody without the key finds it."""
    keep = ip_keeper("hashed", b"key")
    assert keep(one) == keep(one) != ip_keeper("hashed", b"other key")(one)
    assert (keep(one) == keep(other)) == (bare_address(one) == bare_address(other))
    assert one not in keep(one)


@pytest.mark.parametrize("text", ["", "unknown", "1.2.3", "1.2.3.4.5", "::1::", "shop.example", "1.2.3.4\r\nx: y"])
def test_what_is_no_address_is_not_kept(text: str) -> None:
    """It might be anything; only where all is kept, is it."""
    assert [ip_keeper(mode, b"k")(text) for mode in ("truncated", "hashed", "none")] == ["", "", ""]
    assert ip_keeper("full", b"k")(text) == text


def test_none() -> None:
    """Nothing at all."""
    assert ip_keeper("none", b"")("192.0.2.1") == ""


@given(EVERY, st.lists(st.ip_addresses(v=4) | st.ip_addresses(v=6), max_size=4), st.integers(0, 32))
def test_listed(address: str, starts: list[ipaddress.IPv4Address | ipaddress.IPv6Address], bits: int) -> None:
    """As the standard library has it."""
    networks = [ipaddress.ip_network((str(start), bits), strict=False) for start in starts]
    listed = Networks(", ".join(map(str, networks)), "x")
    parsed = ipaddress.ip_address(address)
    assert (address in listed) == any(parsed in network for network in networks)
    assert bool(listed) == bool(networks)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example", "10.0.0.1-10.0.0.9", "1.2.3.4/x"])
def test_wrong_lists(text: str) -> None:
    """Names and nonsense are a configuration error that names the setting."""
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        Networks(text, "trusted_proxies")


def test_crowd() -> None:
    """One IPv6 client has a /64 to itself and may send from any address in it; an IPv4 client has one."""
    known = clients("")
    crowds = [known.of(asked(peer)).crowd for peer in ("2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1")]
    assert crowds[0] == crowds[1] != crowds[2]
    assert known.of(asked("192.0.2.1")).crowd == "192.0.2.1"


@pytest.mark.parametrize(
    ("forwarded", "exempt"),
    [((), True), (("",), False), (("x" * 30_000,), False), (("10.1.1.2",), True), (("198.51.100.9",), False)],
)
def test_a_proxy_of_its_own_machine(forwarded: tuple[str, ...], *, exempt: bool) -> None:
    """It is not limited itself, but nobody gets through its exemption by a header that it can't add to."""
    assert clients(exempt="10.1.1.0/24").of(asked("10.1.1.1", *forwarded)).exempt is exempt


def test_long_hops_are_not_remembered() -> None:
    """Memory is bounded, whatever a client has its proxy pass on."""
    known = clients()
    for number in range(100):
        known.of(asked("10.1.1.1", f"{'x' * 10_000}{number}, 10.1.1.2"))
    assert known._known.cache_info().currsize == 2


@pytest.mark.parametrize(
    ("peer", "headers", "secure"),
    [
        ("10.1.1.1", {"x-forwarded-proto": "https"}, True),
        ("10.1.1.1", {"x-forwarded-proto": "https, http"}, False),
        ("192.0.2.1", {"x-forwarded-proto": "https"}, False),
        ("10.1.1.1", {}, False),
        ("192.0.2.1", {"sec-fetch-site": "cross-site"}, True),
        ("192.0.2.1", {"sec-fetch-site": "none", "host": "collect.shop.example"}, True),
        ("127.0.0.1", {"sec-fetch-site": "none", "host": "127.0.0.1:8080"}, False),
        ("127.0.0.1", {"sec-fetch-site": "none", "host": "localhost:8080"}, False),
    ],
)
def test_https(peer: str, headers: dict[str, str], *, secure: bool) -> None:
    """As the nearest trusted proxy says, or the browser itself; a stranger's word is none."""
    assert clients().is_https(asked(peer, **headers)) is secure
