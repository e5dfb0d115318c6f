"""What every client of Kafka's needs besides: an end that takes nobody along."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Disconnect.

    While Kafka is away aiokafka's fetcher lets its own cancellation out of `stop` (0.14.0), as if the caller had been
    cancelled; the connections are closed all the same.
    """
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        await consumer._client.close()  # noqa: SLF001 - `stop` closes it last, and did not come to it
