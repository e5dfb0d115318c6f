"""A real Kafka node keeps its port and its data over stops and kills."""

from __future__ import annotations

import os
import signal

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.kafka import Node
from deploy.local.ports import is_free

pytestmark = pytest.mark.integration


async def create(address: str, topic: str, **config: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=config)])
    finally:
        await admin.close()


async def write(address: str, topic: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", max_request_size=8 * 1024 * 1024)
    async with producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def read(address: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=address, auto_offset_reset="none", max_partition_fetch_bytes=8 * 1024 * 1024
    )
    async with consumer:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 0)
        return [(await consumer.getone()).value for _ in range(count)]


async def test_data_outlives_stop_and_kill(fresh_kafka: Node) -> None:
    """Same address, same records, after SIGTERM and after SIGKILL; and no process is left in between."""
    node = fresh_kafka
    address = node.address
    await create(address, "t")
    await write(address, "t", b"1", b"2")
    await node.stop()
    assert node.pid is None
    assert is_free(node.port)

    await node.start()
    assert node.address == address
    await write(address, "t", b"3")
    os.kill(node.pid, signal.SIGKILL)
    await node.stop()

    await node.start()
    assert node.address == address
    assert await read(address, "t", 3) == [b"1", b"2", b"3"]


async def test_large_records_fit(kafka: str) -> None:
    """The largest records of any topic are taken where the topic allows them."""
    await create(kafka, "large", **{"max.message.bytes": str(8 * 1024 * 1024)})
    large = os.urandom(8 * 1024 * 1024 - 1024)
    await write(kafka, "large", large)
    assert await read(kafka, "large", 1) == [large]


async def test_topics_are_not_made_by_asking(kafka: str) -> None:
    """A wrong name is an error, not a new topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.describe_topics(["misspelt"])
        assert "misspelt" not in await admin.list_topics()
    finally:
        await admin.close()
