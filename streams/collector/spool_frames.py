"""Frames: how a record lies in a file of the spool, and how frames are found again among damaged bytes.

    mark (4 bytes) | length of the body (4) | checksum of the body (8) | body: the record in MessagePack

Rule: a frame is whole or it is nothing. Mark and checksum depend on a seed that each file draws anew, so neither what a
client sends nor what a disk has left of an older file can pass for a frame, and the search for the next mark after a
damage costs no more than reading.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import xxhash

from streams.collector.eventlog import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HEADER: Final = struct.Struct("<4sIQ")
_decode = msgspec.msgpack.Decoder(Record).decode
_checksum = xxhash.xxh3_64_intdigest


class Piece(NamedTuple):
    """A stretch of a file, from `start` up to `end`: a frame with its body, or damage (None)."""

    start: int
    end: int
    body: bytes | None


def mark_of(seed: int) -> bytes:
    """What every frame of a file begins with."""
    return xxhash.xxh3_64_digest(b"mark", seed)[:4]


def write_frames(bodies: Iterable[bytes], seed: int) -> bytes:
    """The frames of `bodies`, one after another."""
    mark, pack = mark_of(seed), HEADER.pack
    parts: list[bytes] = []
    for body in bodies:
        parts += (pack(mark, len(body), _checksum(body, seed)), body)
    return b"".join(parts)


def read_frames(data: bytes, seed: int, start: int = 0) -> Iterator[Piece]:
    """All of `data` from `start` on, as frames and damaged stretches in between."""
    mark, size, end = mark_of(seed), HEADER.size, len(data)
    while start < end:
        after = _frame_end(data, start, mark, seed)
        if after:
            yield Piece(start, after, data[start + size : after])
            start = after
            continue
        damaged = start
        while not after:
            start = data.find(mark, start + 1)
            if start < 0:
                yield Piece(damaged, end, None)
                return
            after = _frame_end(data, start, mark, seed)
        yield Piece(damaged, start, None)


write_record: Final[Callable[[Record], bytes]] = msgspec.msgpack.Encoder().encode
"""A frame's body of a record."""


def read_record(body: bytes) -> Record:
    """The record in a frame's body. Raises `msgspec.DecodeError` where another version of headwater wrote it."""
    return _decode(body)


def is_torn(data: bytes, seed: int) -> bool:
    """Whether the damaged end of a file is what a crash leaves: a frame that was not written to its end, or zeros."""
    if len(data) < HEADER.size or not data.strip(b"\0"):
        return True
    mark, length, _ = HEADER.unpack_from(data)
    return bool(mark == mark_of(seed) and HEADER.size + length > len(data))


def _frame_end(data: bytes, start: int, mark: bytes, seed: int) -> int:
    """Where the frame at `start` ends, 0 where there is no whole one."""
    begin = start + HEADER.size
    if begin > len(data):
        return 0
    found, length, checksum = HEADER.unpack_from(data, start)
    end = begin + int(length)
    if found != mark or end > len(data) or _checksum(data[begin:end], seed) != checksum:
        return 0
    return end
