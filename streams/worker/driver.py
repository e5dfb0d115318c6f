"""Faust's Kafka driver, changed to hand over whole batches instead of single records.

Rule: a batch carries [start, next): the fetch positions before and after it, never derived from record offsets, since
transaction markers and aborted records leave gaps. Offsets are committed by the units' transactions, so everything that
Faust keeps about single offsets is switched off here (design, section 2). Seeks happen only between two fetches, in the
consumer's thread, asked for through `Flow`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import faust
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from mode.utils.futures import notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

MOST_OUTSTANDING: Final = 2
"""Batches of one partition that are fetched and not yet done with."""
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
        "value",
    )

    def __init__(self, records: Sequence[ConsumerRecord], start: int, next_: int, epoch: int, highwater: int) -> None:
        last = records[-1]
        self.topic: str = last.topic
        self.partition: int = last.partition
        self.offset = start
        self.timestamp = last.timestamp
        self.timestamp_type = last.timestamp_type
        self.headers = ()
        self.key = None
        self.value = self
        self.checksum = None
        self.serialized_key_size = 0
        self.serialized_value_size = 0
        self.start = start
        self.next = next_
        self.epoch = epoch
        self.highwater = highwater
        self.records = records


class Flow:
    """Which partitions may be fetched, and from where: the units say, the driver obeys.

    Written by the units' loop and read by the consumer's thread; each entry is replaced whole.
    """

    def __init__(self) -> None:
        self._wanted: dict[TopicPartition, tuple[int, int]] = {}
        self._current: dict[TopicPartition, int] = {}
        self._outstanding: dict[TopicPartition, int] = {}
        self._epoch = 0

    def release(self, tp: TopicPartition, offset: int) -> int:
        """Fetch `tp` from `offset` on; returns the epoch that its batches will bear."""
        self._epoch += 1
        self._current.pop(tp, None)
        self._wanted[tp] = (offset, self._epoch)
        return self._epoch

    def hold(self, tp: TopicPartition) -> None:
        """Fetch `tp` no more."""
        self._wanted.pop(tp, None)
        self._current.pop(tp, None)

    def done(self, tp: TopicPartition) -> None:
        """One batch of `tp` is done with."""
        self._outstanding[tp] = max(0, self._outstanding.get(tp, 0) - 1)

    def forget_outstanding(self) -> None:
        """All that was fetched has been thrown away (a rebalance)."""
        self._outstanding.clear()

    def seeks(self) -> list[tuple[TopicPartition, int, int]]:
        """The seeks to make now: (partition, offset, epoch)."""
        return [(tp, offset, epoch) for tp, (offset, epoch) in list(self._wanted.items())]

    def sought(self, tp: TopicPartition, epoch: int) -> None:
        """A seek was made."""
        if self._wanted.get(tp, (0, 0))[1] == epoch:
            del self._wanted[tp]
            self._current[tp] = epoch

    def epoch(self, tp: TopicPartition) -> int | None:
        """The epoch in force for `tp`; None where it is held."""
        return self._current.get(tp)

    def has_room(self, tp: TopicPartition) -> bool:
        """Whether `tp` is released and has not too many batches under way."""
        return tp in self._current and self._outstanding.get(tp, 0) < MOST_OUTSTANDING

    def taken(self, tp: TopicPartition) -> None:
        """A batch of `tp` was fetched."""
        self._outstanding[tp] = self._outstanding.get(tp, 0) + 1


class _Thread(driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka's consumer lives."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust reads uncommitted records unless its own transactions are on; these attributes are read at start.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS  # noqa: SLF001
        return consumer

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TopicPartition] | None,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> dict[TopicPartition, list[Batch]]:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher  # noqa: SLF001
        if consumer._closed or fetcher._closed:  # noqa: SLF001
            raise ConsumerStoppedError
        flow: Flow = self.app.flow  # type: ignore[attr-defined] # the worker's own app has it
        subscriptions = fetcher._subscriptions  # noqa: SLF001
        assigned = consumer.assignment()
        for tp, offset, wanted in flow.seeks():
            if tp in assigned:
                consumer.seek(tp, offset)
                # Faust drops what lies below its own idea of the position.
                self.consumer._read_offset[tp] = None  # noqa: SLF001
                flow.sought(tp, wanted)
        active = [tp for tp in assigned if active_partitions is None or tp in active_partitions]
        ready = [tp for tp in active if flow.has_room(tp)]
        wait = _LONGEST_WAIT if len(ready) == len(active) else _SHORT_WAIT
        with subscriptions.fetch_context():
            if not ready:
                await asyncio.sleep(_SHORT_WAIT)
                return {}
            before = {tp: subscriptions.subscription.assignment.state_value(tp) for tp in ready}
            starts = {tp: state.position if state.has_valid_position else None for tp, state in before.items()}
            found = await fetcher.fetched_records(ready, timeout=min(wait, timeout or wait), max_records=max_records)
        batches = {}
        for tp, records in found.items():
            epoch = flow.epoch(tp)
            state = before[tp]
            if epoch is None or not records:
                continue
            position = starts[tp]
            start = records[0].offset if position is None else position
            after = state.position if state.has_valid_position else records[-1].offset + 1
            flow.taken(tp)
            batches[tp] = [Batch(records, start, after, epoch, state.highwater or after)]
        return batches


class Consumer(driver.Consumer):
    """Faust's consumer without its bookkeeping of single offsets."""

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

    def __init__(self, *args: Any, flow: Flow, **options: Any) -> None:
        self.flow = flow
        super().__init__(*args, **options)

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, app=self)
