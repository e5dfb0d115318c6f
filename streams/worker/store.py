"""A unit's RocksDB: an index of its output records, and how far into each output topic it reaches.

Rule: entries and positions are written together. The write-ahead log is off, since the topics are the log: after a
crash the store is what RocksDB last flushed, with the positions of that moment, and the rest is read again from Kafka.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
import structlog
from rocksdict import AccessType, BlockBasedOptions, Cache, Options, Rdict, WriteBatch, WriteOptions

from schemas.errors import StateError
from streams.core.state import FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

log = structlog.get_logger()

_META: Final = b"!"
_BLOCK_CACHE: Final = Cache(128 << 20)
"""Shared by all units of a process."""
MAX_STORE_AGE_S: Final = 3.5 * 86_400
"""Half of delete.retention.ms: an older store may have missed deletions of compacted records."""


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(64 << 20)
    options.set_max_write_buffer_number(3)
    options.set_max_background_jobs(2)
    # Nearly all look-ups are for touches that are not there; a filter answers for what is not on disk yet, too.
    options.set_memtable_prefix_bloom_ratio(0.05)
    options.set_memtable_whole_key_filtering(True)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_bloom_filter(10, False)
    table.set_block_cache(_BLOCK_CACHE)
    options.set_block_based_table_factory(table)
    return options


def open_store(path: Path) -> Store:
    """The store at `path`; one that RocksDB cannot read is thrown away, since the topics hold all of it."""
    try:
        return Store(path)
    except Exception as error:
        # Whoever holds the lock is about to close it, or is another worker on the same directory.
        if "lock" in str(error).lower():
            raise StateError(f"the store in {path} is in use by another unit or worker: {error}") from error
        log.warning("state_wiped", path=str(path), why=str(error))
        shutil.rmtree(path)
        return Store(path)


class Store:
    """One partition's entries. Not safe for use by two at once; the unit takes care."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._db = Rdict(str(self.path), _options(), access_type=AccessType.read_write())
        options = WriteOptions()
        options.memtable_insert_hint_per_batch = True
        options.disable_wal = True  # type: ignore[method-assign, assignment] # a property; the stub errs
        self._db.set_write_options(options)
        self._write_options = options
        found = self._db.get(_META)
        self.meta: dict[str, Any] = orjson.loads(found) if found is not None else {}

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of `keys`, in their order."""
        if not keys:
            return []
        return cast("list[bytes | None]", self._db.get(list(keys)))

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All entries whose key starts with `prefix`, in key order."""
        found = []
        entries = self._db.iter()
        entries.seek(prefix)
        while entries.valid():
            key = entries.key()
            if not key.startswith(prefix):
                break
            found.append((key, entries.value()))
            entries.next()
        return found

    def pages(self, start: bytes, end: bytes, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """All entries with start <= key < end as they are now, in key order, at most `size` at a time.

        What is written meanwhile does not show. The store cannot be closed before all of them are read or let go.
        """
        entries = self._db.iter()
        entries.seek(start)

        def walk() -> Iterator[list[tuple[bytes, bytes]]]:
            page: list[tuple[bytes, bytes]] = []
            while entries.valid():
                key = entries.key()
                if key >= end:
                    break
                page.append((key, entries.value()))
                entries.next()
                if len(page) == size:
                    yield page
                    page = []
            if page:
                yield page

        return walk()

    def write(self, puts: Mapping[bytes, bytes], positions: Mapping[str, int]) -> None:
        """Set entries, and the output positions they bring the store to, in one step."""
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        # In order of keys, each finds its place in the write buffer beside the one before: a quarter of the time.
        for key, value in sorted(puts.items()):
            put(key, value)
        self.meta["positions"] = {**self.positions, **positions}
        self.meta["written_at"] = time.time()
        put(_META, orjson.dumps(self.meta))
        self._db.write(batch, self._write_options)

    @property
    def positions(self) -> dict[str, int]:
        """How far into each output topic the store reaches: topic -> next offset."""
        found: dict[str, int] = self.meta.get("positions", {})
        return found

    @property
    def reviewed(self) -> int:
        """Up to where in ``campaigns`` the registry has been applied to all that is here."""
        position: int = self.meta.get("registry", 0)
        return position

    def note_review(self, position: int) -> None:
        """All that is here has been looked at under the registry up to `position`."""
        self.meta["registry"] = position
        self.write({}, {})

    def fits(self, cluster_id: str, partitions: int) -> str:
        """Why the store cannot be gone on with; empty where it can, or is new."""
        if not self.meta:
            return ""
        if self.meta.get("format") != FORMAT:
            return "written in another format"
        if self.meta.get("cluster_id") != cluster_id:
            return "of another Kafka cluster"
        if self.meta.get("partitions") != partitions:
            return "of another number of partitions"
        if time.time() - self.meta.get("written_at", 0) > MAX_STORE_AGE_S:
            return "last written too long ago"
        return ""

    def begin(self, cluster_id: str, partitions: int) -> None:
        """Note what the store belongs to."""
        self.meta |= {"format": FORMAT, "cluster_id": cluster_id, "partitions": partitions}

    def wipe(self) -> None:
        """Throw everything away and start anew."""
        self._db.close()
        shutil.rmtree(self.path)
        self._open()

    def size(self) -> int:
        """Bytes on disk and in write buffers."""
        files = self._db.property_int_value("rocksdb.total-sst-files-size") or 0
        buffers = self._db.property_int_value("rocksdb.cur-size-all-mem-tables") or 0
        return int(files) + int(buffers)

    def close(self) -> None:
        """Write out what is in memory and close."""
        self._db.flush()
        self._db.close()
