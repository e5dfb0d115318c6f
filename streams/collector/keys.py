"""API keys: who may import, and whose requests are limited by key rather than by address.

Rule: a key has an id, so that it can be rotated (set both, then drop the old one) and named without being shown. What
is presented is compared with every key, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError
from streams.core.ids import read_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.collector.messages import RequestHeaders


class Keys:
    """Secrets by id, from ``id:secret,id2:secret2``; raises `ConfigurationError` that names `setting`."""

    def __init__(self, text: str, setting: str) -> None:
        self._digests = [(name, _digest(secret)) for name, secret in read_setting(text, setting)]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def find(self, presented: str | None) -> str | None:
        """The id of the key that was `presented`, or None."""
        if not presented or not self._digests:
            return None
        digest = _digest(presented.encode())
        found = None
        for name, known in self._digests:
            if hmac.compare_digest(known, digest):
                found = name
        return found


def read_setting(text: str, setting: str) -> list[tuple[str, bytes]]:
    """The pairs of ``id:secret,...`` in a setting; raises `ConfigurationError`, which shows no secret."""
    try:
        pairs = read_keys(text)
    except ValueError:
        raise ConfigurationError(f"{setting}: keys are written id:secret, separated by commas") from None
    if twice := _repeated(name for name, _ in pairs):
        raise ConfigurationError(f"{setting}: the id {twice!r} is there twice")
    return pairs


def presented_key(headers: RequestHeaders) -> str | None:
    """The key that a request presents: ``Authorization: Bearer KEY`` or ``X-Api-Key: KEY``."""
    authorization = headers.get("authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        return value.strip() if scheme.lower() == "bearer" else None
    return headers.get("x-api-key")


def _digest(secret: bytes) -> bytes:
    """Of one length whatever the secret's, so that comparing tells nothing of it."""
    return hashlib.sha256(secret).digest()


def _repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
