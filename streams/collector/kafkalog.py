"""Kafka as the `EventLog`: batches of many requests, acknowledged by all in-sync replicas.

Rule: the records of concurrent requests gather for a few milliseconds in one batch a partition (a *lane*), since
a batch costs Kafka's client some 60 us whatever it holds, and a record sent by itself 20 us. A lane has one batch on
its way at a time, so the idempotent producer keeps order.

What Kafka has not acknowledged within the deadline is reported as not kept (it may still arrive: a retry bears the same
event id and counts once). After any error of a batch the producer's sequence numbers can't be trusted: it is replaced,
and so it is after 10^9 records, before aiokafka's sequence numbers wrap to negative ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError

from schemas.batches import Headers, batches_of
from schemas.errors import Unavailable
from streams.core.ids import partition_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka.structs import RecordMetadata

    from schemas.batches import Unsent
    from streams.collector.eventlog import Record

log = structlog.get_logger()

TOPICS: Final = ("clicks", "conversions", "costs", "dead-letters")
DEADLINE_S: Final = 5.0
"""Longest that a request waits for Kafka."""
LINGER_S: Final = 0.005
"""How long records gather before they are sent."""
BUSY_LINGER_S: Final = 0.01
BUSY_RECORDS: Final = 24
"""Where as many went at once, the next ones gather for longer: a batch costs the same whatever it holds."""
BATCH_BYTES: Final = 512 * 1024
PENDING_BYTES: Final = 64 * 1024 * 1024
"""Most that may wait for Kafka; beyond it events are refused at once (503), so memory stays flat."""
LARGEST_REQUEST: Final = 32 * 1024 * 1024
TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError, RecordTooLargeError)
"""What Kafka will say of these records tomorrow too."""
RECORDS_PER_PRODUCER: Final = 1_000_000_000
_SWEEP_S: Final = 0.25
_PROBE_S: Final = 5.0
_BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0)
_OVERHEAD: Final = 160
"""What a record takes beside its key and value, on its way and in memory, and a header beside its name and value."""
_NO_HEADERS: Final[Headers] = []


@dataclass(slots=True)
class _Batch:
    born: float
    records: list[Unsent] = field(default_factory=list)
    waiters: list[asyncio.Future[Unavailable | None]] = field(default_factory=list)
    patient: list[asyncio.Future[Unavailable | None]] = field(default_factory=list)
    size: int = 0

    def settle(self, error: Unavailable | None) -> None:
        self.settle_waiters(error)
        self.waiters, self.patient = self.patient, []
        self.settle_waiters(error)

    def settle_waiters(self, error: Unavailable | None) -> None:
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(error)
        self.waiters = []


@dataclass(slots=True)
class _Lane:
    topic: str
    partition: int
    open: _Batch | None = None
    full: deque[_Batch] = field(default_factory=deque)
    sending: _Batch | None = None

    def take(self) -> _Batch | None:
        """The batch to send next, or None."""
        if self.full:
            return self.full.popleft()
        batch, self.open = self.open, None
        return batch


class KafkaLog:
    """Events go to Kafka, acknowledged by all in-sync replicas (``acks=all``, idempotent).

    `options` are aiokafka's connection options. `open` returns at once and goes on connecting until Kafka and the
    topics are there.
    """

    def __init__(
        self,
        options: dict[str, Any],
        *,
        deadline_s: float = DEADLINE_S,
        records_per_producer: int = RECORDS_PER_PRODUCER,
    ) -> None:
        self._options = options
        self._deadline = deadline_s
        self._records_per_producer = records_per_producer
        self._producer: AIOKafkaProducer | None = None
        self._reachable = False
        self._lanes: dict[str, list[_Lane]] = {}
        self._turn = 0
        self._pending = 0
        self._sent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._worn = asyncio.Event()
        self._going: set[asyncio.Future[Any]] = set()
        self._busy = False
        self._keeper: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether a producer is connected and Kafka answered it lately."""
        return self._producer is not None and self._reachable

    @property
    def state(self) -> str:
        """'' where it is ready."""
        return "" if self.ready else "Kafka is not reachable"

    async def open(self) -> None:
        """Begin to connect."""
        self._loop = asyncio.get_running_loop()
        self._keeper = asyncio.create_task(self._keep_producer())
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Send what is pending, within the deadline, and disconnect."""
        self._closed = True
        until = self._loop.time() + min(self._deadline, 3.0)
        while self._pending and self._producer is not None and self._loop.time() < until:
            self._flush()
            await asyncio.sleep(0.01)
        for task in (self._keeper, self._sweeper):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._abandon(Unavailable("the collector is stopping"))
        if self._timer is not None:
            self._timer.cancel()

    async def append(self, records: Sequence[Record], *, patient: bool = False) -> None:
        """Keep `records`; returns when Kafka has all of them, raises `Unavailable` where it may not have one.

        `patient`: what is on its way is waited for beyond the deadline, until its outcome is known.
        """
        if not self._lanes or self._closed:
            raise Unavailable("Kafka is not reachable")
        if self._pending > PENDING_BYTES:
            raise Unavailable("too much is waiting for Kafka")
        batches = [self._add(record) for record in records]
        if len(batches) > 1:
            batches = list({id(batch): batch for batch in batches}.values())
        waiters = []
        for batch in batches:
            waiter: asyncio.Future[Unavailable | None] = self._loop.create_future()
            (batch.patient if patient else batch.waiters).append(waiter)
            waiters.append(waiter)
        if self._timer is None:
            self._timer = self._loop.call_later(self._linger(), self._flush)
        errors = [await waiter for waiter in waiters]
        for error in errors:
            if error is not None:
                raise error

    def _add(self, record: Record) -> _Batch:
        topic, key, value, time, headers = record
        lanes = self._lanes[topic]
        if key is None:
            self._turn += 1
            lane = lanes[self._turn % len(lanes)]
            encoded = None
        else:
            lane = lanes[partition_of(key, len(lanes))]
            encoded = key.encode()
        size = len(value) + _OVERHEAD
        if encoded is not None:
            size += len(encoded)
        for name, content in headers or _NO_HEADERS:
            size += len(name) + len(content) + _OVERHEAD
        batch = lane.open
        if batch is not None and batch.size + size > BATCH_BYTES:
            lane.full.append(batch)
            batch = None
        if batch is None:
            batch = lane.open = _Batch(self._loop.time())
        batch.records.append((encoded, value, headers or _NO_HEADERS, time))
        batch.size += size
        self._pending += size
        return batch

    def _flush(self) -> None:
        """Send the next batch of every lane that has none on its way."""
        self._timer = None
        if self._producer is None:
            return
        going = []
        for lanes in self._lanes.values():
            for lane in lanes:
                if lane.sending is None and (batch := lane.take()) is not None:
                    lane.sending = batch
                    going.append((lane, batch))
        if going:
            self._busy = sum(len(batch.records) for _, batch in going) >= BUSY_RECORDS
            task = asyncio.create_task(self._send(self._producer, going))
            self._going.add(task)
            task.add_done_callback(self._going.discard)

    async def _send(self, producer: AIOKafkaProducer, going: list[tuple[_Lane, _Batch]]) -> None:
        for lane, batch in going:
            (packed,) = batches_of(batch.records, 0, producer.create_batch)
            try:
                answer = await producer.send_batch(packed, lane.topic, partition=lane.partition)
            except KafkaError as failure:
                self._answered(producer, lane, batch, failure)
            else:
                self._going.add(answer)
                answer.add_done_callback(partial(self._on_answer, producer, lane, batch))

    def _on_answer(
        self, producer: AIOKafkaProducer, lane: _Lane, batch: _Batch, answer: asyncio.Future[RecordMetadata]
    ) -> None:
        self._going.discard(answer)
        self._answered(producer, lane, batch, KafkaError("cut off") if answer.cancelled() else answer.exception())

    def _answered(self, producer: AIOKafkaProducer, lane: _Lane, batch: _Batch, failure: BaseException | None) -> None:
        """Settle a batch that Kafka took, or did not, and see to its lane's next one."""
        error = None
        if failure is not None:
            error = Unavailable(f"Kafka did not take an event: {failure!r}")
            error.__cause__ = failure
            if producer is self._producer:
                log.warning("produce_failed", topic=lane.topic, partition=lane.partition, error=repr(failure))
                self._worn.set()
        if lane.sending is not batch:
            return
        lane.sending = None
        self._release(batch, error)
        self._sent += len(batch.records)
        if self._sent >= self._records_per_producer:
            self._worn.set()
        if (lane.full or lane.open is not None) and self._timer is None:
            self._timer = self._loop.call_later(0 if lane.full else self._linger(), self._flush)

    def _linger(self) -> float:
        return BUSY_LINGER_S if self._busy else LINGER_S

    def _release(self, batch: _Batch, error: Unavailable | None) -> None:
        self._pending -= batch.size
        batch.settle(error)

    def _abandon(self, error: Unavailable) -> None:
        """Report everything in hand as not kept."""
        for lane in self._every_lane():
            sending, lane.sending = lane.sending, None
            if sending is not None:
                self._release(sending, error)
            while (batch := lane.take()) is not None:
                self._release(batch, error)

    def _every_lane(self) -> list[_Lane]:
        return [lane for lanes in self._lanes.values() for lane in lanes]

    async def _sweep(self) -> None:
        """Report what Kafka has not taken within the deadline; what was not sent by then is dropped."""
        late = Unavailable("Kafka did not acknowledge in time")
        while True:
            await asyncio.sleep(_SWEEP_S)
            before = self._loop.time() - self._deadline
            for lane in self._every_lane():
                if lane.sending is not None and lane.sending.born < before:
                    self._reachable = False
                    lane.sending.settle_waiters(late)
                while lane.full and lane.full[0].born < before:
                    self._release(lane.full.popleft(), late)
                if lane.open is not None and lane.open.born < before:
                    batch, lane.open = lane.open, None
                    self._release(batch, late)

    async def _keep_producer(self) -> None:
        """Connect, watch, and replace the producer whenever it is worn or broken."""
        while True:
            producer = await self._connect()
            self._worn.clear()
            self._producer, self._reachable, self._sent = producer, True, 0
            log.info("kafka_connected", partitions=len(self._lanes["clicks"]))
            self._flush()
            try:
                while not self._worn.is_set():
                    await self._probe(producer)
            finally:
                self._producer = None
                await self._retire(producer)

    async def _connect(self) -> AIOKafkaProducer:
        said = ""
        attempt = 0
        while True:
            producer = AIOKafkaProducer(
                **self._options,
                enable_idempotence=True,
                acks="all",
                compression_type="zstd",
                max_batch_size=BATCH_BYTES,
                max_request_size=LARGEST_REQUEST,
                request_timeout_ms=10_000,
            )
            try:
                await producer.start()
                await self._find_lanes(producer)
            except (KafkaError, Unavailable, OSError) as error:
                await producer.stop()
                if str(error) != said:
                    said = str(error)
                    log.warning("kafka_unreachable", servers=self._options["bootstrap_servers"], error=said)
                await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
                attempt += 1
            except BaseException:
                await producer.stop()
                raise
            else:
                return producer

    async def _find_lanes(self, producer: AIOKafkaProducer) -> None:
        """Make the lanes. Ours are not asked for by name: a broker might create a topic that is asked for."""
        cluster = await producer.client.fetch_all_metadata()
        missing = [topic for topic in TOPICS if not cluster.partitions_for_topic(topic)]
        if missing:
            raise Unavailable(f"Kafka lacks the topics {', '.join(missing)}; `headwater topics` creates them")
        for topic in TOPICS:
            count = len(cluster.partitions_for_topic(topic))
            if len(self._lanes.setdefault(topic, [_Lane(topic, number) for number in range(count)])) != count:
                raise Unavailable(f"the number of partitions of {topic} has changed; restart the collector")

    async def _probe(self, producer: AIOKafkaProducer) -> None:
        """Wait a little for the producer to wear out; else ask Kafka for a sign of life."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._worn.wait(), _PROBE_S if self._reachable else 0.5)
            return
        try:
            self._reachable = bool(await asyncio.wait_for(producer.client.force_metadata_update(), 3.0))
        except (TimeoutError, KafkaError):
            self._reachable = False

    async def _retire(self, producer: AIOKafkaProducer) -> None:
        """Let what is on its way arrive, briefly, then stop the producer."""
        if self._going:
            await asyncio.wait(self._going, timeout=1.0)
        lost = Unavailable("the connection to Kafka was replaced")
        for lane in self._every_lane():
            sending, lane.sending = lane.sending, None
            if sending is not None:
                self._release(sending, lost)
        try:
            await asyncio.wait_for(producer.stop(), 2.0)
        except (TimeoutError, KafkaError) as error:
            log.warning("producer_stop_failed", error=repr(error))
