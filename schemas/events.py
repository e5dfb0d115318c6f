"""Input events: the one definition of what a producer may send (contract, section 2).

Rule: an event is checked once, here, and leaves as a plain dict in normal form: only stated fields (no nulls, no empty
texts), ``time``, ``sent_at`` and ``received_at`` as integer milliseconds since the epoch, money as integer micros
(``cost_micros``, ``value_micros``), currencies in capitals, unknown fields under ``extra``. It runs in the collector
and again in the worker, since others may write to Kafka too. TypedDicts rather than models: half the time to validate.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal, NotRequired

import orjson
from iso4217 import Currency
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from schemas.errors import Refused
from schemas.topics import MAX_RECORD_BYTES

Event = dict[str, Any]
"""A checked event in normal form."""

MAX_EXTRA_BYTES: Final = 65_536
"""Most that an event's unknown fields may take together, as JSON."""
MAX_TIME_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z."""
MAX_MICROS: Final = 10**18 - 1
"""Money is Decimal(18, 6) in ClickHouse."""

Id64 = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]
Id128 = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=256)]
Url = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=8192)]
Time = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)] | Annotated[str, Field(strict=True)],
    Field(union_mode="left_to_right", description="Integer milliseconds since the epoch, or ISO 8601 with a zone."),
]
Money = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True)] | Annotated[str, Field(strict=True)],
    Field(
        union_mode="left_to_right",
        description="Decimal amount in major units; as a text where more than 15 digits matter.",
    ),
]
CurrencyCode = Annotated[str, StringConstraints(strict=True, min_length=3, max_length=3)]
Consent = Literal["granted", "denied", "unknown"]
TOUCH_TYPES: Final = ("click", "impression", "landing")

_OPEN = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Common(TypedDict):
    event_id: Annotated[Id64, Field(description="A retry repeats it.")]
    time: Time
    site: Id64
    user_id: NotRequired[Id128]
    sent_at: NotRequired[Time]
    received_at: NotRequired[Time]
    ip: NotRequired[Text]
    user_agent: NotRequired[Annotated[str, StringConstraints(strict=True, min_length=1, max_length=2048)]]
    consent: NotRequired[Consent]
    schema: NotRequired[Literal[1]]


class Touch(_Common):
    """A click, an impression or a landing: someone met an ad, or came to a page."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    type: Literal["click", "impression", "landing"]
    visitor_id: Id128
    url: NotRequired[Annotated[Url, Field(description="The landing address, with UTM parameters and click ids.")]]
    referrer: NotRequired[Url]
    campaign: NotRequired[Text]
    source: NotRequired[Text]
    medium: NotRequired[Text]
    content: NotRequired[Text]
    term: NotRequired[Text]
    ad_group: NotRequired[Text]
    ad: NotRequired[Text]
    placement: NotRequired[Text]
    partner: NotRequired[Text]
    sub1: NotRequired[Text]
    sub2: NotRequired[Text]
    sub3: NotRequired[Text]
    sub4: NotRequired[Text]
    sub5: NotRequired[Text]
    variant: NotRequired[Text]
    audience: NotRequired[Text]
    country: NotRequired[Text]
    device: NotRequired[Text]
    click_id: NotRequired[Annotated[str, StringConstraints(strict=True, min_length=1, max_length=2048)]]
    cost: NotRequired[Money]
    currency: NotRequired[CurrencyCode]


class ConsentStatement(_Common):
    """A visitor's consent, from its time on."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    type: Literal["consent"]
    visitor_id: Id128
    consent: Consent  # type: ignore[misc] # what others may state, this one must


class Verdict(_Common):
    """A judgement on one touch of the visitor; the latest holds."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    type: Literal["verdict"]
    visitor_id: Id128
    touch_event_id: Id64
    valid: Annotated[bool, Field(strict=True)]
    reasons: NotRequired[Annotated[list[Text], Field(max_length=16)]]


class Conversion(_Common):
    """A purchase, lead, sign-up, install or what else the site counts."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    type: Literal["conversion"]
    action: Id64
    order_id: NotRequired[Id128]
    visitor_id: NotRequired[Id128]
    value: NotRequired[Money]
    currency: NotRequired[CurrencyCode]
    status: NotRequired[Literal["approved", "pending", "rejected"]]
    click_id: NotRequired[Annotated[str, StringConstraints(strict=True, min_length=1, max_length=2048)]]
    url: NotRequired[Url]
    referrer: NotRequired[Url]


class Adjustment(_Common):
    """A later word on a conversion; it may come before its conversion."""

    __pydantic_config__ = _OPEN  # type: ignore[misc]
    type: Literal["adjustment"]
    adjustment: Literal["restate", "retract", "approve", "reject"]
    action: NotRequired[Id64]
    order_id: NotRequired[Id128]
    conversion_event_id: NotRequired[Id64]
    value: NotRequired[Money]


Cost = TypedDict(
    "Cost",
    {
        "__pydantic_config__": ConfigDict,
        "event_id": Id64,
        "time": Time,
        "site": Id64,
        "sent_at": NotRequired[Time],
        "received_at": NotRequired[Time],
        "ip": NotRequired[Text],
        "user_agent": NotRequired[Annotated[str, StringConstraints(strict=True, max_length=2048)]],
        "schema": NotRequired[Literal[1]],
        "type": NotRequired[Literal["cost"]],
        "campaign": Text,
        "source": NotRequired[Text],
        "medium": NotRequired[Text],
        "channel": NotRequired[Text],
        "ad_group": NotRequired[Text],
        "ad": NotRequired[Text],
        "variant": NotRequired[Text],
        "from": NotRequired[Time],
        "to": NotRequired[Time],
        "date": NotRequired[Annotated[str, StringConstraints(strict=True, pattern=r"^\d{4}-\d{2}-\d{2}$")]],
        "cost": Money,
        "currency": NotRequired[CurrencyCode],
        "impressions": NotRequired[Annotated[int, Field(strict=True, ge=0, lt=10**15)]],
        "clicks": NotRequired[Annotated[int, Field(strict=True, ge=0, lt=10**15)]],
    },
)
Cost.__doc__ = "A statement of ad spend for one set of dimensions and one period."
Cost.__pydantic_config__ = _OPEN  # type: ignore[attr-defined]
Cost.__annotations__.pop("__pydantic_config__")
Cost.__required_keys__ = Cost.__required_keys__ - {"__pydantic_config__"}

KINDS: Final[dict[str, Any]] = {
    "click": Touch,
    "impression": Touch,
    "landing": Touch,
    "consent": ConsentStatement,
    "verdict": Verdict,
    "conversion": Conversion,
    "adjustment": Adjustment,
    "cost": Cost,
}
"""Event type -> its definition."""

TOPIC_OF: Final[dict[str, str]] = {
    "click": "clicks",
    "impression": "clicks",
    "landing": "clicks",
    "consent": "clicks",
    "verdict": "clicks",
    "conversion": "conversions",
    "adjustment": "conversions",
    "cost": "costs",
}
"""Event type -> the topic it belongs to."""

NO_CONTENT: Final = frozenset({"sent_at", "received_at", "ip", "user_agent", "schema"})
"""Fields that say how an event travelled; all others are its content (contract, identity)."""

_VALIDATORS = {kind: TypeAdapter(form).validator.validate_python for kind, form in KINDS.items()}
_KNOWN = {kind: frozenset(form.__annotations__) | frozenset(_Common.__annotations__) for kind, form in KINDS.items()}
_TOUCH_JSON = TypeAdapter(Touch).validator.validate_json
_KNOWN_OF_TOUCH = _KNOWN["click"]
_CURRENCIES: Final = frozenset(currency.code for currency in Currency)
_DECIMAL = re.compile(r"[+-]?[0-9]{1,24}(\.[0-9]{1,24})?", re.ASCII)
_MICRO = Decimal("0.000001")
_FIRST_DATE, _LAST_DATE = "1970-01-02", "2105-12-31"
"""Days that begin and end, in any time zone, where ClickHouse's DateTime has hours."""
_LAST_HOUR_MS: Final = 4_291_747_200_000
"""2106-01-01."""


def parse_json(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`; raises `Refused` (``too_large``, ``malformed``)."""
    if len(raw) > MAX_RECORD_BYTES:
        raise Refused("too_large", f"{len(raw):,} bytes; at most {MAX_RECORD_BYTES:,}")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused("malformed", str(error)) from None
    if type(data) is not dict:
        raise Refused("malformed", f"a JSON {_JSON_NAMES.get(type(data), 'value')} where an object is expected")
    return data


def read_touch(raw: bytes) -> Event | None:
    """The touch in `raw` in normal form where it is a plain one, as nearly all are; None where it takes a longer look.

    One pass over the bytes instead of two. Whatever is unusual (an error, a null, an empty text, an unknown field)
    is left to `parse_json` and `read_event`, which say what is wrong.
    """
    if len(raw) > MAX_RECORD_BYTES:
        return None
    try:
        event: Event = _TOUCH_JSON(raw)
    except ValidationError:
        return None
    if not _KNOWN_OF_TOUCH.issuperset(event):
        return None
    return _normal(event)


def read_event(data: dict[str, Any], topic: str | None = None) -> Event:
    """Check the object `data` and bring it into normal form.

    Where `topic` is given the event must belong there. Raises `Refused` (``schema``, ``too_large``).
    """
    values = data.values()
    if None in values or "" in values:
        data = {name: value for name, value in data.items() if value is not None and value != ""}
    stated = data.get("type", "cost" if topic == "costs" else None)
    kind = stated if type(stated) is str else ""
    validate = _VALIDATORS.get(kind)
    if validate is None:
        raise Refused("schema", "type: missing" if stated is None else f"type: {str(stated)[:40]!r} is no event type")
    if topic is not None and TOPIC_OF[kind] != topic:
        raise Refused("schema", f"type: {kind} does not belong in {topic}")
    try:
        event: Event = validate(data)
    except ValidationError as error:
        raise Refused("schema", _first_error(error)) from None
    if not _KNOWN[kind].issuperset(event):
        _set_extra_aside(event, _KNOWN[kind])
    _normal(event)
    if kind == "adjustment":
        _check_adjustment(event)
    elif kind == "cost":
        _read_period(event)
    return event


def _normal(event: Event) -> Event:
    """Bring times, currency and money of a validated event into normal form, in place; raises `Refused`."""
    time = event["time"]
    if type(time) is not int or not 0 <= time <= MAX_TIME_MS:
        event["time"] = read_time(time, "time")
    for name in ("sent_at", "received_at"):
        if name in event:
            event[name] = read_time(event[name], name)
    if "currency" in event:
        event["currency"] = read_currency(event["currency"])
    if "cost" in event:
        event["cost_micros"] = micros = read_money(event.pop("cost"), "cost")
        if micros < 0:
            raise Refused("schema", "cost: less than zero")
    if "value" in event:
        event["value_micros"] = read_money(event.pop("value"), "value")
    return event


def read_time(value: float | str, name: str = "time") -> int:
    """Milliseconds since the epoch from milliseconds or ISO 8601 with a zone; raises `Refused`."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise Refused("schema", f"{name}: {value[:40]!r} is not ISO 8601") from None
        if moment.tzinfo is None:
            raise Refused("schema", f"{name}: {value[:40]!r} has no time zone")
        try:
            delta = moment - _EPOCH
        except OverflowError:
            raise Refused("schema", f"{name}: out of range") from None
        value = (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
    elif isinstance(value, float):
        if not value.is_integer():
            raise Refused("schema", f"{name}: milliseconds must be whole")
        value = int(value)
    if not 0 <= value <= MAX_TIME_MS:
        raise Refused("schema", f"{name}: {value} is out of range")
    return value


def read_money(value: float | str, name: str = "value") -> int:
    """Integer micros (half-even) from a decimal amount in major units; raises `Refused`."""
    text = value if isinstance(value, str) else repr(value)
    # Most amounts are short and plain; the decimal library takes three times as long.
    whole, _, fraction = text.partition(".")
    if len(fraction) <= 6 and len(whole) <= 12 and whole.isdecimal() and whole.isascii():
        if text == whole:
            return int(whole) * 1_000_000
        if fraction.isdecimal() and fraction.isascii():
            return int(whole) * 1_000_000 + int(fraction.ljust(6, "0"))
    if isinstance(value, str) and not _DECIMAL.fullmatch(text):
        raise _no_amount(name, text)
    try:
        amount = Decimal(text).quantize(_MICRO, rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        raise _no_amount(name, text) from None
    micros = int(amount.scaleb(6))
    if abs(micros) > MAX_MICROS:
        raise Refused("schema", f"{name}: {text[:40]} is out of range")
    return micros


def _no_amount(name: str, text: str) -> Refused:
    return Refused("schema", f"{name}: {text[:40]!r} is not a decimal amount in range")


def read_currency(value: str) -> str:
    """The ISO 4217 code in capitals; raises `Refused`."""
    code = value.upper()
    if code not in _CURRENCIES:
        raise Refused("schema", f"currency: {value!r} is not an ISO 4217 code")
    return code


def _check_adjustment(event: Event) -> None:
    if "order_id" in event:
        if "action" not in event:
            raise Refused("schema", "action: missing (it names the conversion together with order_id)")
    elif "conversion_event_id" not in event:
        raise Refused("schema", "order_id: missing (or conversion_event_id, for a conversion without order id)")
    if event["adjustment"] == "restate" and "value_micros" not in event:
        raise Refused("schema", "value: missing (a restatement states the new value)")


def _read_period(event: Event) -> None:
    """Check a cost statement's period; ``date`` stays for the core, which knows the site's zone."""
    if "date" in event:
        if "from" in event or "to" in event:
            raise Refused("schema", "date: stated together with from or to")
        try:
            datetime.fromisoformat(event["date"])
        except ValueError:
            raise Refused("schema", f"date: {event['date']} is no day") from None
        if not _FIRST_DATE <= event["date"] <= _LAST_DATE:
            raise Refused("schema", f"date: {event['date']} is out of range")
        return
    if "from" not in event or "to" not in event:
        raise Refused("schema", "from, to: missing (or date)")
    event["from"], event["to"] = read_time(event["from"], "from"), read_time(event["to"], "to")
    if event["from"] >= event["to"]:
        raise Refused("schema", "to: not after from")
    if event["to"] - event["from"] > 400 * 86_400_000:
        raise Refused("schema", "to: more than 400 days after from")
    if event["to"] > _LAST_HOUR_MS:
        raise Refused("schema", f"to: {event['to']} is out of range")


def _set_extra_aside(event: Event, known: frozenset[str]) -> None:
    extra = {name: event.pop(name) for name in [name for name in event if name not in known]}
    try:
        size = len(orjson.dumps(extra))
    except TypeError as error:
        raise Refused("schema", f"unknown fields: {error}") from None
    if size > MAX_EXTRA_BYTES:
        raise Refused("too_large", f"unknown fields of {size:,} bytes; at most {MAX_EXTRA_BYTES:,}")
    event["extra"] = extra


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    names = [str(part) for part in first["loc"] if isinstance(part, int) or part in _ALL_NAMES]
    message = "missing" if first["type"] == "missing" else first["msg"]
    return f"{'.'.join(names) or 'event'}: {message[:1].lower()}{message[1:]}"


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_JSON_NAMES = {list: "array", str: "text", int: "number", float: "number", bool: "boolean", type(None): "null"}
_ALL_NAMES = frozenset().union(*_KNOWN.values())
