"""The sink's loop: committed output records -> batches of columns -> ClickHouse -> committed offsets.

Rule: an offset is committed after its rows are in. One batch is on its way while the next is collected, and that is all
that is ever held: when both are full, fetching pauses. A batch goes when it is full, when nothing more comes, or when
it has waited a few times as long as the last insert took: so rows are seen soon while ClickHouse is quick, and inserts
become fewer and larger, up to a second's, as it slows down. On a rebalance what is held is inserted and committed, or
given up: the next owner reads it again, and nothing changes by that.

A committed offset carries the incarnation of its topic as metadata; where the topic is another one by now, the
partition is read from its start, and its rows bear a higher generation (`generations`). ClickHouse keeps positions of
its own beside the rows (`positions`): at start, with every batch and every few seconds they are compared, and where
ClickHouse holds less than Kafka's offsets say, as after it was put back from a backup, reading begins there again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IllegalStateError, KafkaError, UnknownTopicOrPartitionError

from schemas.consumers import unwrap_records
from schemas.fetched import join
from schemas.incarnations import incarnations
from schemas.kafka_clients import stop_consumer
from schemas.settings import Settings, kafka_client_options
from sinks.clickhouse import decoders, rejects
from sinks.clickhouse.positions import Behind
from sinks.clickhouse.server import Server
from sinks.clickhouse.standing import TOPICS, Standing
from sinks.clickhouse.writer import Batch, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinks.clickhouse.metrics import SinkMetrics

log = structlog.get_logger()

BARE: Final = frozenset(("touches", "panes", "attributions", "orders"))
"""Topics whose records come without their place: nearly all that the sink reads."""
_DRAIN_SECONDS: Final = 3.0
_CHECK_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How large a batch grows and how long it waits (rows, bytes, seconds); a `chunk` is decoded in one piece.

    It waits `patience` times as long as the last insert took, between `min_wait` and `max_wait`, or until nothing came
    for `linger`.
    """

    max_rows: int = 100_000
    max_bytes: int = 64 << 20
    min_wait: float = 0.1
    max_wait: float = 1.0
    patience: float = 2.0
    linger: float = 0.05
    chunk: int = 4_000

    def wait(self, insert_s: float) -> float:
        """How long a batch waits where the last insert took `insert_s`."""
        return min(self.max_wait, max(self.min_wait, self.patience * insert_s))


class Sink(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Runs until asked to stop; ``ready`` says whether rows get through, and why not."""

    def __init__(self, settings: Settings, metrics: SinkMetrics, pace: Pace | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._pace = pace or Pace()
        self._group = f"{settings.app}-sink"
        self._server = Server(settings)
        self._writer = Writer(self._server, metrics)
        self._stopping = asyncio.Event()
        self._problem = "starting"
        self._batch = Batch()
        self._sent: asyncio.Task[None] | None = None
        self._sent_batch: Batch | None = None
        self._insert_s = 0.0
        self._draining = False
        self._standing = Standing(self._group, self._server, self._writer, metrics, self._stopping)
        self._next: dict[TopicPartition, int] = {}
        self._consumer: Any = None
        self._failure: BaseException | None = None

    def ready(self) -> tuple[bool, str]:
        """Whether partitions are assigned and the last insert went through; else the reason in one line."""
        problem = self._problem or self._writer.problem
        return not problem, problem

    def stop(self) -> None:
        """Ask the sink to insert what it holds, commit, and end."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until stopped. Kafka's failures are survived by starting over; raises what only a person can mend."""
        said = ""
        try:
            while not self._stopping.is_set():
                try:
                    await self._session()
                except (KafkaError, OSError) as error:
                    self._problem = f"Kafka: {' '.join(str(error).split()) or type(error).__name__}"
                    if self._problem != said:
                        # One line: that Kafka is away is no bug, and its trace says nothing.
                        log.error("sink_kafka_unavailable", error=self._problem)  # noqa: TRY400
                    said = self._problem
                    await self._wait(_PAUSE_SECONDS)
                else:
                    said = ""
        finally:
            await self._server.close()
        if self._failure is not None:
            raise self._failure

    async def _session(self) -> None:
        """One consumer's life, from joining the group to leaving it."""
        options = kafka_client_options(self._settings)
        admin = AIOKafkaAdminClient(**options)
        consumer = AIOKafkaConsumer(
            **options,
            group_id=self._group,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=3_000,
            max_poll_interval_ms=3_600_000,
            max_partition_fetch_bytes=8 << 20,
            fetch_max_wait_ms=100,
        )
        self._consumer, self._draining = consumer, False
        self._forget()
        try:
            await admin.start()
            await incarnations(admin, TOPICS)
            await consumer.start()
            unwrap_records(consumer, BARE)
            consumer.subscribe(TOPICS, listener=self)
            log.info(
                "sink_started",
                group=self._group,
                topics=list(TOPICS),
                clickhouse=self._server.address,
                compiled=decoders.compiled is not None,
            )
            await self._consume(consumer, admin)
            await self._drain()
        finally:
            self._problem = self._problem or "stopped"
            self._standing.close()
            await self._abandon()
            await stop_consumer(consumer)
            await admin.close()
            self._consumer = None

    async def _consume(self, consumer: Any, admin: AIOKafkaAdminClient) -> None:
        checked = measured = looked = time.monotonic()
        idle = False
        while not self._stopping.is_set():
            now = time.monotonic()
            if now - checked > _CHECK_SECONDS:
                await self._check_topics(consumer, admin)
                checked = now
            if now - measured > 1.0:
                self._measure(consumer)
                measured = now
            if now - looked > (_AGAIN_SECONDS if self._writer.problem else _CHECK_SECONDS):
                self._standing.look(self._busy)
                looked = now
            if self._standing.behind:
                await self._rewind()
            assigned = consumer.assignment()
            if not assigned:
                self._problem = "no partitions assigned"
            elif any(partition not in self._next for partition in assigned):
                await self._resolve(consumer, admin, [part for part in assigned if part not in self._next])
                continue
            if self._draining:
                await asyncio.sleep(0.02)
                continue
            self._send_if_due(now, idle)
            self._pause_or_resume(consumer)
            records = await consumer.getmany(timeout_ms=self._timeout_ms(), max_records=self._pace.chunk)
            idle = not records
            if records:
                await self._take(consumer, records)

    async def _take(self, consumer: Any, fetched: dict[TopicPartition, Sequence[Any]]) -> None:
        """Encode what was fetched and add it to the batch."""
        if self._draining:
            return
        chunks: dict[tuple[str, int | None], list[Sequence[Any]]] = {}
        now = time.monotonic()
        for partition, records in fetched.items():
            expected = self._next.get(partition)
            if expected is None:
                # Assigned this very moment: where to read from is found out next.
                continue
            if records[0].offset < expected:
                # The log began anew: find out which topic this is, and read from where that one is. The batch speaks of
                # records that are not in it yet: nobody may send it any more.
                self._standing.behind, self._batch = True, Batch()
                return
            position = self._position(consumer, partition, records[-1].offset + 1)
            self._next[partition] = position
            self._batch.reach(partition, expected, position, records[0].timestamp, now)
            self._batch.records += len(records)
            # A pane's partition is part of its identity; everything else goes together.
            number = partition.partition if partition.topic == "panes" else None
            chunks.setdefault((partition.topic, number), []).append(records)
        for (topic, number), parts in chunks.items():
            records = cast("Sequence[Any]", join(parts))
            generation = self._standing.generations[topic]
            self._metrics.records.labels(topic).inc(len(records))
            blocks, rejected = decoders.encode(topic, records, generation, number)
            for block in blocks:
                self._batch.add(block)
            if rejected:
                rejected = rejects.placed(rejected, topic, fetched)
                self._metrics.undecodable.labels(topic).inc(len(rejected))
                first = rejected[0]
                where = f"{topic}[{first.record.partition}]@{first.record.offset}"
                log.error("sink_record_undecodable", count=len(rejected), first=where, error=first.error)
                self._batch.add(rejects.rows(rejected, generation))
        self._note_oldest()
        # Encoding is long work in one piece; heartbeats and the metrics' server get their turn between two pieces.
        await asyncio.sleep(0)

    def _position(self, consumer: Any, partition: TopicPartition, otherwise: int) -> int:
        """The fetch position: beyond the last record where transaction markers follow it."""
        # Not consumer.position(), which may wait; a batch takes records and their positions in one piece.
        subscription = consumer._subscription.subscription  # noqa: SLF001
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or partition not in assignment.tps:
            return otherwise
        position = assignment.state_value(partition)._position  # noqa: SLF001
        return otherwise if position is None else max(otherwise, int(position))

    def _full(self) -> bool:
        return self._batch.rows >= self._pace.max_rows or self._batch.size >= self._pace.max_bytes

    def _send_if_due(self, now: float, idle: bool) -> None:
        if not self._batch.positions or self._busy():
            return
        if self._full() or idle or now - self._batch.started >= self._pace.wait(self._insert_s):
            self._send()

    def _send(self) -> None:
        self._sent_batch, self._batch = self._batch, Batch()
        self._sent = asyncio.create_task(self._deliver(self._sent_batch))
        self._sent.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        if self._sent is task:
            self._sent_batch = None
        self._note_oldest()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self._stopping.set()

    async def _deliver(self, batch: Batch) -> None:
        began = time.monotonic()
        try:
            await self._writer.write(batch, batch.spans(self._standing.generations))
        except Behind:
            self._standing.behind = True
            return
        self._insert_s = time.monotonic() - began
        self._standing.reach(batch.positions)
        consumer = self._consumer
        owned = consumer.assignment()
        offsets = {
            partition: OffsetAndMetadata(position, self._standing.incarnations[partition.topic])
            for partition, position in batch.positions.items()
            if partition in owned
        }
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
        except (KafkaError, IllegalStateError) as error:
            # The rows are in; whoever reads them again writes the same ones.
            log.warning("sink_commit_failed", error=str(error) or type(error).__name__)

    def _timeout_ms(self) -> int:
        if self._busy() and self._full():
            return 100
        return int(1000 * (self._pace.linger if self._batch.positions else 0.25))

    def _busy(self) -> bool:
        return self._sent is not None and not self._sent.done()

    def _pause_or_resume(self, consumer: Any) -> None:
        if self._busy() and self._full():
            running = consumer.assignment() - consumer.paused()
            if running:
                consumer.pause(*running)
        elif paused := consumer.paused():
            consumer.resume(*paused)

    def _note_oldest(self) -> None:
        held = (self._batch, self._sent_batch)
        self._metrics.oldest_ms = [batch.oldest_ms for batch in held if batch is not None and batch.positions]

    def _measure(self, consumer: Any) -> None:
        for partition in consumer.assignment():
            end, position = consumer.highwater(partition), self._position(consumer, partition, 0)
            if end is not None:
                self._metrics.consumer_lag.labels(partition.topic, partition.partition).set(max(0, end - position))

    async def _resolve(self, consumer: Any, admin: AIOKafkaAdminClient, partitions: list[TopicPartition]) -> None:
        """Go to where `partitions` are to be read from."""
        starts = await self._standing.find(consumer, admin, partitions)
        if starts is None:
            return
        for partition in starts.keys() & consumer.assignment():
            consumer.seek(partition, starts[partition])
            self._next[partition] = starts[partition]
        self._problem = ""

    async def _rewind(self) -> None:
        """Let go of what is held, and find out anew where to read every partition from."""
        await self._abandon()
        self._forget()
        # Two servers that take turns and do not hold the same would have it go round and round.
        await self._wait(0.5)

    def _forget(self) -> None:
        self._next.clear()
        self._standing.forget()

    async def _check_topics(self, consumer: Any, admin: AIOKafkaAdminClient) -> None:
        """Notice a topic that was deleted and created again while it was being read."""
        try:
            found = await incarnations(admin, TOPICS)
        except UnknownTopicOrPartitionError as error:
            log.warning("sink_topic_missing", error=str(error))
            return
        known = self._standing.incarnations
        changed = {topic for topic, there in found.items() if there != known.get(topic, there)}
        if changed and consumer.assignment():
            await self._drain()
            self._draining = False
            await self._rewind()
            log.warning("sink_topic_recreated", topics=sorted(changed))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        """Insert and commit what is held, within a few seconds, or give it up."""
        await self._drain()
        await self._abandon()
        self._forget()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Go on; the loop finds out where."""
        self._draining = False
        self._forget()
        partitions = list(assigned)
        self._metrics.consumer_lag.clear()
        log.info("sink_assigned", partitions=len(partitions))

    async def _drain(self) -> None:
        """Insert and commit what is held; what is not in after a few seconds stays held."""
        self._draining = True
        deadline = time.monotonic() + _DRAIN_SECONDS
        while (self._batch.positions or self._busy()) and (left := deadline - time.monotonic()) > 0:
            if not self._busy():
                self._send()
            await asyncio.wait({task for task in (self._sent,) if task is not None}, timeout=left)

    async def _abandon(self) -> None:
        """Let go of what is still held: it was not committed, so it will be read again."""
        held = self._batch.records + (self._sent_batch.records if self._sent_batch is not None else 0)
        if self._sent is not None and not self._sent.done():
            self._sent.cancel()
            await asyncio.wait({self._sent})
        if held:
            log.warning("sink_batch_abandoned", records=held, consequence="read again by the next owner")
        self._sent = self._sent_batch = None
        self._batch = Batch()
        self._note_oldest()

    async def _wait(self, seconds: float) -> None:
        """Sleep, but no longer than until a stop is asked for."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
