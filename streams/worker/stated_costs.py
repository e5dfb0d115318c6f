"""Stated costs of the last day: what the topic ``spend`` says, for the rolling windows.

Rule: every process reads all of the topic, since a statement stands in the place of what its campaign's touches cost,
and those lie in every partition; a process shows what its own partitions state, so that instances can be added up. As
in the views: a statement covers its campaign's minutes, and an hour's share lies at the first minute of that hour which
the statement covers. Without Kafka what was read stays in force.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.kafka_clients import stop_consumer
from schemas.settings import Settings, kafka_client_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOPIC: Final = "spend"
KEPT_MINUTES: Final = 1_500
"""Statements that ended longer ago are in no window."""
_MINUTE_MS: Final = 60_000
_HOUR_MINUTES: Final = 60
_BACKOFF_S: Final = 5.0
_MOST_RECORDS: Final = 200
"""Looked at in one go."""
Spans = tuple[tuple[int, int], ...]
"""From and to, in minutes since the epoch."""


class Statement(NamedTuple):
    """What one statement says; `parts`: minute -> micros. No `channel`: that of its traffic."""

    partition: int
    site: str
    campaign: str
    channel: str
    currency: str
    start: int
    end: int
    parts: tuple[tuple[int, int], ...]

    def within(self, after: int, until: int) -> int:
        """Micros of the minutes after one and up to another."""
        if self.end <= after or self.start > until:
            return 0
        return sum(micros for minute, micros in self.parts if after < minute <= until)


class StatedCosts:
    """`spans`: (site, campaign) -> the minutes that are covered; another object after each change of them."""

    def __init__(self) -> None:
        self.spans: dict[tuple[str, str], Spans] = {}
        self._statements: dict[bytes, Statement] = {}

    def take(self, records: Iterable[tuple[int, bytes, bytes | None]], now: int) -> None:
        """Apply (partition, key, value) of ``spend`` in their order; `now`: minutes since the epoch."""
        changed = set()
        for partition, key, value in records:
            old = self._statements.pop(key, None)
            new = _statement(partition, orjson.loads(value)) if value is not None else None
            if new is not None and new.end > now - KEPT_MINUTES:
                self._statements[key] = new
            changed |= {(told.site, told.campaign) for told in (old, self._statements.get(key)) if told is not None}
        if changed:
            self._cover(changed)

    def statements(self) -> list[Statement]:
        """Those that are known now."""
        return list(self._statements.values())

    async def follow(self, settings: Settings) -> None:
        """Read the topic from its start and on, until cancelled."""
        while True:
            try:
                await self._read(settings)
            except (KafkaError, OSError):
                # Whoever measures the lag says that Kafka is away.
                await asyncio.sleep(_BACKOFF_S)

    async def _read(self, settings: Settings) -> None:
        consumer = AIOKafkaConsumer(
            **kafka_client_options(settings),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        try:
            await consumer.start()
            partitions = [TopicPartition(TOPIC, number) for number in range(settings.partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            while True:
                found = await consumer.getmany(timeout_ms=1000, max_records=_MOST_RECORDS)
                records = [
                    (at.partition, bytes(record.key or b""), record.value)
                    for at, some in found.items()
                    for record in some
                ]
                self.take(records, int(time.time() // 60))
        finally:
            await stop_consumer(consumer)

    def _cover(self, changed: set[tuple[str, str]]) -> None:
        by_name: dict[tuple[str, str], set[tuple[int, int]]] = {name: set() for name in changed}
        for told in self._statements.values():
            if (told.site, told.campaign) in by_name:
                by_name[told.site, told.campaign].add((told.start, told.end))
        fresh = {name: tuple(sorted(spans)) for name, spans in by_name.items()}
        if any(self.spans.get(name, ()) != spans for name, spans in fresh.items()):
            self.spans = {name: spans for name, spans in {**self.spans, **fresh}.items() if spans}


def is_stated(spans: Mapping[tuple[str, str], Spans], site: str, campaign: str, minute: int) -> bool:
    """Whether a statement covers a minute of a campaign."""
    return any(start <= minute < end for start, end in spans.get((site, campaign), ()))


def _statement(partition: int, record: dict[str, Any]) -> Statement:
    start, end = record["from"] // _MINUTE_MS, -(-record["to"] // _MINUTE_MS)
    parts = tuple((max(hour * _HOUR_MINUTES, start), micros) for hour, micros, _, _ in record["hours"])
    names = (record["site"], record["campaign"], record["channel"], record["currency"])
    return Statement(partition, *names, start, end, parts)
