"""Batches, and how they get into ClickHouse.

Rule: a batch is inserted whole, tables in parallel, each tried for ever with growing pauses; a repeated insert changes
nothing. Whether the last attempt went through is the sink's readiness; an outage is said once when it begins and once
when it ends.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import random
from typing import TYPE_CHECKING

import structlog

from schemas.errors import Unavailable

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from sinks.clickhouse.metrics import SinkMetrics
    from sinks.clickhouse.native import Encoded
    from sinks.clickhouse.server import Server

log = structlog.get_logger()

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


@dataclass(slots=True)
class Batch:
    """Encoded rows by table, and how far they reach in each partition: the offsets to commit once they are in."""

    blocks: dict[str, list[Encoded]] = field(default_factory=dict)
    rows: int = 0
    size: int = 0
    records: int = 0
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    oldest_ms: int = 0
    started: float = 0.0

    def add(self, block: Encoded) -> None:
        """Add one block."""
        self.blocks.setdefault(block.table, []).append(block)
        self.rows += block.rows
        self.size += len(block.body)

    def reach(self, partition: TopicPartition, position: int, timestamp: int, now: float) -> None:
        """Note that records of `partition` below `position`, the first of `timestamp` (ms), are in the batch."""
        if not self.positions:
            self.started, self.oldest_ms = now, timestamp
        self.positions[partition] = position
        self.oldest_ms = min(self.oldest_ms, timestamp)


class Writer:
    """Inserts batches; `problem` is the one line that says why the last attempt failed, "" where it did not."""

    def __init__(self, server: Server, metrics: SinkMetrics) -> None:
        self._server = server
        self._metrics = metrics
        self.problem = ""

    async def write(self, batch: Batch) -> None:
        """Insert `batch`; returns when all of it is there. Cancel it to give up."""
        async with asyncio.TaskGroup() as group:
            for table, blocks in batch.blocks.items():
                group.create_task(self._insert(table, blocks))

    async def _insert(self, table: str, blocks: list[Encoded]) -> None:
        pause = FIRST_PAUSE
        while True:
            begun = time.perf_counter()
            try:
                await self._server.insert(table, blocks[0].columns, [block.body for block in blocks])
            except Unavailable as error:
                self._metrics.failures.labels(table).inc()
                self.failed(str(error))
            else:
                self._metrics.inserts.labels(table).observe(time.perf_counter() - begun)
                self._metrics.rows.labels(table).inc(sum(block.rows for block in blocks))
                self.succeeded()
                return
            await asyncio.sleep(pause * (0.75 + random() / 2))  # noqa: S311  # spreads retries, no secret
            pause = min(2 * pause, LONGEST_PAUSE)

    def failed(self, problem: str) -> None:
        """Note a failed attempt; logged where it is the first."""
        if not self.problem:
            log.error(
                "sink_insert_failed", error=problem, consequence="retried until it succeeds; nothing is committed"
            )
        self.problem = problem

    def succeeded(self) -> None:
        """Note an attempt that went through; logged where the one before failed."""
        if self.problem:
            log.info("sink_insert_recovered")
        self.problem = ""
