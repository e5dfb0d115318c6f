"""What links an event to a person: what is taken from it before it is kept.

Rule: where consent is denied no field of ours is left by which two events could be told to be the same visitor's
(contract, section 2); of an address of the network only what the setting lets through is kept. In what is refused too:
its bytes are kept as they came, but for that.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.collector.validity import TOUCHES

if TYPE_CHECKING:
    from collections.abc import Callable

_CLICK_ID_PARAMETER: Final = re.compile(r"([?&#])hw_cid=[^&#]*&?")
_STATED_IP: Final = re.compile(rb'("ip"\s*:\s*)("(?:[^"\\]|\\.)*")')


def unlink(data: dict[str, Any], secret: bytes) -> None:
    """Take from `data` what links it to a visitor who denied consent (contract, section 2), in place.

    The visitor id that stands in is random to anyone without `secret`, and the same when the event is sent again: a
    retry must stay a duplicate.
    """
    if data.get("type") in TOUCHES or data.get("visitor_id"):
        event = f"{data.get('site')}\n{data.get('type')}\n{data.get('event_id')}"
        data["visitor_id"] = hmac.digest(secret, event.encode(), "sha256").hex()[:32]
    for name in ("click_id", "user_id", "ip"):
        data.pop(name, None)
    for name in ("url", "referrer"):
        address = data.get(name)
        if isinstance(address, str) and "hw_cid=" in address:
            data[name] = without_click_id(address)


def without_click_id(address: str) -> str:
    """`address` without our click id among its parameters."""
    return _CLICK_ID_PARAMETER.sub(r"\1", address).rstrip("?&")


def without_addresses(text: bytes, keep_ip: Callable[[str], str]) -> bytes:
    """`text` (JSON, or something like it) with what may be kept of each address that stands under ``ip`` in it."""

    def replaced(found: re.Match[bytes]) -> bytes:
        try:
            stated = orjson.loads(found[2])
        except orjson.JSONDecodeError:
            return found[1] + b'""'
        kept = keep_ip(stated)
        return found[0] if kept == stated else found[1] + orjson.dumps(kept)

    return _STATED_IP.sub(replaced, text)
