"""Reading letters, and what is known of their replays, from Kafka.

Rule: without a group, committed records only, up to the end that a topic had when the reading began: what a replay
causes to be refused again is not taken in the same run.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, UnknownTopicOrPartitionError

from schemas.errors import ConfigurationError, Unavailable
from schemas.incarnations import incarnations
from schemas.kafka_clients import stop_consumer
from schemas.settings import Settings, kafka_client_options
from streams.cli.dead_letters.letters import TOPIC, Choice, Letter, letter_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from schemas.records import ReplayRecord

REPLAYS: Final = "replays"
_STALLED_S: Final = 30.0
_SKEW_MS: Final = 3_600_000
"""A record may be stamped so much before the receipt that its header states: clocks differ."""
_PIECE: Final = 500


@asynccontextmanager
async def letterbox(settings: Settings) -> AsyncIterator[Letterbox]:
    """The topics, open for reading. Raises `Unavailable`, `ConfigurationError` where one is not there."""
    options = kafka_client_options(settings)
    admin = AIOKafkaAdminClient(**options)
    consumer = AIOKafkaConsumer(
        **options,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
        fetch_max_wait_ms=100,
    )
    try:
        try:
            await admin.start()
            found = await incarnations(admin, (TOPIC, REPLAYS))
            await consumer.start()
            described = await admin.describe_topics([TOPIC, REPLAYS])
            numbers = {told["topic"]: sorted(part["partition"] for part in told["partitions"]) for told in described}
            yield Letterbox(consumer, found[TOPIC].rpartition("/")[2], numbers)
        except UnknownTopicOrPartitionError as error:
            raise ConfigurationError(f"Kafka at {settings.kafka}: {error}; `headwater topics` creates them") from None
        except (KafkaError, OSError) as error:
            raise away(settings, error) from None
    finally:
        await stop_consumer(consumer)
        await admin.close()


def away(settings: Settings, error: BaseException) -> Unavailable:
    """The error of ours that stands for one of the client's."""
    if isinstance(error, KafkaConnectionError | OSError):
        return Unavailable(f"Kafka at {settings.kafka} does not answer")
    return Unavailable(f"Kafka at {settings.kafka}: {str(error) or type(error).__name__}")


class Letterbox:
    """What lies in ``dead-letters``; `topic_id` says which life of the topic its offsets are of."""

    def __init__(self, consumer: AIOKafkaConsumer, topic_id: str, numbers: dict[str, list[int]]) -> None:
        """`numbers`: the partitions of each topic."""
        self._consumer = consumer
        self._numbers = numbers
        self.topic_id = topic_id

    @property
    def partitions(self) -> int:
        """How many partitions the topic has, as all but ``campaigns`` have."""
        return len(self._partitions(TOPIC))

    async def replays(self) -> dict[bytes, ReplayRecord]:
        """What was sent again, by the mark of its letter."""
        return {record.key: orjson.loads(record.value) async for record in self._scan(REPLAYS, {}, {})}

    async def letters(
        self, choice: Choice, told: Callable[[int, int], None] = lambda _done, _total: None
    ) -> AsyncIterator[Letter]:
        """The letters of `choice`, by partition and offset; `told` hears how many places of how many were read.

        One that lies there twice is told once.
        """
        seen: set[str] = set()
        partitions = self._partitions(TOPIC)
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        if choice.places:
            for tp in partitions:
                offsets = [offset for partition, offset in choice.places if partition == tp.partition]
                starts[tp.partition], ends[tp.partition] = min(offsets, default=0), max(offsets, default=-1) + 1
        elif choice.since is not None:
            asked = dict.fromkeys(partitions, max(0, choice.since - _SKEW_MS))
            for tp, there in (await self._consumer.offsets_for_times(asked)).items():
                # Nothing is as new as that: not even the end need be looked at.
                starts[tp.partition] = there.offset if there is not None else 1 << 62
        async for record in self._scan(TOPIC, starts, ends, told):
            letter = letter_of(record, self.topic_id)
            if letter.letter_id in seen or not choice.takes(letter):
                continue
            if letter.letter_id:
                seen.add(letter.letter_id)
            yield letter

    def _partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in self._numbers[topic]]

    async def _scan(
        self,
        topic: str,
        starts: dict[int, int],
        ends: dict[int, int],
        told: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> AsyncIterator[Any]:
        """The records of `topic`, partition by partition, from `starts` on and up to `ends`, where these say so."""
        consumer = self._consumer
        partitions = self._partitions(topic)
        first = await consumer.beginning_offsets(partitions)
        last = await consumer.end_offsets(partitions)
        spans = {
            tp: (max(first[tp], starts.get(tp.partition, 0)), min(last[tp], ends.get(tp.partition, 1 << 62)))
            for tp in partitions
        }
        total = sum(max(0, end - start) for start, end in spans.values())
        done = 0
        for tp, (start, end) in spans.items():
            if start >= end:
                continue
            consumer.assign([tp])
            consumer.seek(tp, start)
            position, moved = start, time.monotonic()
            while position < end:
                for record in (await consumer.getmany(tp, timeout_ms=500, max_records=_PIECE)).get(tp, ()):
                    if start <= record.offset < end:
                        yield record
                reached = await consumer.position(tp)
                if reached > position:
                    moved = time.monotonic()
                elif time.monotonic() - moved > _STALLED_S:
                    raise Unavailable(f"Kafka: {topic}[{tp.partition}] does not go on after offset {position}")
                position = reached
                told(done + min(position, end) - start, total)
            done += end - start
