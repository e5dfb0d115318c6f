"""Partners: who may send postbacks, and the proof that it is them.

Rule: a postback is signed with a partner's key (HMAC-SHA256, in force for five minutes), or bears a token of the
partner's where its network can't sign. A key's id is ``PARTNER/ANYTHING``, or ``PARTNER`` alone, so that a partner has
as many keys as a rotation needs. Where addresses or sites are listed for a partner, others are refused. The answer says
what is wrong only to those whose key is right.

The string that is signed has four lines, without a line feed at its end:

    the time stamp, as sent (seconds since the epoch)
    the method, GET or POST
    the query string as sent, without its parameter `sig`
    the body as sent; nothing for GET
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from schemas.errors import ConfigurationError
from streams.collector.keys import Keys, presented_key, read_setting
from streams.collector.networks import Networks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.collector.messages import Request

WINDOW_S: Final = 300
"""How far a time stamp may be from our clock, either way."""
SECRET_PARAMETERS: Final = ("key", "ts", "sig", "token")
"""Parameters that prove who sends, and are no part of the event."""
_TIME: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE: Final = re.compile(r"(?:sha256=)?([0-9a-fA-F]{64})", re.ASCII)
_NO_KEY: Final = b"no key has this id"


class Unauthorized(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A request does not prove whose it is; its text is for the sender."""


class Sender(NamedTuple):
    """Who sent a postback, and when by its signature (milliseconds; 0 where it bears a token)."""

    partner: str
    signed_at: int


class Partners:
    """All partners, from the settings ``postback_...``.

    `keys` and `tokens` are written ``id:secret,...``, `networks` and `sites` ``partner=one two,partner2=three``.
    Raises `ConfigurationError`.
    """

    def __init__(self, keys: str = "", tokens: str = "", networks: str = "", sites: str = "") -> None:
        self._keys = dict(read_setting(keys, "postback_keys"))
        self._tokens = Keys(tokens, "postback_tokens")
        listed = _lists(networks, "postback_networks")
        self._networks = {partner: Networks(text, "postback_networks") for partner, text in listed.items()}
        self._sites = {name: frozenset(text.split()) for name, text in _lists(sites, "postback_sites").items()}
        known = {partner_of(name) for name, _ in (*self._keys.items(), *read_setting(tokens, "postback_tokens"))}
        for setting, names in (("postback_networks", self._networks), ("postback_sites", self._sites)):
            if unknown := sorted(names.keys() - known):
                raise ConfigurationError(f"{setting}: {unknown[0]!r} has neither a key nor a token")

    def __bool__(self) -> bool:
        return bool(self._keys) or bool(self._tokens)

    def recognise(self, request: Request, query: Mapping[str, str], form: Mapping[str, Any], body: bytes) -> Sender:
        """Who sent `request`: its parameters are `query`, those in its `body` `form`. Raises `Unauthorized`.

        Whether a time stamp is too old says `check_time`.
        """
        if not self:
            raise Unauthorized("no partner is set up here")
        headers = request.headers
        name = query.get("key") or headers.get("x-headwater-key")
        stamp = query.get("ts") or headers.get("x-headwater-time")
        signature = query.get("sig") or headers.get("x-headwater-signature")
        if name and stamp and signature:
            sender = self._signed(request, body, (name, stamp, signature))
        else:
            stated = query.get("token") or form.get("token")
            token = self._tokens.find(stated if isinstance(stated, str) else presented_key(headers))
            if token is None:
                raise Unauthorized("neither a signature (key, ts, sig) nor a token that is known")
            sender = Sender(partner_of(token), 0)
        allowed = self._networks.get(sender.partner)
        if allowed is not None and request.sender.address not in allowed:
            raise Unauthorized("not from one of this partner's addresses")
        return sender

    def may_tell_of(self, partner: str, site: str) -> bool:
        """Whether `partner` may send conversions of `site`."""
        sites = self._sites.get(partner)
        return sites is None or site in sites

    def _signed(self, request: Request, body: bytes, proof: tuple[str, str, str]) -> Sender:
        name, stamp, signature = proof
        secret = self._keys.get(name)
        given = _SIGNATURE.fullmatch(signature)
        # An unknown key takes as long as a known one.
        expected = hmac.new(secret or _NO_KEY, to_sign(stamp, request.method, request.query, body), "sha256")
        right = given is not None and hmac.compare_digest(expected.hexdigest(), given[1].lower())
        if secret is None or not right or not _TIME.fullmatch(stamp):
            raise Unauthorized("the key or the signature is wrong")
        return Sender(partner_of(name), int(stamp) * 1000)


def check_time(sender: Sender, now_ms: int) -> None:
    """Raise `Unauthorized` where a signature is not of now: someone may have copied it."""
    if sender.signed_at and abs(now_ms - sender.signed_at) > WINDOW_S * 1000:
        raise Unauthorized(f"the time stamp is more than {WINDOW_S} s from now")


def to_sign(stamp: str, method: str, query: str, body: bytes) -> bytes:
    """The bytes that a signature is about."""
    kept = "&".join(part for part in query.split("&") if not part.startswith("sig="))
    return f"{stamp}\n{method}\n{kept}\n".encode(errors="replace") + body


def partner_of(key_id: str) -> str:
    """The partner that a key or token belongs to."""
    return key_id.partition("/")[0]


def _lists(text: str, setting: str) -> dict[str, str]:
    """Partner -> what is listed for it."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        partner, equals, listed = part.partition("=")
        if not equals or not partner.strip() or not listed.strip():
            raise ConfigurationError(f"{setting}: written partner=one two,partner2=three")
        found[partner.strip()] = listed
    return found
