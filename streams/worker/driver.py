"""Faust's Kafka driver, changed to hand over whole batches instead of single records.

Rule: a batch carries [start, next): the fetch positions before and after it, never derived from record offsets, since
transaction markers and aborted records leave gaps. Offsets are committed by the units' transactions, so everything that
Faust keeps about single offsets is switched off here (design, section 2). Seeks happen only between two fetches, in the
consumer's thread, asked for through `Flow`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import faust
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from mode.utils.futures import notify

from schemas.consumers import unwrap_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiokafka import AIOKafkaConsumer

    from streams.core.outcome import Record
    from streams.worker.rebalance import Rebalance

MOST_OUTSTANDING: Final = 2
"""Large batches of one partition that are fetched and not yet done with; of small ones it is one, so that what comes
meanwhile is in the next one, and nothing waits in a queue of small transactions."""
LARGE_BATCH: Final = 500
"""Records of a batch that is work; a smaller one is somebody's click."""
REST: Final = 4.0
"""From the end of a small batch of a partition number until the next ones are fetched, of all its topics and so at
once, so many times as long as such a batch takes: a transaction is work for Kafka however little is in it, and the
slower it is, the fewer of them it needs."""
LEAST_REST_S: Final = 0.05
LONGEST_REST_S: Final = 0.12
_WEIGHT: Final = 0.2
"""Of the last small batch, in what such a batch takes."""
FIRST_BATCH: Final = 5_000
"""Records of the first batches, until it is known how fast it goes here."""
SMALLEST_BATCH: Final = 100
FAR_BEHIND_MS: Final = 60_000
FAR_BEHIND: Final = 10_000
"""With records of so long ago, and so many left, ``conversions`` wait for ``clicks``: each touch that comes after a
conversion which it can change has all of its visitor looked at again."""
STUCK_S: Final = 30.0
"""A partition of ``clicks`` of which no batch came for so long is not waited for, whatever it is that keeps it."""
STEP_S: Final = 1.0
"""While they wait, so long from one batch of a partition to the next: each is two transactions."""
FIRST_LOOK_S: Final = 0.3
"""And so long until it is known whether there are any."""
SLOW_S: Final = 3.0
"""A batch that takes longer was too large: the next ones are half of it."""
_LONGEST_WAIT: Final = 0.1
_SHORT_WAIT: Final = 0.005
_FETCH_WAIT_MS: Final = 500


class Batch:
    """Records of one partition, in the shape that Faust expects of a single record.

    `value` is the batch itself; `records` are its records; `start` and `next` are the fetch positions before and after
    them; `epoch` says after which seek they were fetched.
    """

    __slots__ = (
        "checksum",
        "epoch",
        "headers",
        "highwater",
        "key",
        "next",
        "offset",
        "partition",
        "records",
        "serialized_key_size",
        "serialized_value_size",
        "start",
        "timestamp",
        "timestamp_type",
        "topic",
    )

    def __init__(
        self, tp: TopicPartition, records: Sequence[Record], start: int, next_: int, epoch: int, highwater: int
    ) -> None:
        last = records[-1]
        self.topic: str = tp.topic
        self.partition: int = tp.partition
        self.offset = start
        self.timestamp = last.timestamp
        self.timestamp_type = 0
        self.headers = ()
        self.key = None
        self.checksum = None
        self.serialized_key_size = 0
        self.serialized_value_size = 0
        self.start = start
        self.next = next_
        self.epoch = epoch
        self.highwater = highwater
        self.records = records

    @property
    def value(self) -> Batch:
        """The batch. Not an attribute: what refers to itself lives until somebody looks for garbage."""
        return self

    def halves(self) -> tuple[Batch, Batch]:
        """The batch in two, of at least two records; the second starts where the first ends."""
        middle = len(self.records) // 2
        between = self.records[middle].offset
        tp = TopicPartition(self.topic, self.partition)
        return (
            Batch(tp, self.records[:middle], self.start, between, self.epoch, self.highwater),
            Batch(tp, self.records[middle:], between, self.next, self.epoch, self.highwater),
        )


@dataclass(slots=True)
class _Course:
    """A released partition: after which seek, where the next batch starts, where the fetcher stands, batches out.

    `busy`: the last one was large, or as much was left behind it; `written`: when its last record was (ms), 0 before
    the first batch; `left`: how many records lie behind that one; `since`: the moment of that batch, or of the release.
    """

    epoch: int
    start: int
    reached: int
    outstanding: int = 0
    busy: bool = False
    written: int = 0
    left: int = 0
    since: float = 0.0


class Flow:
    """Which partitions may be fetched, and from where: the units say, the driver obeys.

    Written by the units' loop and by the consumer's thread, hence the lock. What was fetched before a release counts no
    more: a batch that a rebalance threw away can hold nothing up.
    """

    def __init__(self, most: int = FIRST_BATCH, clock: Callable[[], float] = time.monotonic) -> None:
        """`most`: no batch is to have more records."""
        self._most = most
        self._clock = clock
        self._takes = 0.0
        """Seconds that a small batch takes."""
        self.size = min(most, FIRST_BATCH)
        """Records that are fetched at most at once: few where there are few, many where the worker is behind."""
        self._lock = threading.Lock()
        self._wanted: dict[TopicPartition, tuple[int, int]] = {}
        self._courses: dict[TopicPartition, _Course] = {}
        self._rests: dict[int, float] = {}
        """Partition number -> before that moment none of it is fetched."""
        self._epoch = 0

    def release(self, tp: TopicPartition, offset: int) -> int:
        """Fetch `tp` from `offset` on; returns the epoch that its batches will bear."""
        with self._lock:
            self._epoch += 1
            self._courses.pop(tp, None)
            self._wanted[tp] = (offset, self._epoch)
            return self._epoch

    def hold(self, tp: TopicPartition) -> None:
        """Fetch `tp` no more."""
        with self._lock:
            self._wanted.pop(tp, None)
            self._courses.pop(tp, None)

    def done(self, tp: TopicPartition, epoch: int) -> None:
        """One batch of `tp`, fetched in `epoch`, is done with."""
        with self._lock:
            course = self._courses.get(tp)
            if course is not None and course.epoch == epoch:
                course.outstanding -= 1
                if not course.busy:
                    rest = min(LONGEST_REST_S, max(LEAST_REST_S, REST * self._takes))
                    self._rests[tp.partition] = self._clock() + rest

    def pace(self, records: int, seconds: float) -> None:
        """A batch of so many records took so long; one that failed, as long as it may: it would fail again as large."""
        if records <= LARGE_BATCH:
            self._takes += (seconds - self._takes) * _WEIGHT
        if seconds > SLOW_S:
            self.size = max(min(SMALLEST_BATCH, self._most), min(self.size, records // 2))
        elif seconds < SLOW_S / 2 and records >= self.size:
            self.size = min(self._most, self.size * (4 if seconds < SLOW_S / 8 else 2))

    def idle_at(self, tp: TopicPartition) -> int:
        """Up to where `tp` is done with, markers and aborted records included; 0 where unknown or at work."""
        with self._lock:
            course = self._courses.get(tp)
            return course.reached if course is not None and not course.outstanding else 0

    def seeks(self) -> list[tuple[TopicPartition, int, int]]:
        """The seeks to make now: (partition, offset, epoch)."""
        with self._lock:
            return [(tp, offset, epoch) for tp, (offset, epoch) in self._wanted.items()]

    def sought(self, tp: TopicPartition, offset: int, epoch: int) -> None:
        """A seek was made."""
        with self._lock:
            if self._wanted.get(tp) == (offset, epoch):
                del self._wanted[tp]
                self._courses[tp] = _Course(epoch, offset, offset, since=self._clock())

    def ready(self, tp: TopicPartition) -> _Course | None:
        """The course of `tp` where it is released, has not too many batches under way, and does not rest."""
        course = self._courses.get(tp)
        if course is None or course.outstanding >= (MOST_OUTSTANDING if course.busy else 1):
            return None
        return course if course.busy or self._clock() >= self._rests.get(tp.partition, 0.0) else None

    def waits(self, now_ms: int) -> dict[TopicPartition, int]:
        """Partitions of ``conversions`` that wait for ``clicks``, and up to when written (ms) they may be fetched.

        So the two are read in step where both are far behind; the result is the same in any order.
        """
        with self._lock:
            now = self._clock()
            behind = [
                course.written
                for tp, course in self._courses.items()
                if tp.topic == "clicks"
                and course.written < now_ms - FAR_BEHIND_MS
                and (course.left > FAR_BEHIND or not course.written)
                and now - course.since < (STUCK_S if course.written else FIRST_LOOK_S)
            ]
            if not behind:
                return {}
            until = min(behind)
            return {
                tp: until if now - course.since >= STEP_S else 0
                for tp, course in self._courses.items()
                if tp.topic == "conversions"
            }

    def passed(self, tp: TopicPartition, course: _Course, position: int) -> None:
        """The fetcher went on to `position` without finding a record."""
        with self._lock:
            if self._courses.get(tp) is course:
                course.reached = position

    def taken(self, tp: TopicPartition, course: _Course, position: int, batch: Sequence[Record], left: int) -> bool:
        """A `batch` that ends at `position` was fetched, with so many records `left` behind it.

        False where `tp` has been released anew or held since.
        """
        with self._lock:
            if self._courses.get(tp) is not course:
                return False
            course.start = course.reached = position
            course.outstanding += 1
            course.busy = max(len(batch), left) > LARGE_BATCH
            course.left = left
            course.written = batch[-1].timestamp
            course.since = self._clock()
            return True


class _Thread(driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka's consumer lives."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust reads uncommitted records unless its own transactions are on; these attributes are read at start.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS  # noqa: SLF001
        return consumer

    async def on_thread_stop(self) -> None:
        """Leave the group: aiokafka does not where a member has an id of its own, and the others would wait for it."""
        if self._consumer is not None:
            self._consumer._coordinator._group_instance_id = None  # noqa: SLF001
        await super().on_thread_stop()

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TopicPartition] | None,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,  # noqa: ARG002 - as above; the flow knows better
    ) -> dict[TopicPartition, list[Batch]]:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher  # noqa: SLF001
        if consumer._closed or fetcher._closed:  # noqa: SLF001
            raise ConsumerStoppedError
        waiting = unwrap_records(consumer)
        flow: Flow = self.app.flow  # type: ignore[attr-defined] # the worker's own app has it
        subscriptions = fetcher._subscriptions  # noqa: SLF001
        assigned = consumer.assignment()
        for tp, offset, epoch in flow.seeks():
            if tp in assigned:
                consumer.seek(tp, offset)
                flow.sought(tp, offset, epoch)
        waiting.clear()
        waiting.update(flow.waits(time.time_ns() // 1_000_000))
        active = [tp for tp in assigned if active_partitions is None or tp in active_partitions]
        courses = {tp: course for tp in active if (course := flow.ready(tp)) is not None}
        ready = list(courses)
        wait = _LONGEST_WAIT if len(ready) == len(active) else _SHORT_WAIT
        with subscriptions.fetch_context():
            if not ready:
                await asyncio.sleep(_SHORT_WAIT)
                return {}
            before = {tp: subscriptions.subscription.assignment.state_value(tp) for tp in ready}
            stood = {tp: state.position if state.has_valid_position else None for tp, state in before.items()}
            found = await fetcher.fetched_records(ready, timeout=min(wait, timeout or wait), max_records=flow.size)
        batches = {}
        for tp, course in courses.items():
            state, records = before[tp], found.get(tp)
            if not records:
                if state.has_valid_position:
                    flow.passed(tp, course, state.position)
                continue
            # Markers and aborted records that earlier fetches went over belong to this batch; but where the position is
            # another than we left (Kafka deleted what was there), the batch starts where it was found.
            start = course.start if stood[tp] == course.reached else stood[tp]
            after = state.position if state.has_valid_position else records[-1].offset + 1
            highwater = state.highwater or after
            if flow.taken(tp, course, after, records, highwater - after):
                first = records[0].offset if start is None else start
                batches[tp] = [Batch(tp, records, first, after, course.epoch, highwater)]
        self.app.rebalance.resumed()  # type: ignore[attr-defined] # as above
        return batches


class _NoOffsets(dict[Any, int | None]):
    """Faust's idea of how far it has read: none, else it drops what lies below after a seek."""

    def __getitem__(self, tp: Any) -> int | None:
        return None

    def __setitem__(self, tp: Any, offset: int | None) -> None:
        """Units know where they stand."""


class Consumer(driver.Consumer):
    """Faust's consumer without its bookkeeping of single offsets."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read_offset = _NoOffsets()

    async def perform_seek(self) -> None:
        """Faust seeks to the committed offsets after each rebalance; the units say from where to go on."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def _commit(self, offsets: Any) -> bool:  # noqa: ARG002 - Faust's signature
        """Offsets travel in the units' transactions."""
        return True

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002 - Faust's
        """Offsets travel in the units' transactions."""
        return False

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Gaps between batches are none of Faust's business."""

    def ack(self, message: Any) -> bool:
        """Ack means done with, not committed: wake whoever waits for the streams to be empty."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Replaced by the metric of commit age."""


class Transport(driver.Transport):
    """Faust's transport with our consumer."""

    Consumer = Consumer


class App(faust.App):
    """A Faust application whose messages are batches."""

    def __init__(self, *args: Any, flow: Flow, rebalance: Rebalance, **options: Any) -> None:
        self.flow = flow
        self.rebalance = rebalance
        super().__init__(*args, **options)

    def on_rebalance_start(self) -> None:
        """Call first of all when a rebalance begins, in the consumer's thread."""
        if self._assignment:
            self.rebalance.revoked()
        super().on_rebalance_start()

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, app=self)
