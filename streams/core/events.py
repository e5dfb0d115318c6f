"""From a record's bytes to an accepted event: read, set the clock right, check its age.

Rule: first step of the flow; what it raises goes to ``dead-letters``. ``received_at`` is the only clock (contract,
section 2).
"""

from __future__ import annotations

from typing import Final

from schemas.errors import Refused
from schemas.events import Event, parse_json, read_event, read_touch
from streams.core.ids import fingerprint

CLOCK_TOLERANCE_MS: Final = 5 * 60_000
"""A sender's clock that differs by more is set right."""
FUTURE_TOLERANCE_MS: Final = 10 * 60_000
_DAY: Final = 86_400_000
MAX_AGE_MS: Final = {
    "click": 7 * _DAY,
    "impression": 7 * _DAY,
    "landing": 7 * _DAY,
    "consent": 7 * _DAY,
    "verdict": 7 * _DAY,
    "conversion": 35 * _DAY,
    "cost": 35 * _DAY,
}
"""How long after it happened an event is still taken; an adjustment's age is judged against its conversion."""
STATEMENTS: Final = frozenset({"consent", "verdict"})
"""Types of events in ``clicks`` that are about touches, and none themselves."""
MAX_ADJUSTMENT_AGE_MS: Final = 180 * _DAY


def accept(value: bytes | None, timestamp: int, topic: str) -> Event:
    """The event in a record's `value`: its content, with ``fp`` (the content's fingerprint) and ``received_at``.

    `timestamp` is the record's own, in ms, used where the event has no ``received_at``. Other fields that say how the
    event travelled are taken off. Raises `Refused`.
    """
    if value is None:
        raise Refused("malformed", "the record has no value")
    event = (read_touch(value) if topic == "clicks" else None) or read_event(parse_json(value), topic)
    take = event.pop
    received = take("received_at", timestamp)
    sent = take("sent_at", None)
    take("ip", None)
    take("user_agent", None)
    take("schema", None)
    event["fp"] = fingerprint(event)
    event["received_at"] = received
    settle(event, sent)
    return event


def settle(event: Event, sent: int | None) -> None:
    """Set the sender's clock right by when it `sent` the event, then check the age.

    Raises `Refused` (``too_old``, ``in_future``).
    """
    received = event["received_at"]
    if sent is not None and not -CLOCK_TOLERANCE_MS <= received - sent <= CLOCK_TOLERANCE_MS:
        event["time"] = max(0, event["time"] + received - sent)
    age = received - event["time"]
    if age < -FUTURE_TOLERANCE_MS:
        raise Refused("in_future", f"{-age / 1000:,.0f} s ahead of its receipt; at most {FUTURE_TOLERANCE_MS // 1000}")
    limit = MAX_AGE_MS.get(event.get("type", "cost"))
    if limit is not None and age > limit:
        raise Refused("too_old", f"received {age / _DAY:,.1f} d after it happened; at most {limit // _DAY}")


def moment(event: Event) -> tuple[int, bytes]:
    """The order of touches, facts and statements: time, then event id in byte order (contract, section 3, rule 1)."""
    return event["time"], event["event_id"].encode()
