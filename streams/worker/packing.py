"""State values as they lie in the store: JSON without its names and marks, in two fifths of the bytes.

Rule: any bytes come back as they were. A value is packed where it is one JSON object without blanks, which all state
records are; anything else is kept as it is. Every value counts as bytes and none as what it says, so a number comes
back as it was written and a text with its escapes. What is packed depends on the tables here: whoever changes one
changes `streams.core.state.FORMAT`, and stores are rebuilt.

Where it stands: `streams.worker.store` packs what it writes and unpacks what it is asked for; nobody else sees it.

    packed  = PACKED { name value } NO_NAME
    name    = its number in NAMES, or OTHER_NAME size bytes
    value   = tag and what the tag says       see the tags below
    object  = OBJECT { name value } NO_NAME
    array   = ARRAY { value } END
    size    = varint                          seven bits a byte, the lowest first, as in Kafka's records
"""

from __future__ import annotations

import re
from typing import Final

from schemas.errors import StateError
from schemas.reasons import CHANNELS

PACKED: Final = 1
"""First byte of what is packed."""
ESCAPED: Final = 2
"""First byte of what is not, and begins with one of these two itself."""

NAMES: Final = (
    "ad", "ad_group", "arrived", "audience", "campaign", "channel", "click_id", "consent", "content", "cost_micros",
    "country", "currency", "device", "event_id", "evidence", "extra", "fp", "hw_cid", "internal", "invalid_reasons",
    "medium", "partner", "placement", "quiet", "reasons", "received_at", "referrer", "renewed", "said", "site",
    "source", "stated", "sub1", "sub2", "sub3", "sub4", "sub5", "term", "time", "touch_event_id", "type", "url",
    "user_id", "valid", "variant", "visitor_id",
    "action", "adjustment", "conversion_id", "facts", "merged", "named_at", "order_id", "revision", "status",
    "value_micros",
    "cause", "conversion_time", "counted", "credits", "first_reported_at", "first_touch", "last_changed_at",
    "last_non_direct", "last_touch", "linear", "order", "position_based", "rejected_micros", "time_decay", "touch_id",
    "touches", "value_reported_micros", "version", "withdrawn",
    "clicks", "impressions", "invalid", "landings", "minute", "models",
    "date", "events", "from", "hours", "replaced", "to",
)  # fmt: skip
"""Names of the state records' fields (`schemas.records`)."""

TEXTS: Final = (
    *CHANNELS,
    "click", "impression", "landing", "consent", "verdict", "conversion", "adjustment",
    "granted", "denied", "mobile", "desktop", "tablet",
    "approved", "pending", "rejected", "retracted", "duplicate", "restate", "retract", "approve", "reject",
    "first", "late_touch", "registry", "moved", "no_consent", "bot", "preview", "prefetch",
    "purchase", "lead", "install", "signup",
    "EUR", "USD", "GBP", "CHF",
    "(direct)", "(none)", "(organic)", "google", "cpc", "organic", "referral", "facebook", "instagram", "bing", "email",
    "newsletter", "social", "display", "affiliate", "tiktok", "linkedin", "youtube", "dv360", "paid_social",
)  # fmt: skip
"""Texts that many records hold."""

# Tags. One below LONG_TEXT is a text of so many bytes; one above SMALL the whole number that is left of it.
LONG_TEXT: Final = 96
"""A size and a text of so many bytes."""
HASH: Final = 97
"""Eight bytes as two digits each, lower case."""
HEX: Final = 98
"""A byte, and so many bytes as two digits each, lower case."""
UUID: Final = 99
"""Sixteen bytes as 8-4-4-4-12 digits, lower case."""
OBJECT: Final = 100
ARRAY: Final = 101
END: Final = 102
TRUE: Final = 103
FALSE: Final = 104
NULL: Final = 105
NUMBER: Final = 106
"""A varint: a whole number, not negative."""
NEGATIVE: Final = 107
"""A varint: a whole number without its sign."""
MOMENT: Final = 108
"""A zigzag varint: how much later than the moment before it in the record, whose first comes after 0."""
OTHER: Final = 109
"""A size and so many bytes: any other number."""
AGAIN: Final = 110
"""The text that this name had before in the record."""
KNOWN: Final = 111
"""And more: a text of `TEXTS`, by its place."""
SMALL: Final = 200
"""And more: a small number."""
OTHER_NAME: Final = 254
NO_NAME: Final = 255

DEPTH: Final = 12
"""Objects and arrays within each other, at most."""
MOMENTS: Final = 1 << 40
"""Whole numbers from here on count as moments (ms; 2004 and later)."""
DIGITS: Final = 18
"""Of whole numbers that are packed as such, at most."""
LONGEST_TEXT: Final = max(map(len, TEXTS))
LONGEST_HEX: Final = 128

_NUMBER_OF: Final = {name.encode(): number for number, name in enumerate(NAMES)}
_TAG_OF: Final = {text.encode(): KNOWN + number for number, text in enumerate(TEXTS)}
_NAMED: Final = [name.encode() for name in NAMES]
_SAID: Final = [text.encode() for text in TEXTS]
_SCALARS: Final = {b"true": TRUE, b"false": FALSE, b"null": NULL}
_SPELLED: Final = {tag: word for word, tag in _SCALARS.items()}

_TEXT: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_OTHER: Final = re.compile(rb"[^\"{}\[\],:\s]+")
_WHOLE: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_DIGITS: Final = re.compile(rb"(?:[0-9a-f]{2})*")
_UUID: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def pack(value: bytes) -> bytes:
    """`value` as it is to lie in the store."""
    if value[:1] == b"{":
        packer = _Packer(value)
        if packer.members(1, True, 1) == len(value):
            return bytes(packer.out)
    elif value and value[0] in (PACKED, ESCAPED):
        return bytes([ESCAPED]) + value
    return value


def unpack(stored: bytes) -> bytes:
    """The value that was packed into `stored`; raises `StateError` where it is none."""
    if not stored or stored[0] not in (PACKED, ESCAPED):
        return stored
    if stored[0] == ESCAPED:
        return stored[1:]
    try:
        unpacker = _Unpacker(stored)
        unpacker.members(True, 1)
    except IndexError:
        raise broken() from None
    if unpacker.at != len(stored):
        raise broken()
    return bytes(unpacker.out)


def broken() -> StateError:
    """What is raised for bytes that are no packed value."""
    return StateError("an entry of the state is broken: it cannot be unpacked")


class _Packer:
    """Packs one value into `out`; its methods return where what they packed ends, -1 where it is none."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.out = bytearray([PACKED])
        self.moment = 0
        self.said: dict[int, bytes] = {}

    def value(self, at: int, name: int | None, depth: int) -> int:
        """The JSON value at `at`, which has the `name` of that number."""
        first = self.source[at : at + 1]
        if first == b'"':
            found = _TEXT.match(self.source, at)
            if found is None:
                return -1
            self._text(found[1], name)
            return found.end()
        if first in (b"{", b"["):
            if depth == DEPTH:
                return -1
            self.out.append(OBJECT if first == b"{" else ARRAY)
            return self.members(at + 1, first == b"{", depth + 1)
        return self._scalar(at)

    def members(self, at: int, named: bool, depth: int) -> int:
        """All that is in an object or array, from `at` on, and its end."""
        source, end = self.source, b"}" if named else b"]"
        if source[at : at + 1] == end:
            self.out.append(NO_NAME if named else END)
            return at + 1
        while True:
            name = None
            if named:
                found = _TEXT.match(source, at)
                if found is None or source[found.end() : found.end() + 1] != b":":
                    return -1
                name = _NUMBER_OF.get(found[1])
                if name is None:
                    self.out += bytes([OTHER_NAME, *_varint(len(found[1]))]) + found[1]
                else:
                    self.out.append(name)
                at = found.end() + 1
            at = self.value(at, name, depth)
            if at < 0:
                return -1
            follows = source[at : at + 1]
            at += 1
            if follows == end:
                self.out.append(NO_NAME if named else END)
                return at
            if follows != b",":
                return -1

    def _text(self, text: bytes, name: int | None) -> None:
        out, size = self.out, len(text)
        before = None
        if name is not None:
            before = self.said.get(name)
            self.said[name] = text
        tag = _TAG_OF.get(text)
        if size == 0:
            out.append(0)
        elif text == before:
            out.append(AGAIN)
        elif tag is not None:
            out.append(tag)
        elif size == 36 and _UUID.fullmatch(text):
            out.append(UUID)
            out += bytes.fromhex(text.decode().replace("-", ""))
        elif size == 16 and _DIGITS.fullmatch(text):
            out.append(HASH)
            out += bytes.fromhex(text.decode())
        elif 8 <= size <= LONGEST_HEX and _DIGITS.fullmatch(text):
            out += bytes([HEX, size // 2]) + bytes.fromhex(text.decode())
        elif size < LONG_TEXT:
            out.append(size)
            out += text
        else:
            out += bytes([LONG_TEXT, *_varint(size)]) + text

    def _scalar(self, at: int) -> int:
        found = _OTHER.match(self.source, at)
        if found is None:
            return -1
        word = found[0]
        known = _SCALARS.get(word)
        if known is not None:
            self.out.append(known)
        elif _WHOLE.fullmatch(word) and word != b"-0" and len(word.lstrip(b"-")) <= DIGITS:
            self._whole(int(word))
        else:
            self.out += bytes([OTHER, *_varint(len(word))]) + word
        return found.end()

    def _whole(self, number: int) -> None:
        if number < 0:
            self.out += bytes([NEGATIVE, *_varint(-number)])
        elif number < 256 - SMALL:
            self.out.append(SMALL + number)
        elif number < MOMENTS:
            self.out += bytes([NUMBER, *_varint(number)])
        else:
            later, self.moment = number - self.moment, number
            self.out += bytes([MOMENT, *_varint(later * 2 if later >= 0 else -later * 2 - 1)])


class _Unpacker:
    """Unpacks one value into `out`; raises `IndexError` or `StateError` where it is none."""

    def __init__(self, stored: bytes) -> None:
        self.stored = stored
        self.at = 1
        self.out = bytearray()
        self.moment = 0
        self.said: dict[int, bytes] = {}

    def byte(self) -> int:
        """The next byte."""
        self.at += 1
        return self.stored[self.at - 1]

    def varint(self) -> int:
        """The next varint."""
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 127) << shift
            shift += 7
            if number >> 64:
                raise broken()
            if byte < 128:
                return number

    def some(self, size: int) -> bytes:
        """The next `size` bytes."""
        if size > len(self.stored) - self.at:
            raise broken()
        self.at += size
        return self.stored[self.at - size : self.at]

    def value(self, tag: int, name: int | None, depth: int) -> None:
        """The value of a `tag`, which has the `name` of that number."""
        if tag in (OBJECT, ARRAY):
            if depth == DEPTH:
                raise broken()
            self.members(tag == OBJECT, depth + 1)
        elif tag <= UUID or tag == AGAIN or KNOWN <= tag < SMALL:
            text = self._text(tag, name)
            if name is not None:
                self.said[name] = text
            self.out += b'"' + text + b'"'
        else:
            self._scalar(tag)

    def members(self, named: bool, depth: int) -> None:
        """All that is in an object or array, and its end."""
        out = self.out
        out += b"{" if named else b"["
        first = True
        while True:
            tag = self.byte()
            if tag == (NO_NAME if named else END):
                break
            if not first:
                out += b","
            first = False
            name = None
            if named:
                if tag == OTHER_NAME:
                    out += b'"' + self.some(self.varint()) + b'":'
                else:
                    name = tag
                    out += b'"' + _NAMED[name] + b'":'
                tag = self.byte()
            self.value(tag, name, depth)
        out += b"}" if named else b"]"

    def _text(self, tag: int, name: int | None) -> bytes:
        if tag <= LONG_TEXT:
            return self.some(self.varint() if tag == LONG_TEXT else tag)
        if tag in (HASH, HEX):
            return self.some(8 if tag == HASH else self.byte()).hex().encode()
        if tag == UUID:
            digits = self.some(16).hex()
            return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])).encode()
        if tag != AGAIN:
            return _SAID[tag - KNOWN]
        if name is None or name not in self.said:
            raise broken()
        return self.said[name]

    def _scalar(self, tag: int) -> None:
        out = self.out
        if tag >= SMALL:
            out += b"%d" % (tag - SMALL)
        elif tag in _SPELLED:
            out += _SPELLED[tag]
        elif tag == NUMBER:
            out += b"%d" % self.varint()
        elif tag == NEGATIVE:
            out += b"-%d" % self.varint()
        elif tag == MOMENT:
            later = self.varint()
            self.moment += -(later + 1) // 2 if later & 1 else later // 2
            if self.moment >> 63:
                raise broken()
            out += b"%d" % self.moment
        elif tag == OTHER:
            out += self.some(self.varint())
        else:
            raise broken()


def _varint(number: int) -> list[int]:
    found = []
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return found
