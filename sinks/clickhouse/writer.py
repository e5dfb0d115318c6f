"""Batches, and how they get into ClickHouse.

Rule: a batch is inserted whole, tables in parallel, each tried for ever with growing pauses; a repeated insert changes
nothing. Only when all of it went in without a failure in between is it marked as there (`positions`): after a failure
the database may be another one than before, so all is inserted once more. Whether the last attempt went through is the
sink's readiness; an outage is said once when it begins and once when it ends.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import random
from typing import TYPE_CHECKING, TypeVar

import structlog

from schemas.errors import Unavailable
from sinks.clickhouse import positions
from sinks.clickhouse.positions import Span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from aiokafka import TopicPartition

    from sinks.clickhouse.metrics import SinkMetrics
    from sinks.clickhouse.native import Encoded
    from sinks.clickhouse.server import Server

log = structlog.get_logger()
_T = TypeVar("_T")

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
SLOW_SECONDS = 10.0
"""An insert that takes longer makes the sink not ready."""


@dataclass(slots=True)
class Batch:
    """Encoded rows by table, and where they begin and end in each partition: the offsets to commit once they are in."""

    blocks: dict[str, list[Encoded]] = field(default_factory=dict)
    rows: int = 0
    size: int = 0
    records: int = 0
    starts: dict[TopicPartition, int] = field(default_factory=dict)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    oldest_ms: int = 0
    started: float = 0.0

    def add(self, block: Encoded) -> None:
        """Add one block."""
        self.blocks.setdefault(block.table, []).append(block)
        self.rows += block.rows
        self.size += len(block.body)

    def reach(self, partition: TopicPartition, start: int, position: int, timestamp: int, now: float) -> None:
        """Note that it has all of `partition` from `start` to below `position`, the first of `timestamp` (ms)."""
        if not self.positions:
            self.started, self.oldest_ms = now, timestamp
        self.starts.setdefault(partition, start)
        self.positions[partition] = position
        self.oldest_ms = min(self.oldest_ms, timestamp)

    def spans(self, generations: Mapping[str, int]) -> list[Span]:
        """What it holds of each partition, by the topics' `generations`."""
        return [
            Span(part.topic, generations[part.topic], part.partition, self.starts[part], position)
            for part, position in self.positions.items()
        ]


class Writer:
    """Inserts batches; `problem` is the one line that says why the last attempt failed, "" where it did not."""

    def __init__(self, server: Server, metrics: SinkMetrics) -> None:
        self._server = server
        self._metrics = metrics
        self._failed_at = 0.0
        self._writing_since = 0.0
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why rows do not get in at the moment; "" where they do."""
        if (
            not self._problem
            and self._writing_since
            and (took := time.monotonic() - self._writing_since) > SLOW_SECONDS
        ):
            return f"ClickHouse at {self._server.address}: no answer to an insert for {took:.0f} s"
        return self._problem

    async def write(self, batch: Batch, spans: list[Span]) -> None:
        """Insert `batch`, and mark `spans` as there; returns when all of it is. Cancel it to give up.

        Raises `Behind` where the database lacks what lies below.
        """
        pause = FIRST_PAUSE
        try:
            while not await self._attempt(batch, spans):
                await _pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._writing_since = 0.0
        for table, blocks in batch.blocks.items():
            self._metrics.rows.labels(table).inc(sum(block.rows for block in blocks))
        self.succeeded()

    async def _attempt(self, batch: Batch, spans: list[Span]) -> bool:
        """Insert all rows and mark them; whether that went without a failure. Raises `Behind`."""
        async with asyncio.TaskGroup() as group:
            inserts = [group.create_task(self._insert(table, blocks)) for table, blocks in batch.blocks.items()]
            asked = group.create_task(self._or_none(positions.read(self._server)))
        if any(task.result() for task in inserts) or (held := asked.result()) is None:
            return False
        positions.check(held, spans)
        return await self._or_none(self._mark(spans)) is not None

    async def _mark(self, spans: list[Span]) -> bool:
        await positions.write(self._server, spans)
        return True

    async def _or_none(self, work: Awaitable[_T]) -> _T | None:
        """What `work` on the positions gives; None where that failed."""
        try:
            return await work
        except Unavailable as error:
            self._metrics.failures.labels("sink_positions").inc()
            self.failed(str(error))
            return None

    async def _insert(self, table: str, blocks: list[Encoded]) -> int:
        failures, pause = 0, FIRST_PAUSE
        while True:
            self._writing_since = begun = time.monotonic()
            try:
                await self._server.insert(table, blocks[0].columns, [block.body for block in blocks])
            except Unavailable as error:
                self._metrics.failures.labels(table).inc()
                self.failed(str(error))
                failures += 1
            else:
                self._metrics.inserts.labels(table).observe(time.monotonic() - begun)
                return failures
            await _pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def failed(self, problem: str) -> None:
        """Note a failed attempt; logged where it is the first."""
        if not self._problem:
            self._failed_at = time.monotonic()
            self._metrics.clickhouse_up.set(0)
            log.error(
                "sink_insert_failed", error=problem, consequence="retried until it succeeds; nothing is committed"
            )
        self._problem = problem

    def succeeded(self) -> None:
        """Note that all went through; logged where something failed before."""
        if self._problem:
            log.info("sink_insert_recovered", seconds=round(time.monotonic() - self._failed_at, 1))
        self._metrics.clickhouse_up.set(1)
        self._problem = ""


async def _pause(seconds: float) -> None:
    """About so long, so that several sinks do not all come at once."""
    await asyncio.sleep(seconds * (0.75 + random() / 2))  # noqa: S311  # no secret
