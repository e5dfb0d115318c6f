"""Kafka clients for a moment: opened, used, and gone, also where Kafka is away just then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from schemas.kafka_clients import stop_consumer

STOP_S = 10.0
"""A producer that has not got rid of its records by then is left to its fate."""


@asynccontextmanager
async def opened(client):
    """A started producer, consumer or admin client; closed again even where it could not start."""
    try:
        await client.start()
        yield client
    finally:
        if isinstance(client, AIOKafkaConsumer):
            await stop_consumer(client)
        elif isinstance(client, AIOKafkaProducer):
            try:
                async with asyncio.timeout(STOP_S):
                    await client.stop()
            except TimeoutError:
                await client.client.close()
        else:
            await client.close()


@asynccontextmanager
async def admin(address: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client that does not wait for long."""
    async with opened(AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=10_000)) as client:
        yield client


async def committed(address: str, group: str) -> dict:
    """How far a group has committed, by partition."""
    async with admin(address) as client:
        return {tp: place.offset for tp, place in (await client.list_consumer_group_offsets(group)).items()}
