"""Faust's Kafka driver, changed to hand over whole batches instead of single records.

Rule: offsets are committed by the units' transactions, so everything that Faust keeps about single offsets is switched
off here (design, section 2). Seeks happen only between two fetches, in the consumer's thread, asked for through `Flow`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import faust
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from mode.utils.futures import notify

from schemas.consumers import unwrap_records
from schemas.fetched import join
from streams.worker.flow import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from streams.core.outcome import Record
    from streams.worker.flow import Flow
    from streams.worker.rebalance import Rebalance

_LONGEST_WAIT: Final = 0.1
_SHORT_WAIT: Final = 0.005
_NEWER_WAIT: Final = 0.05
_FETCH_WAIT_MS: Final = 500
_BUSY_FETCH_WAIT_MS: Final = 25
"""How long a broker waits for records before it answers; the second while some partition is at work or rests."""


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
        # Records that lie there while their partition rests are not to keep questions about the others back.
        fetcher._prefetch_backoff = 0  # noqa: SLF001
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
        quiet = len(ready) == len(active)
        wait = _LONGEST_WAIT if quiet else _SHORT_WAIT
        fetcher._fetch_max_wait_ms = _FETCH_WAIT_MS if quiet else _BUSY_FETCH_WAIT_MS  # noqa: SLF001
        with subscriptions.fetch_context():
            if not ready:
                await asyncio.sleep(_SHORT_WAIT)
                return {}
            before = {tp: subscriptions.subscription.assignment.state_value(tp) for tp in ready}
            stood = {tp: state.position if state.has_valid_position else None for tp, state in before.items()}
            found = await fetch(fetcher, flow, ready, min(wait, timeout or wait))
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


async def fetch(
    fetcher: Any, flow: Flow, ready: list[TopicPartition], wait: float
) -> dict[TopicPartition, Sequence[Record]]:
    """What aiokafka's `fetcher` has of partitions that are `ready`, or gets within `wait` seconds.

    It asks for more of a partition as soon as what it had of it is taken, so what is found of one that rested was
    fetched when its rest began: what came since is waited for, and goes with it.
    """
    found: dict[TopicPartition, Sequence[Record]] = await fetcher.fetched_records(
        ready, timeout=wait, max_records=flow.size
    )
    if found:
        # Its next question, which has all partitions but these in it, is the only one to the broker until answered.
        fetcher._fetch_max_wait_ms = _BUSY_FETCH_WAIT_MS  # noqa: SLF001
    left = flow.size - sum(map(len, found.values()))
    rested = [tp for tp in found if flow.has_just_rested(tp)]
    until = time.monotonic() + _NEWER_WAIT
    while rested and left > 0 and (wait := until - time.monotonic()) > 0:
        newer = await fetcher.fetched_records(rested, timeout=wait, max_records=left)
        for tp, records in newer.items():
            found[tp] = join([found[tp], records])
            left -= len(records)
        # All topics of a partition number are asked for at once.
        there = {tp.partition for tp in newer}
        rested = [tp for tp in rested if tp.partition not in there]
    return found


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
