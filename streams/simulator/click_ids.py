"""Signed click ids as the shop's redirects hand them out.

Rule: written from the format, not from the core's code, so that the two check each other: ``hw1.BODY.SIGNATURE``, both
base64url without padding; BODY is the JSON array [visitor, campaign, nonce in base64, key name], SIGNATURE the first 12
bytes of its HMAC-SHA256.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Final

DEFAULT_KEYS: Final = "simulated:not-a-secret"
"""What signs where no keys are given; written as in the setting ``click_id_keys``."""


def mint(visitor_id: str, campaign: str, nonce: bytes, keys: str = DEFAULT_KEYS) -> str:
    """A click id of `visitor_id` and `campaign`, signed with the first of `keys` (``name:secret,...``)."""
    name, _, secret = keys.split(",", 1)[0].strip().partition(":")
    body = json.dumps([visitor_id, campaign, base64.b64encode(nonce).decode(), name], separators=(",", ":")).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).digest()[:12]
    return f"hw1.{_text(body)}.{_text(signature)}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
