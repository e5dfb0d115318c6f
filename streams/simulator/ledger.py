"""Counts in Kafka what became of the events: accepted, duplicates, dead letters.

Rule: counted from committed records alone, not from any process's own counters, so that it holds whatever died on the
way: accepted touches and what is said of them are in ``touches``, accepted facts of conversions in ``orders``, accepted
statements of cost in ``spend``; what else was read is a dead letter or a duplicate.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.errors import Unavailable
from schemas.settings import Settings, kafka_client_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiokafka.structs import ConsumerRecord

INPUTS: Final = ("clicks", "conversions", "costs")
DEADLINE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of what was sent; `read` counts the records of the input topics."""

    read: int
    accepted: int
    refused_by_worker: int
    refused_at_door: int

    @property
    def dead_letters(self) -> int:
        """All that was refused."""
        return self.refused_by_worker + self.refused_at_door

    @property
    def duplicates(self) -> int:
        """What was read without effect, by conservation; nothing was moved between partitions."""
        return self.read - self.accepted - self.refused_by_worker


async def read_ledger(settings: Settings) -> Ledger:
    """Read the topics to their present end. Raises `Unavailable` where that takes more than `DEADLINE` seconds."""
    read = 0
    touches: set[tuple[str, str, str]] = set()
    facts: dict[tuple[str, bytes], int] = {}
    letters = {True: 0, False: 0}
    try:
        async with asyncio.timeout(DEADLINE):
            async for record in _records(settings, (*INPUTS, "touches", "orders", "spend", "dead-letters")):
                if record.topic in INPUTS:
                    read += 1
                elif record.topic == "dead-letters":
                    letters[dict(record.headers).get("topic") == b"http"] += 1
                elif record.value is not None:
                    value = orjson.loads(record.value)
                    if record.topic == "touches":
                        touches.add((value["site"], value["visitor_id"], value["event_id"]))
                    else:
                        told = value["facts" if record.topic == "orders" else "events"]
                        facts[record.topic, bytes(record.key)] = len(told)
    except TimeoutError:
        raise Unavailable(f"Kafka's topics could not be read to their end in {DEADLINE:g} s") from None
    return Ledger(read, len(touches) + sum(facts.values()), letters[False], letters[True])


async def _records(settings: Settings, topics: tuple[str, ...]) -> AsyncIterator[ConsumerRecord]:
    consumer = AIOKafkaConsumer(
        **kafka_client_options(settings),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        found = [TopicPartition(topic, number) for topic in topics for number in range(settings.partitions)]
        consumer.assign(found)
        ends = await consumer.end_offsets(found)
        await consumer.seek_to_beginning(*found)
        waiting = {partition for partition, end in ends.items() if end > 0}
        while waiting:
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    if record.offset < ends[partition]:
                        yield record
            for partition in list(waiting):
                if await consumer.position(partition) >= ends[partition]:
                    waiting.discard(partition)
                    consumer.pause(partition)
    finally:
        await consumer.stop()
