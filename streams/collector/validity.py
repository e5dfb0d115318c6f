"""Why a touch is none of a person's: what its request shows, and the verdict that says so downstream.

Rule: a doubtful touch is kept like any other and a ``verdict`` event about it follows, in the same partition: so it
counts as invalid traffic, with its reasons, and a person may overrule it by a later verdict. The verdict is a pure
function of the touch and the reasons: where a touch is sent again, so is the same verdict, and both count once.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.collector.agents import judge_agent
from streams.collector.eventlog import Record

if TYPE_CHECKING:
    from schemas.reasons import InvalidReason
    from streams.collector.messages import RequestHeaders

TOUCHES: Final = ("click", "impression", "landing")
_PURPOSES: Final = ("sec-purpose", "purpose", "x-purpose", "x-moz")
"""Headers by which browsers say that nobody asked for what they load: the standard's, and older ones of Chromium,
Safari and Firefox."""


def doubt_of_headers(headers: RequestHeaders) -> InvalidReason | None:
    """What a browser itself says of a request that nobody may ever see the answer of."""
    for name in _PURPOSES:
        purpose = headers.get(name)
        if purpose is not None:
            purpose = purpose.lower()
            if "preview" in purpose:
                return "preview"
            if "prefetch" in purpose or "prerender" in purpose:
                return "prefetch"
    return None


def doubt_of_agent(user_agent: str | None, *, speaks_for: bool) -> InvalidReason | None:
    """What a user agent proves; `speaks_for`: the sender names the visitor itself.

    A program that does so is someone's server, and what it calls itself says nothing of the visitor.
    """
    agent = judge_agent(user_agent)
    if agent == "browser" or (agent == "program" and speaks_for):
        return None
    return "preview" if agent == "preview" else "bot"


def verdict_on(touch: dict[str, Any], reasons: list[InvalidReason], received_at: int) -> Record:
    """The record of the verdict on `touch`, an event that was accepted just now (milliseconds)."""
    identity = [touch["site"], touch["visitor_id"], touch["event_id"], *reasons]
    verdict = {
        "event_id": f"v-{hashlib.blake2b(orjson.dumps(identity), digest_size=16).hexdigest()}",
        "type": "verdict",
        "time": touch["time"],
        "site": touch["site"],
        "visitor_id": touch["visitor_id"],
        "touch_event_id": touch["event_id"],
        "valid": False,
        "reasons": reasons,
        "received_at": received_at,
    }
    if "sent_at" in touch:
        verdict["sent_at"] = touch["sent_at"]  # so that both times are set right alike
    return Record("clicks", touch["visitor_id"], orjson.dumps(verdict), received_at)
