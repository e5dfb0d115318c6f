"""Restore: read a partition's output topics to their end into its store.

Rule: records are put under the key in their header ``k``; nothing is parsed. A saved position that the log does not
hold any more, or not yet, makes the store worthless: it is wiped and read anew (design, section 3). Other units of the
process go on meanwhile: between two of Kafka's batches it is their turn.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from rocksdict import WriteBatch

from schemas.consumers import return_batches
from schemas.fetched import Records, compiled
from schemas.kafka_clients import stop_consumer
from schemas.settings import Settings, kafka_client_options
from schemas.topics import STATE
from streams.core.state import ALWAYS, mark_key, write_mark
from streams.worker import metrics
from streams.worker.compiled import packing
from streams.worker.progress import Progress
from streams.worker.unbroken import unbroken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from schemas.fetched import Record
    from streams.worker.store import Store

log = structlog.get_logger()

MANY: Final = 50_000
"""So many records are worth a store that is made ready for them."""
_BATCHES_AT_ONCE: Final = 2
"""Of Kafka's, each up to 900 kB as the worker writes them: so few stay in the processor's cache."""


class Restorer:
    """Reads one partition's outputs; `open`, `catch_up` (twice: before and after fencing), `committed`, `close`."""

    def __init__(self, settings: Settings, partition: int, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._partition = partition
        self._tps = [TopicPartition(topic, partition) for topic in STATE]
        self._consumer = AIOKafkaConsumer(
            **kafka_client_options(settings),
            group_id=settings.app,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=8 << 20,
            fetch_max_wait_ms=100,
        )
        self.records = 0

    async def open(self) -> None:
        """Connect, and go to where the store ends; wipes the store where it does not fit the logs."""
        await self._consumer.start()
        return_batches(self._consumer)
        self._consumer.assign(self._tps)
        starts = await self._consumer.beginning_offsets(self._tps)
        ends = await self._consumer.end_offsets(self._tps)
        saved = self._store.positions
        for tp in self._tps:
            position = saved.get(tp.topic)
            if position is not None and not starts[tp] <= position <= ends[tp]:
                log.warning("state_wiped", partition=self._partition, why=f"{tp.topic} ends before, or starts after it")
                self._store.wipe()
                saved = {}
                break
        for tp in self._tps:
            self._consumer.seek(tp, max(saved.get(tp.topic, 0), starts[tp]))

    async def catch_up(self) -> dict[str, int]:
        """Read all outputs to their present end; returns the positions reached. Raises `RestoreError`."""
        ends = await self._consumer.end_offsets(self._tps)
        positions = await self._positions()
        left = _left(positions, ends)
        if left > MANY:
            await unbroken(asyncio.to_thread(self._store.reopen, loading=True))
        progress = Progress(self._partition, left, time.monotonic())
        while left:
            found = await self._consumer.getmany(timeout_ms=200, max_records=_BATCHES_AT_ONCE)
            positions = await self._positions()
            for tp, batches in found.items():
                self._put(batches, {tp.topic: positions[tp]})
            left = _left(positions, ends)
            progress.reached(left, time.monotonic())
            await asyncio.sleep(0)
        reached = {tp.topic: position for tp, position in positions.items()}
        self._store.write({}, reached)
        if self._store.loading:
            await unbroken(asyncio.to_thread(self._store.reopen, loading=False))
        return reached

    async def _positions(self) -> dict[TopicPartition, int]:
        return {tp: await self._consumer.position(tp) for tp in self._tps}

    def _put(self, batches: list[Sequence[Record]], positions: dict[str, int]) -> None:
        entries = WriteBatch(raw_mode=True)
        put = entries.put
        count = 0
        marks: list[bytes] = []
        for records in batches:
            count += len(records)
            restore = compiled.restore if type(records) is Records else _restore
            marked = restore(records, put, entries.delete, packing.pack)
            marks += map(mark_key, marked)
        for mark in marks:
            put(mark, write_mark(ALWAYS))
        self._store.write_batch(entries, marks, positions)
        self.records += count
        metrics.RESTORED.inc(count)

    async def committed(self, topics: tuple[str, ...], incarnations: Mapping[str, str]) -> dict[str, int]:
        """Where the group stands in the partition's inputs; the start of the log where it never was.

        `incarnations` are the present ones: an offset that was committed for a former one says nothing.
        Ask after fencing: only then can no earlier owner commit any more.
        """
        tps = [TopicPartition(topic, self._partition) for topic in topics]
        starts = await self._consumer.beginning_offsets(tps)
        ends = await self._consumer.end_offsets(tps)
        # Its `committed` leaves out what else was committed with the offset.
        committed = await self._consumer._coordinator.fetch_committed_offsets(tps)  # noqa: SLF001
        found = {}
        for tp in tps:
            stated = committed.get(tp)
            offset, incarnation = (stated.offset, stated.metadata) if stated is not None else (starts[tp], "")
            if offset > ends[tp] or (incarnation and incarnation != incarnations.get(tp.topic, incarnation)):
                log.error("log_replaced", topic=tp.topic, partition=tp.partition, position=offset, log_end=ends[tp])
                offset = starts[tp]
            found[tp.topic] = offset
        return found

    async def close(self) -> None:
        """Disconnect."""
        await stop_consumer(self._consumer)


def _restore(
    records: Iterable[Record],
    put: Callable[[bytes, bytes], None],
    delete: Callable[[bytes], None],
    pack: Callable[[bytes], bytes],
) -> list[bytes]:
    """Put each record under its key, the header ``k``; returns the keys of those that leave a mark."""
    marked = []
    for record in records:
        headers = record.headers
        if not headers or headers[0][0] != "k":
            continue
        key, value = headers[0][1], record.value
        if value is None:
            delete(key)
            continue
        put(key, pack(value))
        if len(headers) > 1:
            marked.append(key)
    return marked


def _left(positions: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> int:
    return sum(max(0, end - positions[tp]) for tp, end in ends.items())
