"""Where the sink stands: what Kafka's offsets say, what ClickHouse holds, and from where each partition is read.

Rule: reading begins where both sides are, the smaller of the two; what neither has any more is said loudly. While
rows come, every batch is held against ClickHouse's positions; while none come, they are looked at every few seconds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from schemas.errors import Unavailable
from schemas.incarnations import incarnations
from sinks.clickhouse import decoders, generations, positions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiokafka import TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient

    from sinks.clickhouse.metrics import SinkMetrics
    from sinks.clickhouse.positions import Start
    from sinks.clickhouse.server import Server
    from sinks.clickhouse.writer import Writer

log = structlog.get_logger()
_T = TypeVar("_T")

TOPICS: Final = tuple(decoders.DECODERS)
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0


class Standing:
    """What is known of topics and partitions; `behind` says that ClickHouse holds less than it did, or it seems so."""

    def __init__(
        self, group: str, server: Server, writer: Writer, metrics: SinkMetrics, stopping: asyncio.Event
    ) -> None:
        self._group = group
        self._server = server
        self._writer = writer
        self._metrics = metrics
        self._stopping = stopping
        self._marked: dict[TopicPartition, int] = {}
        self._looking: asyncio.Task[None] | None = None
        self.incarnations: dict[str, str] = {}
        self.generations: dict[str, int] = {}
        self.behind = False

    def forget(self) -> None:
        """Know of no partition any more."""
        self._marked.clear()
        self.behind = False

    def reach(self, reached: Mapping[TopicPartition, int]) -> None:
        """Note the positions that ClickHouse has now."""
        self._marked.update(reached)

    def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()

    async def find(
        self, consumer: Any, admin: AIOKafkaAdminClient, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int] | None:
        """From where to read `partitions`; waits for ClickHouse as long as it takes, None where a stop is asked for.

        What was committed for another incarnation of a topic does not count: it is read from its start. Raises
        `KafkaError`.
        """
        self.incarnations = await incarnations(admin, TOPICS)
        committed: dict[TopicPartition, int] = {}
        stated = await generations.committed_offsets(admin, self._group, partitions)
        for part, (offset, incarnation) in stated.items():
            if incarnation and incarnation != self.incarnations[part.topic]:
                log.warning("sink_topic_recreated", topic=part.topic, partition=part.partition)
            else:
                committed[part] = offset
        first = await consumer.beginning_offsets(partitions)
        starts = await self._answered(lambda: self._starts(partitions, first, committed))
        if starts is None:
            return None
        self._tell(starts)
        found = {part: start.offset for part, start in starts.items()}
        self.reach(found)
        return found

    async def _starts(
        self, partitions: list[TopicPartition], first: dict[TopicPartition, int], committed: dict[TopicPartition, int]
    ) -> dict[TopicPartition, Start]:
        """Where to read each partition from, by what ClickHouse holds; raises `Unavailable`."""
        for topic in sorted({part.topic for part in partitions}):
            self.generations[topic] = await generations.generation(self._server, topic, self.incarnations[topic])
        held = await positions.read(self._server)
        starts = {}
        for part in partitions:
            start = positions.start_of(first[part], committed.get(part), held.get(self._key(part)))
            if start.begins:
                await positions.begin(self._server, *self._key(part), start.offset)
            starts[part] = start
        return starts

    def _tell(self, starts: dict[TopicPartition, Start]) -> None:
        """Say what is read again, and what cannot be read any more: a line a topic."""
        for topic in sorted({part.topic for part in starts}):
            of_topic = [start for part, start in starts.items() if part.topic == topic]
            rewound = sum(start.rewound for start in of_topic)
            gone = sum(start.gone for start in of_topic)
            if rewound:
                self._metrics.rewound.labels(topic).inc(rewound)
                log.warning(
                    "sink_rewound", topic=topic, offsets=rewound, why="ClickHouse holds less than was committed"
                )
            if gone:
                self._metrics.gone.labels(topic).inc(gone)
                log.error("sink_records_gone", topic=topic, offsets=gone, consequence="missing in ClickHouse for good")

    def look(self, busy: Callable[[], bool]) -> None:
        """Have ClickHouse's positions looked at in the background, unless a batch is `busy` doing that."""
        if busy() or not self._marked or (self._looking is not None and not self._looking.done()):
            return
        self._looking = asyncio.create_task(self._look(busy))

    async def _look(self, busy: Callable[[], bool]) -> None:
        before = dict(self._marked)
        try:
            held = await positions.read(self._server)
        except Unavailable as error:
            if not busy():
                self._writer.failed(str(error))
            return
        if busy() or self._marked != before:
            return
        self._writer.succeeded()
        self.behind |= any(held.get(self._key(part), 0) < offset for part, offset in before.items())

    def _key(self, part: TopicPartition) -> tuple[str, int, int]:
        return part.topic, self.generations[part.topic], part.partition

    async def _answered(self, ask: Callable[[], Awaitable[_T]]) -> _T | None:
        """What ClickHouse answers, asked with growing pauses until it does; None where a stop is asked for."""
        pause = _FIRST_PAUSE
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            while not stopped.done():
                asked = asyncio.ensure_future(ask())
                await asyncio.wait({asked, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not asked.done():
                    asked.cancel()
                    await asyncio.wait({asked})
                    break
                try:
                    found = asked.result()
                except Unavailable as error:
                    self._writer.failed(str(error))
                    await asyncio.wait({stopped}, timeout=pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                else:
                    self._writer.succeeded()
                    return found
        finally:
            stopped.cancel()
        return None
