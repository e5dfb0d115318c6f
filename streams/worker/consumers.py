"""What aiokafka's consumers need besides: records without a wrapper, and an end that takes nobody along.

Rule: a consumer that Kafka has left must not take its owner's task with it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition


def unwrap_records(consumer: AIOKafkaConsumer) -> None:
    """Have a started `consumer` return records as they are decoded: key, value, offset, timestamp, headers.

    By itself it copies each into a `ConsumerRecord`, with topic, partition and sizes: a microsecond a record (0.14.0).
    """
    fetcher = consumer._fetcher  # noqa: SLF001
    if type(fetcher._records) is not _Fetched:  # noqa: SLF001
        fetcher._records = _Fetched(fetcher._records)  # noqa: SLF001


class _Fetched(OrderedDict[Any, Any]):
    """What the fetcher has at hand by partition: its decoder is told, as it comes in, to wrap nothing."""

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:
        decoder = getattr(fetched, "_partition_records", None)  # None: an error
        if decoder is not None:
            decoder._consumer_record = _as_it_is  # noqa: SLF001
        super().__setitem__(tp, fetched)


def _as_it_is(_tp: TopicPartition, record: Any) -> Any:
    return record


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
