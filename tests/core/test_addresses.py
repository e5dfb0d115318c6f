"""Addresses: hosts in one form, registrable domains, and the parameters that count."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.addresses import Memo, app_of, decoded, host_of, plain_host, read_query, registrable
from streams.core.data import CLICK_IDS


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://shop.example/p", "shop.example"),
        ("http://shop.example", "shop.example"),
        ("https://Shop.Example:8443/p", "shop.example"),
        ("https://user:pw@shop.example/p", "shop.example"),
        ("https://shop.example./p", "shop.example"),
        ("https://shop.example?x=https://other.example/", "shop.example"),
        ("https://shop.example#x@other.example", "shop.example"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
        ("https://XN--BCHER-KVA.example/", "xn--bcher-kva.example"),
        ("https://b%C3%BCcher.example/", "xn--bcher-kva.example"),
        ("https://i❤.ws/", "xn--i-7iq.ws"),
        ("https://[2001:DB8::0001]:80/", "[2001:db8::1]"),
        ("http://192.0.2.1:80/", "192.0.2.1"),
        ("//shop.example/p", "shop.example"),
        ("shop.example/p", "shop.example"),
        ("shop.example:8080/p", "shop.example"),
        (" https://shop.example/", "shop.example"),
        ("https:\\\\shop.example\\p", "shop.example"),
        ("https%3A%2F%2Fshop.example%2Fp", "shop.example"),
        ("http://localhost:3000/", "localhost"),
        ("localhost:3000/", ""),
        ("ftp://shop.example/", ""),
        ("android-app://com.shop.mobile/", ""),
        ("mailto:a@shop.example", ""),
        ("index.html", ""),
        ("https://", ""),
        ("https://a..b/", ""),
        ("https://a b.example/", ""),
        (f"https://{'a' * 64}.example/", ""),
        (f"https://{'a.' * 200}example/", ""),
        (f"https://{'a' * 5000}/", ""),
        ("", ""),
    ],
)
def test_host(address: str, host: str) -> None:
    """A host has one form; what is none is ''."""
    assert host_of(address) == host


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.shop.example", "shop.example"),
        ("a.b.shop.co.uk", "shop.co.uk"),
        ("one.github.io", "one.github.io"),
        ("a.one.github.io", "one.github.io"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("", ""),
    ],
)
def test_registrable(host: str, domain: str) -> None:
    """The registrable domain by the public suffix list; what has none is its own."""
    assert registrable(host) == domain


@pytest.mark.parametrize(
    ("address", "app"),
    [
        ("android-app://com.facebook.katana/", "android-app://com.facebook.katana"),
        ("Android-App://com.Facebook.katana/https/x", "android-app://com.facebook.katana"),
        ("ios-app://544007664/youtube/x", "ios-app://544007664"),
        ("IOS-APP://com.burbn.Instagram", "ios-app://com.burbn.instagram"),
        ("ios-app://", ""),
        ("android-app://", ""),
        ("https://com.facebook.katana/", ""),
    ],
)
def test_app(address: str, app: str) -> None:
    """An app's referrer names the app, in one form."""
    assert app_of(address) == app


@pytest.mark.parametrize("text", ["shop.example", "*.shop.example", ".shop.example", "https://SHOP.example:80/x"])
def test_plain_host(text: str) -> None:
    """People write hosts in several ways into a configuration."""
    assert plain_host(text) == "shop.example"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a%20b", "a b"),
        (" a ", "a"),
        ("50% off", "50% off"),
        ("a+b", "a+b"),
        ("%E9", "%E9"),
        ("%2520", "%20"),
        ("%", "%"),
    ],
)
def test_decoded(text: str, value: str) -> None:
    """An explicit value is decoded once, and only if all of it is validly encoded."""
    assert decoded(text) == value


def test_memo_is_bounded() -> None:
    """A memo never holds more than its limit."""
    memo: Memo[int, int] = Memo(10)
    assert [memo.keep(n, n) for n in range(100)] == list(range(100))
    assert len(memo) <= 10


@pytest.mark.parametrize("count", [1, 2])
def test_doubled_click_id_keeps_the_first(count: int) -> None:
    """The first value counts, also where the address with one of them has been read before."""
    address = "https://shop.example/?" + "gclid=first&" * count + "gclid="
    assert [read_query(address + last).evidence for last in ("first", "x", "y")] == ["gclid=first"] * 3


def test_long_addresses_are_read_in_time() -> None:
    """A huge or strange address costs no more than its length."""
    started = time.perf_counter()
    for address in (
        "https://shop.example/?" + "a&" * 30_000,
        "?" + "=" * 60_000,
        "?" * 60_000,
        "&amp;" * 12_000,
        "@" * 60_000,
        "%" * 60_000,
    ):
        read_query(address)
        host_of(address)
        app_of(address)
    assert time.perf_counter() - started < 5


plain = st.text("abcXYZ019-_. %&=+?#é", max_size=12)
pairs = st.lists(
    st.tuples(st.sampled_from([*CLICK_IDS, "utm_source", "utm_campaign", "UTM_Source", "hw_cid", "page"]), plain),
    max_size=6,
)


@given(pairs, pairs)
def test_as_a_slow_reader(query: list[tuple[str, str]], fragment: list[tuple[str, str]]) -> None:
    """Well-formed addresses are read as the standard library reads them: query, fragment, first non-empty value."""

    def written(pairs: list[tuple[str, str]]) -> str:
        return "&".join(f"{name}={quote(value)}" for name, value in pairs)

    address = f"https://shop.example/p?{written(query)}#{written(fragment)}"
    parts = urlsplit(address)
    utm: dict[str, str] = {}
    click_ids: dict[str, str] = {}
    for written_name, padded in parse_qsl(parts.query) + parse_qsl(parts.fragment):
        name, value = written_name.lower(), padded.strip()
        if value and name != "page":
            (utm if name.startswith("utm_") else click_ids).setdefault(name, value)
    expected = [*sorted(f"{n}={v}" for n, v in utm.items()), *sorted(f"{n}={v}" for n, v in click_ids.items())]
    for _ in range(2):
        read = read_query(address)
        assert read.evidence == "&".join(expected)
        assert read.shape.utm == utm
        assert read.hw_cid == click_ids.get("hw_cid", "")
        assert read.unique == bool(click_ids)


@given(st.text())
def test_nothing_raises(text: str) -> None:
    """Any text at all is read, or is no address; a host read again is itself."""
    host = host_of(text)
    assert host == host.lower()
    assert host.isascii()
    assert not host or host_of(f"https://{host}/") == host
    read_query(text)
    assert app_of(text) == app_of(text).lower()
    assert registrable(registrable(host)) == registrable(host)
