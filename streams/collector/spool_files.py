"""The spool's directory: segment files of frames, written by one collector, delivered and deleted in order.

    lock                                who uses the directory (flock)
    000000000007-5be1c0d2a9f34e61.hw1   a segment: its number, the seed of its frames, the version of the format
    position                            the segment being delivered, and how much of it Kafka has
    000000000007-8192.damaged           bytes of a segment that are no frame, for a person to look at
    registry                            what the collector knows of sites and campaigns

Rule: `keep` returns when what it was given is on the disk (``fdatasync``, and the directory's entry before it), and
raises where that is not sure. After any failure of a write or sync the file is never written again, as the kernel may
have dropped what it could not write: the next events begin a new segment. Bytes behind what was synced are never read
by the process that wrote them; a later one reads every whole frame there is. The position only saves work: where it is
lost or old, events are handed on a second time, which the worker takes for the duplicates that they are.

Plain, blocking code for one thread at a time; `streams.collector.spool_disk` calls it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog
import xxhash

from schemas.errors import ConfigurationError
from streams.collector.spool_frames import is_torn, read_frames, read_record, write_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streams.collector.eventlog import Record

log = structlog.get_logger()

SEGMENT_BYTES: Final = 8 * 1024 * 1024
"""A segment that has so many bytes is followed by the next one."""
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Most that is handed to Kafka at once, but for a larger record."""
PROBE_BYTES: Final = 64 * 1024
POSITION_BYTES: Final = 128
BROKEN: Final = (errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.EROFS, errno.ESTALE)
"""What a disk says that is full or breaks; anything else is said of a directory that was named wrongly."""
_SEGMENT: Final = re.compile(r"([0-9]{12})-([0-9a-f]{16})\.hw1", re.ASCII)


@dataclass(slots=True, eq=False)
class Segment:
    """One file: `end` is how much of it is safe, `left` how many records of it Kafka lacks (None: not counted yet)."""

    number: int
    seed: int
    path: Path
    end: int = 0
    left: int | None = 0


class Chunk(NamedTuple):
    """Records to be handed on together, oldest first, and where they lie."""

    segment: Segment
    start: int
    end: int
    records: list[Record]


class Spool:
    """The files of one spool. `write` and `sync` are the system's calls, which tests let fail."""

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        write: Callable[[int, memoryview], int] = os.write,
        sync: Callable[[int], None] = os.fdatasync,
        on_damage: Callable[[], None] = lambda: None,
    ) -> None:
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._write = write
        self._sync = sync
        self._on_damage = on_damage
        self.size = 0
        """Bytes in use."""
        self._segments: list[Segment] = []
        self._number = 0
        self._offset = 0
        """How much of the first segment Kafka has."""
        self._looked_at = 0
        """How much of the first segment has been looked at for damage."""
        self._window = (0, b"")
        """Bytes of the first segment, and where they begin."""
        self._active: Segment | None = None
        self._files: dict[str, int] = {}

    @property
    def events(self) -> int:
        """Records that are safe here and not handed on, as far as they are counted."""
        return sum(segment.left or 0 for segment in self._segments)

    def open(self) -> None:
        """Take the directory, and find what is there. Raises `ConfigurationError`, and `OSError` of a broken disk."""
        self._segments, self.size = [], 0
        try:
            if not self.directory.is_dir():
                self.directory.mkdir(mode=0o700, parents=True)
                _sync_directory(self.directory.parent)
            self._files["lock"] = self._open("lock", os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._files["lock"], fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._files["position"] = self._open("position", os.O_RDWR | os.O_CREAT)
            found = sorted((match, path) for path in self.directory.iterdir() if (match := _number_of(path)))
            for (number, seed), path in found:
                self._segments.append(Segment(number, seed, path, path.stat().st_size, None))
                self._number = number
                self.size += self._segments[-1].end
            self._find_position()
        except BlockingIOError:
            self.close()
            text = f"{self.directory} is another collector's spool: give each its own HEADWATER_SPOOL_DIR"
            raise ConfigurationError(text) from None
        except OSError as error:
            self.close()
            if error.errno in BROKEN:
                raise
            raise ConfigurationError(f"the spool {self.directory} cannot be used: {error.strerror}") from None

    def close(self) -> None:
        """Let go of the directory."""
        if self._active is not None:
            self._seal(self._active)
        while self._files:
            os.close(self._files.popitem()[1])

    @property
    def counted(self) -> bool:
        """Whether all records that were there before are counted."""
        return all(segment.left is not None for segment in self._segments)

    def count_next(self) -> bool:
        """Count the records of one segment that was there before; False where all were counted."""
        for segment in self._segments:
            if segment.left is None:
                start = self._offset if segment is self._segments[0] else 0
                data = self._read(segment, start)
                if data is not None:
                    segment.left = sum(piece.body is not None for piece in read_frames(data, segment.seed))
                return True
        return False

    def keep(self, bodies: Sequence[bytes]) -> None:
        """Put records on the disk, all in one sync. Raises `OSError` where they may not be there."""
        segment = self._active
        if segment is not None and segment.end >= self._segment_bytes:
            self._seal(segment)
            segment = None
        segment = segment or self._begin()
        file = self._files["segment"]
        data = write_frames(bodies, segment.seed)
        try:
            self._write_all(file, data)
            self._sync(file)
        except Exception:
            with contextlib.suppress(OSError):
                os.ftruncate(file, segment.end)
            self._seal(segment)
            raise
        segment.end += len(data)
        self.size += len(data)
        segment.left = (segment.left or 0) + len(bodies)

    def try_disk(self) -> None:
        """Raise `OSError` where the disk does not take some bytes; leave nothing behind.

        Where the directory could not be taken before, take it now, which may raise `ConfigurationError`.
        """
        if not self._files:
            self.open()
        path = self.directory / "probe"
        file = self._open(path.name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            self._write_all(file, bytes(PROBE_BYTES))
            self._sync(file)
        finally:
            os.close(file)
            path.unlink(missing_ok=True)

    def take(self, most: int) -> Chunk | None:
        """The next records to hand on, at most so many; the same again until `done`. None where there are none."""
        while self._segments:
            segment = self._segments[0]
            if self._offset < segment.end:
                chunk = self._chunk(segment, most)
                if chunk is not None:
                    return chunk
            elif segment is self._active:
                return None
            else:
                self._drop(segment)
        return None

    def done(self, chunk: Chunk) -> None:
        """Kafka has `chunk`."""
        segment = chunk.segment
        self._move(chunk.end)
        segment.left = max(0, (segment.left or 0) - len(chunk.records))
        if segment is not self._active and chunk.end >= segment.end:
            self._drop(segment)

    def clear(self) -> None:
        """Delete the segment in use where Kafka has all of it."""
        segment = self._active
        if segment is not None and segment is self._segments[0] and self._offset >= segment.end:
            self._seal(segment)
            if segment in self._segments:
                self._drop(segment)

    def put_aside(self, segment: Segment, start: int, data: bytes, kind: str) -> Path:
        """Keep bytes that can't be handed on, for a person to look at; `kind` ends the file's name."""
        path = segment.path.with_name(f"{segment.number:012d}-{start}.{kind}")
        try:
            path.write_bytes(data)
        except OSError as error:
            log.warning("spool_aside_failed", file=str(path), error=error.strerror)
        return path

    def _begin(self) -> Segment:
        """Begin a segment; its name is on the disk before the first event is."""
        seed, number = secrets.randbits(64), self._number + 1
        path = self.directory / f"{number:012d}-{seed:016x}.hw1"
        file = self._open(path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        try:
            _sync_directory(self.directory)
        except OSError:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        self._number, self._files["segment"] = number, file
        self._active = Segment(number, seed, path)
        self._segments.append(self._active)
        return self._active

    def _seal(self, segment: Segment) -> None:
        """Never write to the active `segment` again; delete it where nothing of it is safe."""
        self._active = None
        os.close(self._files.pop("segment"))
        if not segment.end:
            self._drop(segment)

    def _drop(self, segment: Segment) -> None:
        if segment is self._segments[0]:
            self._offset, self._looked_at, self._window = 0, 0, (0, b"")
        self._segments.remove(segment)
        self.size -= segment.end
        with contextlib.suppress(OSError):
            segment.path.unlink()

    def _chunk(self, segment: Segment, most: int) -> Chunk | None:
        """The next records of the first segment; None, and past what is left of it, where nothing of that is whole."""
        base, data = self._window
        if not base <= self._offset < base + len(data):
            read = self._read(segment, self._offset)
            if read is None:
                return None
            base, data = self._window = self._offset, read
        start = end = self._offset
        records: list[Record] = []
        for piece in read_frames(data, segment.seed, start - base):
            record = _record(piece.body)
            if record is None:
                self._report(segment, base + piece.start, data[piece.start : piece.end], last=base + piece.end)
            else:
                records.append(record)
            end = base + piece.end
            if len(records) >= most or end - start >= CHUNK_BYTES:
                break
        if records:
            return Chunk(segment, start, end, records)
        self._move(end)
        return None

    def _report(self, segment: Segment, start: int, data: bytes, *, last: int) -> None:
        """Say what is damaged, once."""
        if start < self._looked_at:
            return
        self._looked_at = last
        where = {"segment": segment.path.name, "offset": start, "bytes": len(data)}
        if last >= segment.end and is_torn(data, segment.seed):
            log.warning("spool_torn", **where)
            return
        self._on_damage()
        kept = self.put_aside(segment, start, data, "damaged")
        log.error("spool_damaged", **where, kept=str(kept))

    def _read(self, segment: Segment, start: int) -> bytes | None:
        """The safe bytes of `segment` from `start` on; None, and without that segment, where the disk can't read it."""
        try:
            file = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                parts = []
                while start < segment.end and (part := os.pread(file, segment.end - start, start)):
                    parts.append(part)
                    start += len(part)
            finally:
                os.close(file)
        except OSError as error:
            self._lose(segment, str(error))
            return None
        if start < segment.end:  # someone has cut it off
            self.size -= segment.end - start
            segment.end = start
        return b"".join(parts)

    def _lose(self, segment: Segment, why: str) -> None:
        """Go on without a segment that can't be read; the file stays."""
        self._on_damage()
        log.error("spool_unreadable", file=str(segment.path), error=why)
        if segment is self._active:
            self._active = None
            os.close(self._files.pop("segment"))
        if segment is self._segments[0]:
            self._offset, self._looked_at, self._window = 0, 0, (0, b"")
        self._segments.remove(segment)
        self.size -= segment.end

    def _move(self, offset: int) -> None:
        """Remember that Kafka has the first segment up to `offset`. In place, unsynced: an old position is harmless."""
        self._offset = offset
        text = f"{self._segments[0].path.name} {offset} "
        line = f"{text}{_checksum(text)}".ljust(POSITION_BYTES - 1) + "\n"
        with contextlib.suppress(OSError):
            os.pwrite(self._files["position"], line.encode(), 0)

    def _find_position(self) -> None:
        line = os.pread(self._files["position"], POSITION_BYTES, 0).decode("ascii", "replace").strip()
        text, _, checksum = line.rpartition(" ")
        if not self._segments or _checksum(f"{text} ") != checksum:
            return
        name, _, offset = text.partition(" ")
        if name == self._segments[0].path.name:
            self._offset = self._looked_at = int(offset)

    def _write_all(self, file: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self._write(file, rest)
            if not written:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            rest = rest[written:]

    def _open(self, name: str, flags: int) -> int:
        return os.open(self.directory / name, flags | os.O_CLOEXEC, 0o600)


def _record(body: bytes | None) -> Record | None:
    if body is None:
        return None
    try:
        return read_record(body)
    except msgspec.DecodeError:
        return None


def _checksum(text: str) -> str:
    return str(xxhash.xxh3_64_hexdigest(text.encode()))


def _sync_directory(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _number_of(path: Path) -> tuple[int, int] | None:
    match = _SEGMENT.fullmatch(path.name)
    return (int(match[1]), int(match[2], 16)) if match else None
