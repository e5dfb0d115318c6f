"""Who may send postbacks, and the proof that it is them."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigurationError
from streams.collector import partners as module
from streams.collector.messages import Request
from streams.collector.networks import Client
from streams.collector.parameters import read_parameters
from streams.collector.partners import WINDOW_S, Partners, Sender, Unauthorized, check_time, to_sign
from tests.collector.conftest import NO_BODY, Headers

STAMP = "1790000000"
PARTNERS = Partners(
    "acme/2:new-secret, acme/1:old-secret, solo:solo-secret",
    "netw/1:a-token, netw/2:another-token",
    "acme=192.0.2.0/24 2001:db8::/32, netw=198.51.100.7",
    "acme=shop blog",
)


def sign(secret: str, method: str, query: str, body: bytes = b"", stamp: str = STAMP) -> str:
    """As a partner would, from the documentation alone."""
    text = f"{stamp}\n{method}\n{query}\n".encode() + body
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def asked(query: str, peer: str = "192.0.2.1", method: str = "GET", **headers: str) -> Request:
    client = Client(peer, peer, peer, exempt=False, trusted=False)
    sent = Headers(httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}))
    return Request(method, "/postback", query, sent, peer, "http", NO_BODY, client=client)


def recognise(request: Request, form: dict[str, Any] | None = None, body: bytes = b"") -> Sender:
    return PARTNERS.recognise(request, read_parameters(request.query), form or {}, body)


@pytest.mark.parametrize(("key", "secret"), [("acme/2", "new-secret"), ("acme/1", "old-secret")])
@pytest.mark.parametrize("form", ["{}", "sha256={}", "SHA256"])
def test_signed(key: str, secret: str, form: str) -> None:
    """With any of the partner's keys, so that one can be rotated; in the address, wherever `sig` stands in it."""
    query = f"txid=1&key={key}&ts={STAMP}"
    signature = sign(secret, "GET", query)
    signature = signature.upper() if form == "SHA256" else form.format(signature)
    expected = Sender("acme", int(STAMP) * 1000)
    assert recognise(asked(f"{query}&sig={signature}")) == expected
    assert recognise(asked(f"sig={signature}&{query}")) == expected


def test_signed_by_headers() -> None:
    """So that an address stays as it is."""
    body = b'{"txid": "1"}'
    headers = {
        "x_headwater_key": "solo",
        "x_headwater_time": STAMP,
        "x_headwater_signature": sign("solo-secret", "POST", "a=b", body),
    }
    assert recognise(asked("a=b", "203.0.113.1", "POST", **headers), body=body) == Sender("solo", int(STAMP) * 1000)
    with pytest.raises(Unauthorized):
        recognise(asked("a=b", "203.0.113.1", "POST", **headers), body=body + b" ")


@pytest.mark.parametrize(
    "query",
    [
        "txid=2&key=acme/2&ts={ts}&sig={sig}",
        "txid=1&key=acme/2&ts={ts}&sig={sig}&payout=9",
        "payout=9&txid=1&key=acme/2&ts={ts}&sig={sig}",
        "txid=1&key=acme/1&ts={ts}&sig={sig}",
        "txid=1&key=acme&ts={ts}&sig={sig}",
        "txid=1&key=nobody&ts={ts}&sig={sig}",
        "txid=1&key=acme/2&ts=1790000001&sig={sig}",
        "txid=1&key=acme/2&ts={ts}&sig={sig}0",
        "txid=1&key=acme/2&ts={ts}&sig=" + "0" * 64,
        "txid=1&key=acme/2&ts={ts}&sig=",
        "txid=1&key=acme/2&ts={ts}",
        "txid=1&key=acme/2&sig={sig}",
        "txid=1&ts={ts}&sig={sig}",
        "txid=1&key=acme/2&ts={ts}&%73ig={sig}",
        "txid=1&key=acme/2&ts={ts}&token=acme/2",
        "",
    ],
)
def test_forged(query: str) -> None:
    """Whatever is changed after it was signed, left out, or signed with another's key."""
    genuine = "txid=1&key=acme/2&ts=1790000000"
    assert recognise(asked(f"{genuine}&sig={sign('new-secret', 'GET', genuine)}")).partner == "acme"
    with pytest.raises(Unauthorized):
        recognise(asked(query.format(ts=STAMP, sig=sign("new-secret", "GET", genuine))))


@pytest.mark.parametrize("stamp", ["-1790000000", "1790000000.5", "1e9", "", "٣", "9" * 13, "now"])
def test_odd_time_stamps(stamp: str) -> None:
    """Seconds, whole, in plain digits, even where the signature fits."""
    query = f"txid=1&key=acme/2&ts={stamp}"
    with pytest.raises(Unauthorized):
        recognise(asked(f"{query}&sig={sign('new-secret', 'GET', query, stamp=stamp)}"))


def test_another_method_is_another_message() -> None:
    """A signature of GET signs no POST."""
    query = f"txid=1&key=acme/2&ts={STAMP}"
    with pytest.raises(Unauthorized):
        recognise(asked(f"{query}&sig={sign('new-secret', 'GET', query)}", method="POST"))


@pytest.mark.parametrize(
    ("query", "form", "headers"),
    [
        ("token=a-token", {}, {}),
        ("", {"token": "another-token"}, {}),
        ("", {}, {"authorization": "Bearer a-token"}),
        ("", {"token": 7}, {"authorization": "Bearer a-token"}),
        ("", {}, {"x_api_key": "another-token"}),
    ],
)
def test_token(query: str, form: dict[str, Any], headers: dict[str, str]) -> None:
    """For networks that can't sign: in the address, the body, or a header."""
    assert recognise(asked(query, "198.51.100.7", **headers), form) == Sender("netw", 0)


@pytest.mark.parametrize("token", ["a-toke", "a-token2", "netw/1", "netw/1:a-token", "new-secret", " a-token", ""])
def test_wrong_token(token: str) -> None:
    """Another text, or another partner's signing key."""
    with pytest.raises(Unauthorized):
        recognise(asked("", "198.51.100.7"), {"token": token})


@pytest.mark.parametrize(
    ("peer", "query", "allowed"),
    [
        ("192.0.2.200", "acme", True),
        ("2001:db8::1", "acme", True),
        ("192.0.3.1", "acme", False),
        ("198.51.100.7", "netw", True),
        ("198.51.100.8", "netw", False),
        ("203.0.113.99", "solo", True),
    ],
)
def test_addresses(peer: str, query: str, *, allowed: bool) -> None:
    """Where a partner's networks are listed, no other is let in, key or not."""
    text = "token=a-token" if query == "netw" else f"key={'acme/2' if query == 'acme' else query}&ts={STAMP}"
    secret = {"acme": "new-secret", "solo": "solo-secret"}.get(query)
    request = asked(f"{text}&sig={sign(secret, 'GET', text)}" if secret else text, peer)
    if allowed:
        assert recognise(request).partner == query
    else:
        with pytest.raises(Unauthorized, match="addresses"):
            recognise(request)


def test_sites() -> None:
    """Where they are listed, no others; else all."""
    assert (PARTNERS.may_tell_of("acme", "blog"), PARTNERS.may_tell_of("acme", "other")) == (True, False)
    assert PARTNERS.may_tell_of("netw", "other")


@pytest.mark.parametrize(
    ("offset", "in_force"), [(0, True), (WINDOW_S, True), (-WINDOW_S, True), (WINDOW_S + 1, False), (-301, False)]
)
def test_stale(offset: int, *, in_force: bool) -> None:
    """Five minutes either way; a token has no time."""
    sender, now = Sender("acme", 1_790_000_000_000), 1_790_000_000_000 + offset * 1000
    check_time(Sender("acme", 0), now)
    if in_force:
        check_time(sender, now)
    else:
        with pytest.raises(Unauthorized, match="time stamp"):
            check_time(sender, now)


def test_an_unknown_key_costs_what_a_known_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature is computed and compared in constant time whether there is such a key or not."""
    compared = []
    real = hmac.compare_digest

    def compare(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    for key in ("acme/2", "nobody"):
        with pytest.raises(Unauthorized, match="^the key or the signature is wrong$"):
            recognise(asked(f"key={key}&ts={STAMP}&sig={'0' * 64}"))
    assert [len(one) for one, _ in compared] == [64, 64]


def test_nobody_is_set_up() -> None:
    """Then nobody is let in, whatever they present."""
    with pytest.raises(Unauthorized, match="no partner"):
        Partners().recognise(asked("token=x"), {"token": "x"}, {}, b"")


@pytest.mark.parametrize(
    "stated",
    [
        {"keys": "my-secret"},
        {"keys": "a:my-secret,a:my-secret"},
        {"tokens": ":my-secret"},
        {"tokens": "a:my-secret", "networks": "a=1.2.3.4/99"},
        {"tokens": "a:my-secret", "networks": "b=1.2.3.4"},
        {"tokens": "a:my-secret", "networks": "a"},
        {"tokens": "a:my-secret", "sites": "a="},
        {"tokens": "a:my-secret", "sites": "b=shop"},
    ],
)
def test_mistakes_show_no_secret(stated: dict[str, str]) -> None:
    """One line that names the setting."""
    with pytest.raises(ConfigurationError, match="postback_") as caught:
        Partners(**stated)
    assert "my-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=40), st.text("abc&=%", max_size=30))
def test_what_is_signed(body: bytes, query: str) -> None:
    """Four lines; of the address all but the signature itself."""
    assert to_sign(STAMP, "POST", f"{query}&sig=ff", body) == f"{STAMP}\nPOST\n{query}\n".encode() + body
