"""Identities: hashes of what is only compared, conversion ids, partitions, and our signed click ids.

Rule: an id is a pure function of what it identifies; parts are joined so that no two lists of parts look alike.
Only `verify_click_id` may be believed about a sender; `read_click_id` says what a click id claims.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from murmurhash2 import murmurhash2
from xxhash import xxh3_64_digest, xxh3_64_hexdigest, xxh3_128_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemas.events import Event

_KAFKA_SEED: Final = 0x9747B28C
_SORTED: Final = orjson.OPT_SORT_KEYS
_SIGNATURE_BYTES: Final = 12


def conversion_id(site: str, action: str, order_id: str, event_id: str) -> str:
    """32 hex digits that name a conversion: by site, action and order id, or without order id by site and event id."""
    parts = [site, action, order_id] if order_id else [site, event_id]
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()


def visitor_hash(site: str, visitor_id: str) -> bytes:
    """16 bytes for a visitor of a site."""
    return visitor_hasher(site)(visitor_id.encode())


@lru_cache(maxsize=4096)
def visitor_hasher(site: str) -> Callable[[bytes], bytes]:
    """For one site: a visitor id's bytes to `visitor_hash`."""
    prefix = f"{len(site)}:{site}".encode()
    return lambda visitor: xxh3_128_digest(prefix + visitor)


def event_hash(event_id: str) -> bytes:
    """8 bytes for an event id among one visitor's or one order's."""
    return xxh3_64_digest(event_id.encode())


def fingerprint(content: Event) -> str:
    """16 hex digits of an event's content: all fields but `schemas.events.NO_CONTENT`, which the caller takes off."""
    return xxh3_64_hexdigest(orjson.dumps(content, option=_SORTED))


def partition_of(key: str | bytes, partitions: int) -> int:
    """The partition of a record key, as Kafka's default partitioner (murmur2) has it."""
    hashed: int = murmurhash2(key if isinstance(key, bytes) else key.encode(), _KAFKA_SEED)
    return (hashed & 0x7FFFFFFF) % partitions


class ClickId(NamedTuple):
    """What a click id of ours says."""

    visitor_id: str
    campaign: str
    nonce: bytes
    site: str = ""
    """'' in ids that were minted before sites were in them."""


def read_keys(text: str) -> list[tuple[str, bytes]]:
    """Signing keys from ``id:secret,id2:secret2``; the first one signs, all of them verify."""
    keys = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, secret = part.partition(":")
        if not colon or not name or not secret:
            raise ValueError("click id keys are written id:secret, separated by commas")
        keys.append((name, secret.encode()))
    return keys


def mint_click_id(
    visitor_id: str, campaign: str, nonce: bytes, keys: Sequence[tuple[str, bytes]], site: str = ""
) -> str:
    """A signed click id, URL-safe: it names the visitor (and so the partition), the campaign and its site."""
    name, secret = keys[0]
    parts = [visitor_id, campaign, base64.b64encode(nonce).decode(), name]
    body = orjson.dumps([*parts, site] if site else parts)
    return f"hw1.{_encode(body)}.{_encode(_sign(body, secret))}"


def read_click_id(text: str) -> ClickId | None:
    """What `text` says as a click id of ours, unverified; None where it is none."""
    parsed = _parse(text)
    return parsed[0] if parsed else None


def verify_click_id(text: str, keys: Sequence[tuple[str, bytes]]) -> ClickId | None:
    """The click id in `text` where one of `keys` signed it, else None."""
    parsed = _parse(text)
    if parsed is None:
        return None
    click, name, body, signature = parsed
    secret = dict(keys).get(name)
    if secret is None or not hmac.compare_digest(_sign(body, secret), signature):
        return None
    return click


def _parse(text: str) -> tuple[ClickId, str, bytes, bytes] | None:
    parts = text.split(".")
    if len(parts) != 3 or parts[0] != "hw1":
        return None
    try:
        body, signature = _decode(parts[1]), _decode(parts[2])
        visitor_id, campaign, nonce, name, *rest = orjson.loads(body)
        click = ClickId(visitor_id, campaign, base64.b64decode(nonce, validate=True), *rest)
    except (ValueError, TypeError, binascii.Error):
        return None
    if (_encode(body), _encode(signature)) != (parts[1], parts[2]):
        return None  # base64 has several texts for the same bytes; one click has one id
    if not (visitor_id and all(isinstance(part, str) for part in (visitor_id, campaign, name, click.site))):
        return None
    return click, name, body, signature


def _sign(body: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, body, "sha256")[:_SIGNATURE_BYTES]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
