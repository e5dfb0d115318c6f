"""Sending letters again: their records and the marks that say so, some hundred letters a Kafka transaction.

Rule: a letter's records and its mark in ``replays`` are one transaction, under one transactional id for all replays. To
begin is to fence whoever replayed before, and only then are the marks read. So each letter is sent again or it is not,
and never twice, wherever a replay is killed, and however many are begun at once: the last one goes on.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced

from schemas.errors import CommitFailed
from schemas.settings import Settings, kafka_client_options
from schemas.topics import LARGE_BYTES
from streams.cli.dead_letters.topic import REPLAYS, away

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.batches import Headers
    from schemas.records import ReplayRecord
    from streams.cli.dead_letters.plans import Plan

DEADLINE_S: Final = 30.0
LETTERS: Final = 500
"""Most letters of one transaction."""
BYTES: Final = 4 << 20
"""About as many bytes at most, unless one letter alone has more."""
_STOP_S: Final = 3.0


class Sender:
    """A replay's producer: `open` it, `send` plans, `close` it."""

    def __init__(self, settings: Settings) -> None:
        self.run = uuid.uuid4().hex[:8]
        self._settings = settings
        self._producer = AIOKafkaProducer(
            **kafka_client_options(settings),
            transactional_id=f"{settings.app}-replay",
            transaction_timeout_ms=60_000,
            acks="all",
            compression_type="zstd",
            max_request_size=LARGE_BYTES + (1 << 20),
            request_timeout_ms=int(DEADLINE_S * 1000),
        )

    async def open(self) -> None:
        """Connect, and fence the replay before; when this returns, all that it sent is committed or undone."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._producer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            raise away(self._settings, error) from None

    async def send(self, plans: Sequence[Plan]) -> None:
        """Send the records of `plans` and mark their letters, all or nothing. Raises `CommitFailed`."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._send(plans)
        except (ProducerFenced, InvalidProducerEpoch):
            raise CommitFailed("another replay was begun meanwhile; it goes on, and this one has ended") from None
        except (KafkaError, TimeoutError, OSError) as error:
            told = away(self._settings, error)
            raise CommitFailed(f"{told}; run it again: what was sent is not sent twice") from None

    async def _send(self, plans: Sequence[Plan]) -> None:
        producer = self._producer
        await producer.begin_transaction()
        waiting: list[asyncio.Future[Any]] = []

        async def put(topic: str, partition: int, key: bytes | None, value: bytes, headers: Headers) -> None:
            future = await producer.send(topic, value, key, partition=partition, headers=headers)
            # Where the first of them fails nobody asks for the others.
            future.add_done_callback(_look)
            waiting.append(future)

        for plan in plans:
            for record in plan.records:
                await put(*record)
            await put(REPLAYS, plan.letter.place[0], plan.letter.mark, orjson.dumps(self._mark(plan)), [])
        await asyncio.gather(*waiting)
        await producer.commit_transaction()

    def _mark(self, plan: Plan) -> ReplayRecord:
        return {
            "letter": plan.letter.id,
            "topic_id": plan.letter.topic_id,
            "time": time.time_ns() // 1_000_000,
            "run": self.run,
            "mended": plan.mended,
            "records": dict(Counter(record.topic for record in plan.records)),
        }

    async def close(self) -> None:
        """Disconnect; a transaction that is still open is undone by Kafka."""
        for future in self._unasked():
            future.add_done_callback(_look)
        try:
            async with asyncio.timeout(_STOP_S):
                await self._producer.stop()
        except (KafkaError, TimeoutError, OSError):
            # It waits until Kafka has taken all; cut off, it has its connections closed by the end of the process.
            await self._producer.client.close()

    def _unasked(self) -> list[asyncio.Future[Any]]:
        """What aiokafka (0.14.0) leaves behind after a failure, for nobody to ask for, and Python complains of."""
        batches = self._producer._message_accumulator  # noqa: SLF001
        held = [*batches._pending_batches, *(batch for queue in batches._batches.values() for batch in queue)]  # noqa: SLF001
        waiters = [batch._drain_waiter for batch in held]  # noqa: SLF001
        transaction = self._producer._txn_manager._transaction_waiter  # noqa: SLF001
        return [*waiters, transaction] if transaction is not None else waiters


def _look(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
