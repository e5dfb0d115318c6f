"""ClickHouse's Native format, as far as the sink writes it: columns in, one block of bytes out.

Rule: a value travels as the integer or text it is: money as the integer behind a Decimal(18, 6), times as the integer
behind a DateTime64(3); nothing is rounded, and no object is made for a value. A value of a wrong type or range raises
(`TypeError`, `AttributeError`, `OverflowError`), it never becomes another one. Blocks may follow each other in a body.
Format: https://clickhouse.com/docs/interfaces/formats/Native (client revision 0).
"""

from __future__ import annotations

import sys
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LOW_CARDINALITY_VERSION: Final = (1).to_bytes(8, "little")
_HAS_ADDITIONAL_KEYS: Final = 1 << 9
_KEY_CODES: Final = ("B", "H", "I")


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SHORT: Final = [varint(length) for length in range(16_384)]
_CHARS: Final = [chr(length) for length in range(128)]


def integers(code: str, values: Iterable[int]) -> bytes:
    """Little-endian integers of the `array` type `code`; raises `OverflowError` or `TypeError`."""
    data = array(code, values)
    if sys.byteorder == "big":
        data.byteswap()
    return data.tobytes()


def booleans(values: Sequence[bool]) -> bytes:
    """Bool; raises `TypeError` where a value is no boolean."""
    if not set(map(type, values)) <= {bool}:
        raise TypeError("not a boolean")
    return bytes(values)


def texts(values: Sequence[str]) -> bytes:
    """String: each value's length and UTF-8 bytes."""
    parts = [""] * (2 * len(values))
    try:
        parts[::2] = [_CHARS[len(value)] for value in values]
    except IndexError:
        return binaries([value.encode() for value in values])
    parts[1::2] = values
    joined = "".join(parts)
    # Lengths are in characters so far; they are right where every character is one byte.
    return joined.encode() if joined.isascii() else binaries([value.encode() for value in values])


def binaries(values: Sequence[bytes]) -> bytes:
    """String, of any bytes."""
    parts = [b""] * (2 * len(values))
    parts[::2] = [_SHORT[size] if (size := len(value)) < 16_384 else varint(size) for value in values]
    parts[1::2] = values
    return b"".join(parts)


def low_cardinality(values: Sequence[str]) -> bytes:
    """The data of LowCardinality(String): flags, keys, and an index for each value; nothing for no values."""
    if not values:
        return b""
    first = values[0]
    if values.count(first) == len(values):
        # Most columns of most chunks hold one value: usually "".
        head = _HAS_ADDITIONAL_KEYS.to_bytes(8, "little") + (1).to_bytes(8, "little")
        return head + texts([first]) + len(values).to_bytes(8, "little") + bytes(len(values))
    index = {value: number for number, value in enumerate(dict.fromkeys(values))}
    width = 0 if len(index) <= 1 << 8 else 1 if len(index) <= 1 << 16 else 2
    return b"".join(
        (
            (_HAS_ADDITIONAL_KEYS | width).to_bytes(8, "little"),
            len(index).to_bytes(8, "little"),
            texts(list(index)),
            len(values).to_bytes(8, "little"),
            integers(_KEY_CODES[width], map(index.__getitem__, values)),
        )
    )


class Encoded(NamedTuple):
    """One block for `table`: its column names, number of rows, bytes."""

    table: str
    columns: tuple[str, ...]
    rows: int
    body: bytes


class Block:
    """Collects the columns of one block; every column must have `rows` values, an array column `rows` lists."""

    def __init__(self, table: str, rows: int) -> None:
        self._table = table
        self._rows = rows
        self._names: list[str] = []
        self._parts: list[bytes] = [b"", varint(rows)]

    def _add(self, name: str, kind: str, count: int, *data: bytes) -> None:
        if count != self._rows:
            raise ValueError(f"{name}: {count} values for {self._rows} rows")
        self._names.append(name)
        encoded = name.encode()
        self._parts += (varint(len(encoded)), encoded, varint(len(kind)), kind.encode(), *data)

    def ready(self, name: str, kind: str, data: bytes, rows: int) -> None:
        """A column of `rows` values of the ClickHouse type `kind`, as bytes that are ready."""
        prefix = _LOW_CARDINALITY_VERSION if "LowCardinality" in kind else b""
        self._add(name, kind, rows, prefix, data)

    def text(self, name: str, values: Sequence[str]) -> None:
        """String."""
        self._add(name, "String", len(values), texts(values))

    def binary(self, name: str, values: Sequence[bytes]) -> None:
        """String, of any bytes."""
        self._add(name, "String", len(values), binaries(values))

    def low(self, name: str, values: Sequence[str]) -> None:
        """LowCardinality(String)."""
        data = low_cardinality(values)
        self._add(name, "LowCardinality(String)", len(values), _LOW_CARDINALITY_VERSION, data)

    def flag(self, name: str, values: Sequence[bool]) -> None:
        """Bool."""
        self._add(name, "Bool", len(values), booleans(values))

    def number(self, name: str, kind: str, values: Sequence[int]) -> None:
        """A column of integers, or of a type that is one inside (see `CODES`)."""
        self._add(name, kind, len(values), integers(CODES[kind], values))

    def wide(self, name: str, low: Sequence[int], high: Sequence[int]) -> None:
        """UInt128, by its two halves."""
        halves = [0] * (2 * len(low))
        halves[::2], halves[1::2] = low, high
        self._add(name, "UInt128", len(low), integers("Q", halves))

    def low_array(self, name: str, lengths: Sequence[int], values: Sequence[str]) -> None:
        """Array(LowCardinality(String)): a length for each row, and all values one after another."""
        kind = "Array(LowCardinality(String))"
        self._add_array(name, kind, lengths, len(values), low_cardinality(values), prefix=_LOW_CARDINALITY_VERSION)

    def text_array(self, name: str, lengths: Sequence[int], values: Sequence[str]) -> None:
        """Array(String)."""
        self._add_array(name, "Array(String)", lengths, len(values), texts(values))

    def number_array(self, name: str, kind: str, lengths: Sequence[int], values: Sequence[int]) -> None:
        """Array(`kind`)."""
        self._add_array(name, f"Array({kind})", lengths, len(values), integers(CODES[kind], values))

    def _add_array(
        self, name: str, kind: str, lengths: Sequence[int], count: int, data: bytes, prefix: bytes = b""
    ) -> None:
        offsets = list(accumulate(lengths))
        if (offsets[-1] if offsets else 0) != count:
            raise ValueError(f"{name}: {count} values for arrays of {offsets[-1] if offsets else 0}")
        self._add(name, kind, len(lengths), prefix, integers("Q", offsets), data)

    def encoded(self) -> Encoded:
        """The block."""
        self._parts[0] = varint(len(self._names))
        return Encoded(self._table, tuple(self._names), self._rows, b"".join(self._parts))


TIME: Final = "DateTime64(3, 'UTC')"
"""Milliseconds since the epoch."""
SECOND: Final = "DateTime('UTC')"
"""Seconds since the epoch."""
MONEY: Final = "Decimal(18, 6)"
"""Micros; conversions and weights too, in millionths."""

CODES: Final = {
    TIME: "q",
    SECOND: "I",
    MONEY: "q",
    "Bool": "B",
    "Int64": "q",
    "Int32": "i",
    "UInt16": "H",
    "UInt32": "I",
    "UInt64": "Q",
}
"""ClickHouse type -> the `array` type of the integer behind it."""
