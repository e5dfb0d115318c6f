"""A unit's RocksDB: an index of its output records, and how far into each output topic it reaches.

Rule: values lie there packed (`streams.worker.packing`), which nobody else sees. Entries and positions are written
together. The write-ahead log is off, since the topics are the log: after a
crash the store is what RocksDB last flushed, with the positions of that moment, and the rest is read again from Kafka.
"""

from __future__ import annotations

import re
import shutil
import time
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
import structlog
from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompactionStyle,
    DBCompressionType,
    MemtableFactory,
    Options,
    Rdict,
    ReadOptions,
    SliceTransform,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from schemas.errors import StateError
from streams.core.compiled import bulk
from streams.core.state import FORMAT, VISITOR_PREFIX
from streams.worker.compiled import packing, sieve
from streams.worker.sieve import MARKS_AT_MOST, SIEVE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

log = structlog.get_logger()

_META: Final = b"!"
_MARKS: Final = (b"m", b"n")
_PAGE: Final = 10_000
_BLOCK: Final = 16 << 10
_WINDOW_BITS: Final = -14
"""RocksDB's own default."""
_ZSTD_LEVEL: Final = 1
"""On touches as small as by its default of 3, at half the time."""
_LOADING_JOBS: Final = 8
"""Of which RocksDB lets a quarter write out what has been put, and the others put files together."""
_FILES: Final = 6
"""So many sorted files, or rows of files, are too many: each has a filter to ask, for each look-up."""
_LOADING_FILES: Final = 12
"""So many files are put together at once while loading; what is left is daily work, and far from where writes wait."""
_OF_THE_DISK: Final = re.compile(
    "no space left|permission denied|read-only file system|quota exceeded|too many open files|input/output error",
    re.IGNORECASE,
)
"""What is wrong with the disk and not with the files: throwing them away would mend nothing."""
MAX_STORE_AGE_S: Final = 3.5 * 86_400
"""Half of delete.retention.ms: an older store may have missed deletions of compacted records."""


class _Memory:
    """What the stores of a process share: a quarter of it caches reads, the rest buffers writes."""

    def __init__(self) -> None:
        self.bound(512 << 20)

    def bound(self, size: int) -> None:
        """From now on it is of `size` bytes."""
        # The default cache is of many small parts, into which the filters of larger files do not fit: they were read
        # anew for each look-up.
        self.cache = Cache.new_hyper_clock_cache(size // 4, _BLOCK)
        self.write_buffers = WriteBufferManager(size // 4 * 3, False)


_memory = _Memory()


def limit_memory(megabytes: int) -> None:
    """Bound what the stores that are opened from now on hold in memory, together."""
    _memory.bound(megabytes << 20)


def _options(*, loading: bool = False) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(64 << 20)
    options.set_max_write_buffer_number(3)
    options.set_write_buffer_manager(_memory.write_buffers)
    # Entries come in no order and are hardly ever changed: merging files of about the same size writes each some three
    # times, merging new ones into all there is, as often as that is larger than they are.
    options.set_compaction_style(DBCompactionStyle.universal())
    options.set_level_zero_file_num_compaction_trigger(_LOADING_FILES if loading else _FILES)
    options.set_max_background_jobs(_LOADING_JOBS if loading else 2)
    if loading:
        # What comes is only appended, and put in order by another thread when it is written out: a fifth of the time.
        options.set_allow_concurrent_memtable_write(False)
        options.set_memtable_factory(MemtableFactory.vector())
    else:
        # Nearly all look-ups are for touches that are not there; a filter answers for what is not on disk yet, too.
        options.set_memtable_prefix_bloom_ratio(0.05)
        options.set_memtable_whole_key_filtering(True)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    # What is merged again soon is packed quickly, what stays is packed well: by then nearly all of it.
    options.set_compression_type(DBCompressionType.lz4())
    options.set_bottommost_compression_type(DBCompressionType.zstd())
    options.set_bottommost_compression_options(_WINDOW_BITS, _ZSTD_LEVEL, 0, 0, True)
    table.set_block_size(_BLOCK)
    # Asked by whole keys, and by visitor: of the files, a visitor is in few.
    options.set_prefix_extractor(SliceTransform.create_fixed_prefix(VISITOR_PREFIX))
    table.set_bloom_filter(16, False)
    table.set_block_cache(_memory.cache)
    # Else indexes and filters grow with the state, beside the cache.
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    options.set_block_based_table_factory(table)
    return options


def open_store(path: Path) -> Store:
    """The store at `path`; one that RocksDB cannot read is thrown away, since the topics hold all of it."""
    try:
        return Store(path)
    except Exception as error:
        if isinstance(error, OSError) or _OF_THE_DISK.search(str(error)):
            raise StateError(f"the state in {path} cannot be opened: {error}") from error
        # Whoever holds the lock is about to close it, or is another worker on the same directory.
        if "lock" in str(error).lower():
            raise StateError(f"the store in {path} is in use by another unit or worker: {error}") from error
        log.warning("state_wiped", path=str(path), why=str(error))
        shutil.rmtree(path)
        return Store(path)


def state_error(error: Exception, path: Path) -> StateError | None:
    """What RocksDB, which raises the root of all exceptions, says of its disk; None where it is something else."""
    if type(error) is Exception or _OF_THE_DISK.search(str(error)):
        return StateError(f"the state in {path} cannot be used: {error}")
    return None


class Store:
    """One partition's entries. Not safe for use by two at once; the unit takes care."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()
        self._sieve = self._sieve_of_all()

    def _open(self, *, loading: bool = False) -> None:
        database = _options(loading=loading)
        # Without naming its only column family, rocksdict goes on with the options that a store was created with.
        self._db = Rdict(
            str(self.path), database, column_families={"default": database}, access_type=AccessType.read_write()
        )
        self.loading = loading
        options = WriteOptions()
        options.memtable_insert_hint_per_batch = True
        options.disable_wal = True  # type: ignore[method-assign, assignment] # a property; the stub errs
        self._db.set_write_options(options)
        self._write_options = options
        found = self._db.get(_META)
        self.meta: dict[str, Any] = orjson.loads(found) if found is not None else {}

    def _sieve_of_all(self) -> bytearray:
        found, read = bytearray(SIEVE_BYTES), 0
        for page in self.pages(*_MARKS, _PAGE):
            sieve.note(found, [key for key, _ in page])
            read += len(page)
            if read > MARKS_AT_MOST:
                return bytearray(b"\xff") * SIEVE_BYTES
        return found

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of `keys`, in their order."""
        return cast("list[bytes | None]", sieve.look_up(list(keys), self._db.get, packing.unpack, self._sieve))

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All entries whose key starts with `prefix`, in key order."""
        found = []
        reading = ReadOptions()
        if len(prefix) < VISITOR_PREFIX:
            reading.set_total_order_seek(True)
        else:
            reading.set_prefix_same_as_start(True)
        entries = self._db.iter(reading)
        entries.seek(prefix)
        while entries.valid():
            key = entries.key()
            if not key.startswith(prefix):
                break
            found.append((key, packing.unpack(entries.value())))
            entries.next()
        return found

    def pages(self, start: bytes, end: bytes, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """All entries with start <= key < end as they are now, in key order, at most `size` at a time.

        What is written meanwhile does not show. The store cannot be closed before all of them are read or let go.
        """
        reading = ReadOptions()
        reading.fill_cache(False)  # type: ignore[call-arg] # the stub errs
        reading.set_total_order_seek(True)
        entries = self._db.iter(reading)
        entries.seek(start)

        def walk() -> Iterator[list[tuple[bytes, bytes]]]:
            page: list[tuple[bytes, bytes]] = []
            while entries.valid():
                key = entries.key()
                if key >= end:
                    break
                page.append((key, packing.unpack(entries.value())))
                entries.next()
                if len(page) == size:
                    yield page
                    page = []
            if page:
                yield page

        return walk()

    def write(self, puts: dict[bytes, bytes], positions: Mapping[str, int]) -> None:
        """Set entries, and the output positions they bring the store to, in one step."""
        batch = WriteBatch(raw_mode=True)
        # In order of keys, each finds its place in the write buffer beside the one before: a quarter of the time.
        if bulk is not None:
            bulk.put_in_order(batch.put, puts, packing.pack)
        else:
            for key in sorted(puts):
                batch.put(key, packing.pack(puts[key]))
        self.write_batch(batch, puts, positions)

    def write_batch(self, batch: WriteBatch, marks: Iterable[bytes], positions: Mapping[str, int]) -> None:
        """Set what `batch` holds, its values packed, and the output positions it brings the store to, in one step.

        All marks that it sets are among the keys in `marks`.
        """
        sieve.note(self._sieve, marks)
        self.meta["positions"] = {**self.positions, **positions}
        self.meta["written_at"] = time.time()
        batch.put(_META, orjson.dumps(self.meta))
        self._db.write(batch, self._write_options)

    def forget(self, keys: Sequence[bytes], start: bytes = b"", end: bytes = b"") -> None:
        """Delete entries, and all with start <= key < end."""
        batch = WriteBatch(raw_mode=True)
        for key in keys:
            batch.delete(key)
        if start < end:
            batch.delete_range(start, end)
        self._db.write(batch, self._write_options)

    @property
    def positions(self) -> dict[str, int]:
        """How far into each output topic the store reaches: topic -> next offset."""
        found: dict[str, int] = self.meta.get("positions", {})
        return found

    @property
    def latest(self) -> int:
        """When the latest event came that is here (ms since the epoch)."""
        latest: int = self.meta.get("latest", 0)
        return latest

    @latest.setter
    def latest(self, received: int) -> None:
        self.meta["latest"] = received

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

    def of(self, incarnations: Mapping[str, str]) -> str:
        """Note which topics it indexes; why it cannot be gone on with where it is of former ones of their names."""
        known = self.meta.get("topics", {})
        made_anew = sorted(topic for topic, found in incarnations.items() if known.get(topic, found) != found)
        self.meta["topics"] = dict(incarnations)
        return f"{', '.join(made_anew)} made anew" if made_anew else ""

    def wipe(self) -> None:
        """Throw everything away and start anew."""
        self._db.close()
        shutil.rmtree(self.path)
        self._open()
        self._sieve = bytearray(SIEVE_BYTES)

    def reopen(self, *, loading: bool) -> None:
        """Get ready for a great many entries at once, or, after them, for daily work; may run in a thread."""
        self._db.flush()
        self._db.close()
        self._open(loading=loading)

    def size(self) -> int:
        """Bytes on disk and in write buffers."""
        files = self._db.property_int_value("rocksdb.total-sst-files-size") or 0
        buffers = self._db.property_int_value("rocksdb.cur-size-all-mem-tables") or 0
        return int(files) + int(buffers)

    def close(self) -> None:
        """Write out what is in memory and close."""
        try:
            self._db.flush()
        finally:
            self._db.close()
