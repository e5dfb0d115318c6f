"""Restore: read a partition's output topics to their end into its store.

Rule: records are put under the key in their header ``k``; nothing is parsed. A saved position that the log does not
hold any more, or not yet, makes the store worthless: it is wiped and read anew (design, section 3).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.errors import RestoreError
from schemas.settings import Settings, kafka_client_options
from schemas.topics import STATE
from streams.core.state import mark_key
from streams.worker.consumers import stop_consumer, unwrap_records

if TYPE_CHECKING:
    from streams.worker.store import Store

log = structlog.get_logger()

STALLED_S: Final = 60.0
"""Without a record for so long a restore has failed."""
_PROGRESS_S: Final = 5.0


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
        unwrap_records(self._consumer)
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
        began = moved = time.monotonic()
        told = began
        before = self.records
        while True:
            positions = {tp: await self._consumer.position(tp) for tp in self._tps}
            if all(positions[tp] >= ends[tp] for tp in self._tps):
                break
            found = await self._consumer.getmany(timeout_ms=200)
            now = time.monotonic()
            if found or positions != {tp: await self._consumer.position(tp) for tp in self._tps}:
                moved = now
            elif now - moved > STALLED_S:
                behind = {tp.topic: ends[tp] - positions[tp] for tp in self._tps if positions[tp] < ends[tp]}
                raise RestoreError(f"partition {self._partition}: no progress for {STALLED_S:.0f} s; behind: {behind}")
            for tp, records in found.items():
                self._put(tp, records, await self._consumer.position(tp))
            if now - told > _PROGRESS_S:
                told = now
                left = sum(max(0, ends[tp] - positions[tp]) for tp in self._tps)
                log.info("restoring", partition=self._partition, records=self.records - before, left=left)
        reached = {tp.topic: position for tp, position in positions.items()}
        self._store.write({}, reached)
        return reached

    def _put(self, tp: TopicPartition, records: list[Any], position: int) -> None:
        puts: dict[bytes, bytes] = {}
        for record in records:
            headers = record.headers
            if not headers or headers[0][0] != "k":
                continue
            key = headers[0][1]
            puts[key] = record.value
            if len(headers) > 1:
                puts[mark_key(key)] = b""
        self._store.write(puts, {tp.topic: position})
        self.records += len(records)

    async def committed(self, topics: tuple[str, ...]) -> dict[str, int]:
        """Where the group stands in the partition's inputs; the start of the log where it never was.

        Ask after fencing: only then can no earlier owner commit any more.
        """
        tps = [TopicPartition(topic, self._partition) for topic in topics]
        starts = await self._consumer.beginning_offsets(tps)
        ends = await self._consumer.end_offsets(tps)
        found = {}
        for tp in tps:
            offset = await self._consumer.committed(tp)
            if offset is not None and offset > ends[tp]:
                log.error("log_replaced", topic=tp.topic, partition=tp.partition, position=offset, log_end=ends[tp])
                offset = None
            found[tp.topic] = starts[tp] if offset is None else offset
        return found

    async def close(self) -> None:
        """Disconnect."""
        await stop_consumer(self._consumer)
