"""A client of Kafka's ends without taking anybody along."""

from __future__ import annotations

import asyncio

import pytest

from schemas.kafka_clients import stop_consumer


class Client:
    """A consumer's connections."""

    closed = False

    async def close(self):
        self.closed = True


class Consumer:
    """Stops as aiokafka's does: in order, or by letting out the cancellation of a task of its own."""

    def __init__(self, *, away=False, slow=False):
        self._client = Client()
        self._away = away
        self._slow = slow

    async def stop(self):
        if self._slow:
            await asyncio.Event().wait()
        if self._away:
            raise asyncio.CancelledError
        await self._client.close()


@pytest.mark.parametrize("away", [False, True])
async def test_its_connections_are_closed(away):
    """Also when Kafka is away."""
    consumer = Consumer(away=away)
    await stop_consumer(consumer)
    assert consumer._client.closed


async def test_a_caller_that_is_cancelled_stays_cancelled():
    """Only the consumer's own cancellation is kept in."""
    task = asyncio.create_task(stop_consumer(Consumer(slow=True)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
