"""From what a request states to Kafka records: check, complete, choose topic and key.

Rule: pure, and one event never affects its neighbours. The value of a record is the event as it was stated plus
``received_at``, ``ip`` (what may be kept of it) and ``user_agent``, less what links it to a visitor who denied consent;
the checks are those of the worker (`schemas.events`, `streams.core.events`). A touch that is none of a person's is
followed by a verdict (`streams.collector.validity`). What is refused becomes a record for ``dead-letters`` with its
original bytes.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

import msgspec
import orjson

from schemas.errors import Refused
from schemas.events import TOPIC_OF, read_event
from streams.collector.eventlog import Record
from streams.collector.privacy import unlink, without_addresses
from streams.collector.validity import TOUCHES, doubt_of_agent, verdict_on
from streams.core.addresses import decoded
from streams.core.events import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.reasons import InvalidReason, Reason

MAX_EVENT_BYTES: Final = 65_536
"""One event at the collector (contract, section 2)."""
MAX_EVENTS: Final = 500
"""Events of one request (contract, section 6)."""
MAX_BODY_BYTES: Final = 8_000_000
"""One request; as a dead letter it must fit its topic (`schemas.topics.LARGE_BYTES`)."""
MAX_VALUES: Final = 200_000
"""Values of one request, by the characters that part them: in memory the smallest take thirty times their bytes."""
MAX_USER_AGENT: Final = 2048
MAX_DEPTH: Final = 16
"""How deeply an event's unknown fields may be nested."""
_MAX_DETAIL: Final = 500

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_LINKED: Final = (*TOUCHES, "conversion")
"""Events that Global Privacy Control takes the visitor from; a consent statement is about that very visitor."""
_WITH_A_KEY: Final = ("cost", "verdict", "adjustment")
"""Events that no visitor's browser has to tell: they spend, withdraw and judge."""
_NUMBERS: Final = ("time", "sent_at", "from", "to", "impressions", "clicks", "schema")
_raw_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Origin(NamedTuple):
    """Where events come from, when they arrived (milliseconds), and what their request says of itself."""

    received_at: int
    ip: str
    """What may be kept of it; '' where that is nothing."""
    user_agent: str | None
    opted_out: bool = False
    """Global Privacy Control."""
    doubt: InvalidReason | None = None
    """Why nobody may ever see the answer."""
    keep_ip: Callable[[str], str] = str
    """What may be kept of an address that an event states."""
    keyed: bool = True
    """Whether a key proves that it is the shop's own word, or nobody has one."""


class Rejection(TypedDict):
    """One refused event of a request, as the answer says it."""

    index: int
    reason: Reason
    detail: str


class Intake(NamedTuple):
    """What becomes of a body: records of events, of verdicts on them and for ``dead-letters``, and what to answer."""

    records: list[Record]
    verdicts: list[Record]
    dead_letters: list[Record]
    rejected: list[Rejection]


class Unacceptable(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A body is refused as a whole: the status of the answer, and its refusal."""

    def __init__(self, status: int, refusal: Refused) -> None:
        super().__init__(str(refusal))
        self.status = status
        self.refusal = refusal


def read_body(body: bytes, origin: Origin, secret: bytes) -> Intake:
    """Check the events of `body`: one JSON object, or an array of them.

    `secret` keys the visitor ids that stand in where consent is denied. Raises `Unacceptable`.
    """
    if len(body) > MAX_VALUES and body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise Unacceptable(413, Refused("too_large", f"more than {MAX_VALUES:,} values in one request"))
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unacceptable(400, Refused("malformed", str(error))) from None
    if type(data) is list:
        if len(data) > MAX_EVENTS:
            refusal = Refused("too_large", f"{len(data):,} events in one request; at most {MAX_EVENTS}")
            raise Unacceptable(413, refusal)
        return _read_array(body, data, origin, secret)
    if type(data) is not dict:
        raise Unacceptable(400, Refused("malformed", "neither an object nor an array of objects"))
    intake = Intake([], [], [], [])
    try:
        _check_size(body)
        _take(intake, data, origin, secret)
    except Refused as refusal:
        _reject(intake, 0, refused_value(body, data, origin, secret), refusal, origin)
    return intake


def take_event(data: dict[str, Any], origin: Origin, secret: bytes) -> Record:
    """The record of one stated event; `data` is completed in place. Raises `Refused`."""
    data["received_at"] = origin.received_at
    _place(data, origin)
    kind = data.get("type")
    if origin.opted_out and kind in _LINKED:
        data["consent"] = "denied"
    if data.get("consent") == "denied" and kind != "consent":
        unlink(data, secret)
    if not origin.keyed and kind in _WITH_A_KEY:
        raise Refused("schema", f"type: {kind} is taken with an API key alone")
    event = read_event(data)
    kind = event.get("type", "cost")
    settle(event, event.get("sent_at"))
    if "extra" in event and is_deeper(event["extra"], MAX_DEPTH):
        raise Refused("schema", f"unknown fields: nested more than {MAX_DEPTH} deep")
    try:
        value = orjson.dumps(data)
    except TypeError as error:
        raise Refused("schema", f"event: {error}") from None
    return Record(TOPIC_OF[kind], record_key(event), value, origin.received_at)


def doubts(data: dict[str, Any], origin: Origin, *, named: bool = True) -> list[InvalidReason]:
    """Why the accepted event `data` is none of a person's; empty where it may be, and where it is no touch.

    `named`: the sender itself named the visitor, which who only fetches an address does not.
    """
    agent = doubt_of_agent(data.get("user_agent"), speaks_for=named)
    if (agent is None and origin.doubt is None) or data.get("type") not in TOUCHES:
        return []
    return [reason for reason in dict.fromkeys((agent, origin.doubt)) if reason is not None]


def record_key(event: dict[str, Any]) -> str:
    """The key of a checked event: visitor id, order id or the conversion's event id, campaign (contract, section 1)."""
    kind = event.get("type", "cost")
    topic = TOPIC_OF[kind]
    if topic == "clicks":
        key = event["visitor_id"]
    elif topic == "costs":
        key = decoded(event["campaign"]).lower()  # in whatever spelling, as the worker partitions them
    elif "order_id" in event:
        key = event["order_id"]
    else:
        key = event["conversion_event_id" if kind == "adjustment" else "event_id"]
    return str(key)


def typed_parameters(parameters: dict[str, str]) -> dict[str, Any]:
    """Query parameters as the values that the same event would have in JSON."""
    data: dict[str, Any] = dict(parameters)
    for name in _NUMBERS:
        if name in data and _WHOLE.fullmatch(data[name]):
            data[name] = int(data[name])
    if "valid" in data:
        data["valid"] = {"true": True, "1": True, "false": False, "0": False}.get(data["valid"], data["valid"])
    if "reasons" in data:
        data["reasons"] = [part for part in data["reasons"].split(",") if part]
    return data


def is_deeper(value: object, levels: int) -> bool:
    """Whether `value` has objects or arrays inside of each other more than so many times."""
    if type(value) is not dict and type(value) is not list:
        return False
    if not levels:
        return True
    inner = value.values() if type(value) is dict else value
    return any(is_deeper(item, levels - 1) for item in inner)


def refused_value(raw: bytes, data: object, origin: Origin, secret: bytes) -> bytes:
    """What is kept of an event that is refused: its bytes, but without what links it to one who denied consent.

    Else it would be somebody's again when it is replayed, since the request's headers are not with it then.
    """
    if type(data) is not dict or data.get("type") == "consent":
        return raw
    if data.get("consent") != "denied" and not origin.opted_out:
        return raw
    stated = {name: value for name, value in data.items() if name != "received_at"} | {"consent": "denied"}
    unlink(stated, secret)
    try:
        return orjson.dumps(stated)
    except TypeError:  # nested too deeply to be written
        return b"{}"


def dead_letter(value: bytes, refusal: Refused, origin: Origin) -> Record:
    """The record in ``dead-letters`` for what was refused: its bytes as they came, but for addresses of people."""
    time = origin.received_at
    headers = [
        ("reason", refusal.reason.encode()),
        ("detail", refusal.detail[:_MAX_DETAIL].encode()),
        ("topic", b"http"),
        ("partition", b""),
        ("offset", b""),
        ("time", b"%d" % time),
        # Where Kafka's answer is lost it is written again; by its id it counts once.
        ("id", secrets.token_hex(8).encode()),
    ]
    return Record("dead-letters", None, without_addresses(value, origin.keep_ip), time, headers)


def _read_array(body: bytes, data: list[Any], origin: Origin, secret: bytes) -> Intake:
    intake = Intake([], [], [], [])
    # Where each element lies in the body is only worked out where it matters: it costs as much as parsing.
    parts = _parts(body) if len(body) > MAX_EVENT_BYTES else None
    for index, item in enumerate(data):
        try:
            if parts is not None:
                _check_size(parts[index])
            _take(intake, _check_object(item), origin, secret)
        except Refused as refusal:
            if parts is None:
                parts = _parts(body)
            _reject(intake, index, refused_value(parts[index], item, origin, secret), refusal, origin)
    return intake


def _take(intake: Intake, data: dict[str, Any], origin: Origin, secret: bytes) -> None:
    intake.records.append(take_event(data, origin, secret))
    if reasons := doubts(data, origin):
        intake.verdicts.append(verdict_on(data, reasons, origin.received_at))


def _place(data: dict[str, Any], origin: Origin) -> None:
    """State where the event comes from: as the sender says, else as the request shows."""
    stated = data.get("ip")
    if not stated:
        stated = origin.ip
    elif type(stated) is str:
        stated = origin.keep_ip(stated)
    if stated:
        data["ip"] = stated
    else:
        data.pop("ip", None)
    if not data.get("user_agent") and origin.user_agent:
        data["user_agent"] = origin.user_agent[:MAX_USER_AGENT]


def _parts(body: bytes) -> list[bytes]:
    """The original bytes of every element of the array `body`; raises `Unacceptable`."""
    try:
        return [bytes(part) for part in _raw_parts(body)]
    except (msgspec.DecodeError, RecursionError):
        raise Unacceptable(400, Refused("malformed", "nested too deeply")) from None


def _check_object(item: object) -> dict[str, Any]:
    if type(item) is not dict:
        raise Refused("malformed", "not an object")
    return item


def _check_size(raw: bytes) -> None:
    if len(raw) > MAX_EVENT_BYTES:
        raise Refused("too_large", f"{len(raw):,} bytes; at most {MAX_EVENT_BYTES:,} an event")


def _reject(intake: Intake, index: int, raw: bytes, refusal: Refused, origin: Origin) -> None:
    intake.rejected.append(Rejection(index=index, reason=refusal.reason, detail=refusal.detail))
    intake.dead_letters.append(dead_letter(raw, refusal, origin))
