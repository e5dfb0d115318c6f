"""Topics on one side, ClickHouse on the other, and the sink between them when it runs.

Rule: nothing sleeps; what is waited for is asked again until a deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata
from prometheus_client import CollectorRegistry

from schemas.settings import Settings
from sinks.clickhouse.consumer import TOPICS, Pace, Sink
from sinks.clickhouse.metrics import SinkMetrics
from sinks.clickhouse.server import Server
from tests.sinks.samples import as_json

PARTITIONS = 2
Row = tuple[str, int, dict[str, Any]]


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 15.0) -> Any:
    """What `condition` returns once that is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.05)
    return found


class Pipe:
    """Topics on one side, ClickHouse on the other, and the sink between them when it runs."""

    def __init__(self, settings: Settings, server: Server, admin: AIOKafkaAdminClient) -> None:
        self.settings = settings
        self.server = server
        self.admin = admin
        self.registry = CollectorRegistry()

    async def create(self) -> None:
        """Fresh, empty topics."""
        await self.admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in TOPICS])

    async def delete(self) -> None:
        """Delete the topics and wait until they are gone."""
        await self.admin.delete_topics(list(TOPICS))

        async def gone() -> bool:
            return not set(TOPICS) & set(await self.admin.list_topics())

        await until(gone)

    async def produce(self, *rows: Row, raw: bytes | None = None, commit: bool = True) -> None:
        """One transaction with `rows` (topic, partition, value) and, where given, `raw` on ``touches``."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka, transactional_id="test-producer")
        await producer.start()
        try:
            await producer.begin_transaction()
            for topic, partition, value in rows:
                await producer.send_and_wait(topic, as_json(value), key=b"key", partition=partition)
            if raw is not None:
                await producer.send_and_wait("touches", raw, key=b"raw", partition=0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        finally:
            await producer.stop()

    @asynccontextmanager
    async def sink(self, **pace: Any) -> AsyncIterator[Sink]:
        """A running sink, stopped at the end."""
        self.registry = CollectorRegistry()
        sink = Sink(self.settings, SinkMetrics(self.registry), Pace(**pace))
        task = asyncio.create_task(sink.run())
        try:
            yield sink
        finally:
            sink.stop()
            await asyncio.wait_for(task, 5.0)

    async def one(self, expression: str) -> Any:
        """A single value from ClickHouse."""
        return (await self.server.query(f"SELECT toString({expression}) AS it"))[0]["it"]

    async def comes(self, expression: str, value: str, seconds: float = 15.0) -> None:
        """Wait until `expression` is `value`."""
        found = ""

        async def equal() -> bool:
            nonlocal found
            found = await self.one(expression)
            return bool(found == value)

        try:
            await until(equal, seconds)
        except AssertionError:
            pytest.fail(f"{expression} is {found}, not {value}")

    async def committed(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """The group's offsets."""
        found = await self.admin.list_consumer_group_offsets(f"{self.settings.app}-sink")
        return dict(found)

    async def reset(self) -> None:
        """Set the group's offsets to the start, as an operator would."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka, group_id=f"{self.settings.app}-sink", enable_auto_commit=False
        )
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.commit(dict.fromkeys(partitions, 0))
        finally:
            await consumer.stop()
