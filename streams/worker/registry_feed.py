"""The registry, read from the topic ``campaigns`` to its end, then followed.

Rule: no unit opens before the registry has been read to its end, so a batch never sees a part of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import TypeAdapter, ValidationError

from schemas.kafka_clients import stop_consumer
from schemas.registry import CampaignEntry, Entry, SiteEntry
from schemas.settings import Settings, kafka_client_options
from streams.core.registry import Registry
from streams.core.review import traces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import ConsumerRecord

log = structlog.get_logger()

_ENTRY: TypeAdapter[SiteEntry | CampaignEntry] = TypeAdapter(Entry)
_TP = TopicPartition("campaigns", 0)


class RegistryFeed:
    """Keeps `registry` current; `start` returns once it has been read to its end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.registry = Registry()
        self.position = 0
        """The offset after the last entry read."""
        self.changed_ms = 0
        """When that entry was written."""
        self._traces: list[tuple[int, bytes]] = []
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the topic to its present end and go on following it."""
        consumer = self._consumer = AIOKafkaConsumer(
            **kafka_client_options(self._settings),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        consumer.assign([_TP])
        await consumer.seek_to_beginning(_TP)
        end = (await consumer.end_offsets([_TP]))[_TP]
        while await consumer.position(_TP) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                self._take(records)
        self._task = asyncio.create_task(self._follow(consumer), name="registry")

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            try:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    self._take(records)
            except KafkaError as error:
                log.warning("registry_unreachable", error=repr(error))
                await asyncio.sleep(1)

    def _take(self, records: Iterable[ConsumerRecord]) -> None:
        for record in records:
            self.position, self.changed_ms = record.offset + 1, record.timestamp
            if record.value is None:
                continue
            try:
                entry = _ENTRY.validate_json(record.value)
                self.registry.put(entry)
                self._traces.append((record.offset, traces(entry)))
            except ValidationError as error:
                log.error(  # noqa: TRY400 - the entry is wrong, not this code
                    "registry_entry_refused", key=repr(record.key), offset=record.offset, error=str(error)
                )

    def traces_since(self, position: int) -> list[bytes]:
        """The `streams.core.review.traces` of all entries from `position` on."""
        return list(dict.fromkeys(trace for offset, trace in self._traces if offset >= position))

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._consumer is not None:
            await stop_consumer(self._consumer)
