"""One Kafka transaction: all that some batches change, and how far their sources are done.

Rule: either all of it is visible or none; any failure of a commit, known or unknown, is `CommitFailed`, after which the
unit must be opened anew (design, section 3).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer import sender as aiokafka_sender

from schemas.batches import BATCH_BYTES, batches_of
from schemas.errors import CommitFailed
from schemas.settings import Settings, kafka_client_options
from schemas.topics import LARGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import OffsetAndMetadata, TopicPartition

    from schemas.batches import Unsent

DEADLINE_S: Final = 10.0
_TRANSACTION_TIMEOUT_MS: Final = 60_000
_CLOSE_S: Final = 0.3
_CANCELS: Final = 5

# A transaction that begins while Kafka still writes the markers of the one before is told to try again, for its first
# partitions only (`ConcurrentTransactions`). aiokafka (0.14.0) does so after 20 ms, Kafka is done after a few: that was
# half the time of a small transaction. Where a broker is slow to write markers it is asked 300 times a second and unit,
# for the 10 s that a transaction may take.
aiokafka_sender.BACKOFF_OVERRIDE = 0.003
RECORDS_PER_PRODUCER: Final = 1_000_000_000
"""Before aiokafka's sequence numbers wrap to negative ones, which Kafka does not take: the unit opens anew."""


class Transactions:
    """The producer of one unit, with its transactional id; starting it fences any earlier owner."""

    def __init__(self, settings: Settings, partition: int) -> None:
        self._group = settings.app
        self._records = 0
        self._producer = AIOKafkaProducer(
            **kafka_client_options(settings),
            transactional_id=f"{settings.app}-{partition}",
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            acks="all",
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            max_request_size=LARGE_BYTES + (1 << 20),
            request_timeout_ms=int(DEADLINE_S * 1000),
        )

    async def open(self) -> None:
        """Connect and fence."""
        await self._producer.start()

    async def commit(
        self, outputs: Mapping[tuple[str, int], list[Unsent]], offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> dict[tuple[str, int], int]:
        """Write `outputs` (by topic and partition) and the sources' next `offsets`, as one transaction.

        An offset's metadata is the incarnation of its topic: it means something only there.
        Returns the offset after the last record for each (topic, partition). Raises `CommitFailed`.
        """
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._commit(outputs, offsets)
        except (KafkaError, TimeoutError, OSError) as error:
            sources = [f"{source.topic}[{source.partition}]" for source in offsets]
            what = ", ".join(sources) or "what is not of a batch"
            raise CommitFailed(f"transaction of {what}: {error!r}") from error

    async def _commit(
        self, outputs: Mapping[tuple[str, int], list[Unsent]], offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> dict[tuple[str, int], int]:
        producer = self._producer
        self._records += sum(map(len, outputs.values()))
        if self._records > RECORDS_PER_PRODUCER:
            raise CommitFailed("the producer is used up")
        await producer.begin_transaction()
        sent: list[tuple[tuple[str, int], int]] = []
        futures: list[asyncio.Future[Any]] = []
        now = time.time_ns() // 1_000_000
        for (topic, partition), records in outputs.items():
            for batch in batches_of(records, now, producer.create_batch, transactional=True):
                futures.append(await producer.send_batch(batch, topic, partition=partition))
                sent.append(((topic, partition), batch.record_count()))
        ends: dict[tuple[str, int], int] = {}
        for (place, count), found in zip(sent, await asyncio.gather(*futures), strict=True):
            ends[place] = max(ends.get(place, 0), found.offset + count)
        if offsets:
            await producer.send_offsets_to_transaction(dict(offsets), self._group)
        await producer.commit_transaction()
        return ends

    async def close(self) -> None:
        """Disconnect; what is under way is left to the next owner's fencing.

        Not by the producer's own `stop`: it waits until Kafka has taken all; cut off, it leaves its sender running.
        """
        producer = self._producer
        producer._closed = True  # noqa: SLF001
        sender = producer._sender.sender_task  # noqa: SLF001
        if sender is not None:
            sender.cancel()
        await producer.client.close()
        for _ in range(_CANCELS):
            if sender is None or sender.done():
                break
            # It waits for requests that it has begun, one by one; without a connection they fail, or never end.
            await asyncio.wait([sender], timeout=_CLOSE_S)
            sender.cancel()
