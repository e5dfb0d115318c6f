"""From a letter to the records that send it again. Pure.

Rule: what is sent goes through the check that refused it: a letter from a topic through the worker's
(`streams.core.events`), one from ``http`` through the collector's (`streams.collector.intake`). Topic, key and
partition follow from the event, so that one that lay in the wrong place comes to the right one. An event is judged by
when it was first received: it is as old as it was. What would be refused again is not sent, for it would only make
another letter; a letter of several events is sent whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from schemas.errors import Refused
from schemas.events import TOPIC_OF, parse_json, read_event, read_time
from schemas.topics import INPUTS, MAX_RECORD_BYTES
from streams.collector.intake import Origin, Unacceptable, read_body, record_key
from streams.core.events import settle
from streams.core.ids import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.cli.dead_letters.letters import Letter

_EVENT_TOPICS: Final = frozenset(TOPIC_OF.values())
_HEADER: Final = "dead_letter"
"""On a record that was sent again: its letter."""


class Outgoing(NamedTuple):
    """A record to be written."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be sent for one letter; where anything of it is `refused` there are no records."""

    letter: Letter
    mended: bool
    records: list[Outgoing] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rules:
    """How letters are sent: what the collector's settings say, and over how many partitions (which Kafka knows).

    `received`: judge events as if they were received at this time (ms) instead of when they were.
    `anyway`: send letters from a topic even where they would be refused again.
    """

    partitions: int = 1
    secret: bytes = b""
    keep_ip: Callable[[str], str] = str
    received: int | None = None
    anyway: bool = False


def plan(letter: Letter, rules: Rules, mended: Sequence[bytes] | None = None) -> Plan:
    """What sends `letter` again; `mended`: what to send instead of its own bytes."""
    made = Plan(letter, mended is not None)
    send = _from_http if letter.topic == "http" else _from_topic
    for value in (letter.value,) if mended is None else mended:
        try:
            send(made, rules, value)
        except Refused as refusal:
            made.refused.append(refusal)
    if made.refused:
        made.records.clear()
    return made


def _from_topic(made: Plan, rules: Rules, value: bytes) -> None:
    letter = made.letter
    if letter.topic not in INPUTS:
        raise Refused("malformed", f"it came from {letter.topic or 'nowhere'!r}, which nothing can be sent to")
    if letter.topic in _EVENT_TOPICS:
        try:
            made.records.append(_event(made, rules, value))
        except Refused:
            if not rules.anyway:
                raise
        else:
            return
    # Where nothing can be read, or nobody but the worker reads it: as it lay.
    partition = letter.partition if letter.partition is not None else partition_of(letter.key or b"", rules.partitions)
    made.records.append(Outgoing(letter.topic, partition, letter.key, value, _headers(letter)))


def _event(made: Plan, rules: Rules, value: bytes) -> Outgoing:
    letter = made.letter
    data = parse_json(value)
    # A cost statement need not say that it is one.
    event = read_event(data, "costs" if letter.topic == "costs" and not data.get("type") else None)
    first = event.get("received_at", letter.time)
    received = first if rules.received is None else rules.received
    sent = event.get("sent_at")
    if sent is not None:
        sent += received - first
    kind = event.get("type", "cost")
    key = record_key(event).encode()
    settle(event | {"received_at": received}, sent)
    if letter.reason == "id_collision" and not made.mended:
        raise Refused("id_collision", "the event that came first holds; give this one an event_id of its own")
    if rules.received is not None:
        value = orjson.dumps(data | {"received_at": received} | ({} if sent is None else {"sent_at": sent}))
    elif not data.get("received_at"):
        value = _stating(value, data, received)
    if len(value) > MAX_RECORD_BYTES:
        raise Refused("too_large", f"{len(value):,} bytes with its time of receipt; at most {MAX_RECORD_BYTES:,}")
    topic = TOPIC_OF[kind]
    return Outgoing(topic, partition_of(key, rules.partitions), key, value, _headers(letter))


def _stating(value: bytes, data: dict[str, Any], received: int) -> bytes:
    """The event in `value` that states when it was received; its other bytes stay as they are."""
    if "received_at" in data:
        return orjson.dumps(data | {"received_at": received})
    start = value.index(b"{") + 1
    return b'%b"received_at":%d,%b' % (value[:start], received, value[start:])


def _from_http(made: Plan, rules: Rules, value: bytes) -> None:
    letter = made.letter
    received = letter.time
    if rules.received is not None:
        value, received = _later(value, rules.received - received), rules.received
    try:
        intake = read_body(value, Origin(received, "", None, keep_ip=rules.keep_ip), rules.secret)
    except Unacceptable as error:
        raise error.refusal from None
    if not intake.records and not intake.rejected:
        raise Refused("malformed", "an array without events")
    made.refused.extend(Refused(refused["reason"], refused["detail"]) for refused in intake.rejected)
    for record in (*intake.records, *intake.verdicts):
        key = (record.key or "").encode()
        partition = partition_of(key, rules.partitions)
        made.records.append(Outgoing(record.topic, partition, key, record.value, _headers(letter)))


def _later(value: bytes, by: int) -> bytes:
    """The events in `value` as sent later by so many milliseconds: a clock that was wrong stays as wrong as it was."""
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    found = False
    for event in data if isinstance(data, list) else [data]:
        sent = event.get("sent_at") if isinstance(event, dict) else None
        if isinstance(sent, int | float | str) and not isinstance(sent, bool) and sent != "":
            try:
                event["sent_at"] = read_time(sent) + by
            except Refused:
                continue
            found = True
    return orjson.dumps(data) if found else value


def _headers(letter: Letter) -> list[tuple[str, bytes]]:
    return [(_HEADER, letter.id.encode())]
