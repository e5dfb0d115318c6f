"""Fetched records, taken over from aiokafka by whole batches.

Rule: which batches count, and where a consumer stands after them, is aiokafka's business still. What is in a batch is
read by `schemas._fetched`, where that is compiled: aiokafka (0.14.0) makes six objects of each record, which was half
the cost of reading. Where it is not, or a batch is in a format from before 2017, aiokafka's own records come.
"""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from schemas.compiled import compiled_twin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

compiled = compiled_twin("schemas._fetched")
Records: Any = compiled.Records if compiled is not None else None
"""The type of a batch's records where they are read by ours."""

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
"""Offset, length (of what comes after it), leader epoch, magic, checksum (of what comes after it), attributes, last
offset, first and latest time, producer's id and epoch, first sequence number, records."""
_LENGTH: Final = struct.Struct(">i")
_LENGTH_AT: Final = 8
_UNCOUNTED: Final = 12
"""Bytes of the head up to the length, that included."""
_UNCHECKED: Final = 21
"""Bytes of the head up to the checksum, that included."""
_MAGIC_AT: Final = 16
_CODEC: Final = 7
_APPENDED: Final = 8
_TRANSACTIONAL: Final = 16
_CONTROL: Final = 32
_DECODERS: Final[dict[int, Callable[[Any], bytes]]] = {
    1: codec.gzip_decode,
    2: codec.snappy_decode,
    3: codec.lz4_decode,
    4: codec.zstd_decode,
}


class Record(Protocol):
    """A record of Kafka's; times in ms."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102


def join(parts: Sequence[Sequence[Record]]) -> Sequence[Record]:
    """All records of several sequences, in their order."""
    found = [part for part in parts if part]
    if len(found) <= 1:
        return found[0] if found else ()
    if compiled is not None and all(type(part) is Records for part in found):
        joined: Sequence[Record] = compiled.join(found)
        return joined
    return list(chain.from_iterable(found))


class RecordBatch:
    """A batch as it came, with what aiokafka asks of one."""

    magic = 2

    def __init__(self, data: memoryview) -> None:
        self._data = data
        (self.base_offset, _, _, _, self.crc, self.attributes, self.last_offset_delta, self.first_timestamp) = (
            head := _HEAD.unpack_from(data)
        )[:8]
        (self.max_timestamp, self.producer_id, self.producer_epoch, self.base_sequence, self._count) = head[8:]
        self.next_offset: int = self.base_offset + self.last_offset_delta + 1
        self.is_transactional = bool(self.attributes & _TRANSACTIONAL)
        self.is_control_batch = bool(self.attributes & _CONTROL)
        self._iterator: Iterator[Record] | None = None

    def validate_crc(self) -> bool:
        """Whether it is as it was written."""
        return bool(calc_crc32c(self._data[_UNCHECKED:]) == self.crc)

    def records(self) -> Sequence[Record]:
        """All of them. Raises `CorruptRecordException`."""
        body = self._plain()
        try:
            found: Sequence[Record] = compiled.parse(
                body,
                self._count,
                self.base_offset,
                self.first_timestamp,
                self.max_timestamp,
                bool(self.attributes & _APPENDED),
            )
        except ValueError as error:
            raise CorruptRecordException(f"batch at {self.base_offset}: {error}") from error
        return found

    def _plain(self) -> bytes:
        body, by = self._data[_HEAD.size :], self.attributes & _CODEC
        if not by:
            return bytes(body)
        try:
            return _DECODERS[by](body)
        except Exception as error:  # each codec has its own ways to say that the bytes are none of its
            raise CorruptRecordException(f"batch at {self.base_offset}: {error!r}") from error

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records())

    def __next__(self) -> Record:
        """The first record, then the next one."""
        if self._iterator is None:
            self._iterator = iter(self.records())
        return next(self._iterator)


class RecordLog:
    """What was fetched of one partition, as batches; stands in for aiokafka's."""

    def __init__(self, data: bytes, ends: list[int]) -> None:
        """`ends`: where its whole batches end, each where the next one begins."""
        self._data = memoryview(data)
        self._ends = ends
        self._at = 0

    def size_in_bytes(self) -> int:
        """All of it, a batch that is cut off included."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether there is another whole batch."""
        return self._at < len(self._ends)

    def next_batch(self) -> RecordBatch | None:
        """The next one."""
        if not self.has_next():
            return None
        start = self._ends[self._at - 1] if self._at else 0
        found = RecordBatch(self._data[start : self._ends[self._at]])
        self._at += 1
        return found


def open_log(data: bytes) -> Any:
    """What was fetched of a partition, as its batches; the last one may be cut off. Raises `CorruptRecordException`."""
    ends: list[int] = []
    start = 0
    while len(data) - start > _MAGIC_AT:
        if data[start + _MAGIC_AT] < RecordBatch.magic:
            return MemoryRecords(data)
        length = _LENGTH.unpack_from(data, start + _LENGTH_AT)[0]
        if length < _HEAD.size - _UNCOUNTED:
            raise CorruptRecordException(f"a batch of {length} bytes")
        start += _UNCOUNTED + length
        if start > len(data):
            break
        ends.append(start)
    return RecordLog(data, ends)


if compiled is not None:
    fetcher.MemoryRecords = open_log
