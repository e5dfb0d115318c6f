"""Kafka with a disk beside it: the `EventLog` of a collector that goes on taking events while Kafka is away.

    append ──► Kafka, where it answers in time ──────────────────────────► kept
          └──► gather ──► one write and sync for all who wait ──► kept ──► handed on to Kafka, oldest first

Rule: an event is kept when Kafka has it or when it is synced to the disk, and nothing else counts. From the first event
that Kafka does not take in time all go to the disk, without waiting for Kafka, until Kafka has taken some of those
again: the oldest on the disk is what Kafka is tried with. From then on new events go to Kafka directly, beside what the
disk still holds: they would wait for no reason, as no result depends on the order. What the disk holds is handed on in
its order, in each partition too.

An event whose fate at Kafka is unknown goes to the disk, and what was handed on just before a crash is handed on again:
Kafka may then hold it twice, and the worker counts it once, by its identity. Nothing is handed on before what a disk
holds from before is counted.
"""

from __future__ import annotations

import asyncio
import time as clocks
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from schemas.errors import Unavailable
from schemas.settings import kafka_client_options
from streams.collector.kafkalog import TOO_LARGE, KafkaLog
from streams.collector.registry_copy import FILE as REGISTRY_FILE
from streams.collector.spool_disk import DEADLINE_S, Disk, cancel, for_ever
from streams.collector.spool_files import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from schemas.settings import Settings
    from streams.collector.eventlog import Record
    from streams.collector.metrics import Metrics
    from streams.collector.spool_files import Chunk

log = structlog.get_logger()

POLL_S: Final = 0.1
"""How often Kafka is looked for, while there is something for it."""
BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0)
CHUNK_RECORDS: Final = 500
"""Handed on at once: few enough that requests in between notice nothing."""
MOST_CHUNK_RECORDS: Final = 16_000
SLOW_S: Final = 0.25
"""Where Kafka takes longer for a chunk, the next ones are larger."""


def event_log(settings: Settings, metrics: Metrics) -> SpooledLog | KafkaLog:
    """Where a collector of these `settings` keeps events."""
    options = kafka_client_options(settings)
    if not settings.spool_bytes:
        return KafkaLog(options)
    patience = settings.spool_after_ms / 1000
    spool = Spool(settings.spool_path, on_damage=metrics.spool_damages.inc)
    kafka = KafkaLog(options, deadline_s=patience)
    return SpooledLog(kafka, spool, metrics, limit=settings.spool_bytes, patience_s=patience)


def copy_of(settings: Settings) -> Path | None:
    """Where a collector of these `settings` keeps what it knows of the registry; None: nowhere."""
    return settings.spool_path / REGISTRY_FILE if settings.spool_bytes else None


class Broker(Protocol):
    """Kafka, as `streams.collector.kafkalog.KafkaLog` is it."""

    @property
    def ready(self) -> bool:
        """Whether Kafka answered lately."""

    async def open(self) -> None:
        """Begin to connect."""

    async def close(self) -> None:
        """Send what is pending, and disconnect."""

    async def append(self, records: Sequence[Record], *, patient: bool = False) -> None:
        """Keep `records`, or raise `Unavailable`; `patient`: wait until the outcome is known."""


class SpooledLog:
    """Kafka and a spool of at most `limit` bytes as one `EventLog`.

    `patience_s`: how long an event may wait for Kafka (`kafka` itself keeps to it). `clock` gives milliseconds since
    the epoch.
    """

    def __init__(
        self,
        kafka: Broker,
        spool: Spool,
        metrics: Metrics,
        *,
        limit: int,
        patience_s: float,
        deadline_s: float = DEADLINE_S,
        clock: Callable[[], int] = lambda: clocks.time_ns() // 1_000_000,
    ) -> None:
        self._kafka = kafka
        self._spool = spool
        self._disk = Disk(
            spool, limit, deadline_s=deadline_s, on_kept=self._on_kept, on_failure=metrics.spool_failures.inc
        )
        self._patience = patience_s
        self._clock = clock
        self._metrics = metrics
        self._spooling = False
        self._since = 0.0
        self._held = 0
        """Events put on the disk since Kafka went away."""
        self._oldest: int | None = None
        self._most = CHUNK_RECORDS
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        metrics.watch_spool(events=lambda: spool.events, size=lambda: spool.size, limit=limit, age=self._age_s)

    @property
    def ready(self) -> bool:
        """Whether events can be kept: by Kafka or on the disk."""
        return self._kafka.ready or self._disk.takes

    @property
    def state(self) -> str:
        """What an operator should know, in a line; '' where all goes straight to Kafka."""
        parts = []
        waiting = self._spool.events
        if self._spooling or not self._kafka.ready:
            parts.append("Kafka is away")
        if waiting:
            size, limit = self._spool.size / 2**20, self._disk.limit / 2**20
            events = "1 event waits" if waiting == 1 else f"{waiting:,} events wait"
            parts.append(f"{events} on the disk ({size:,.1f} of {limit:,.0f} MiB)")
        elif parts and self.ready:
            parts.append("events go to the disk")
        if self._disk.trouble:
            parts.append(f"the disk takes nothing: {self._disk.trouble}")
        elif self._disk.full:
            parts.append("the spool is full")
        return ", ".join(parts)

    async def open(self) -> None:
        """Take the spool's directory and begin to connect. Raises `ConfigurationError`."""
        self._loop = asyncio.get_running_loop()
        await self._disk.open()
        await self._kafka.open()
        self._task = asyncio.create_task(for_ever(self._hand_on))

    async def close(self) -> None:
        """Have Kafka or the disk take what is in hand, and let go of both; what the disk holds stays there."""
        await cancel(self._task)
        await self._kafka.close()
        await asyncio.sleep(0.01)  # whom Kafka has just refused come to the disk
        await self._disk.close()

    async def append(self, records: Sequence[Record]) -> None:
        """Keep `records`; returns when Kafka or the disk has all of them, raises `Unavailable` where not."""
        why = "Kafka is not reachable"
        if self._kafka.ready and not (self._spooling and self._disk.takes):
            try:
                await self._kafka.append(records)
            except Unavailable as error:
                why = str(error)
            else:
                return
        if not self._spooling:
            self._begin(why)
        await self._disk.keep(records)

    def _on_kept(self, events: int) -> None:
        self._held += events
        self._wake.set()

    def _begin(self, why: str) -> None:
        self._spooling = True
        self._since, self._held = self._loop.time(), 0
        log.warning("spooling_began", directory=str(self._spool.directory), why=why)
        self._wake.set()

    def _end(self) -> None:
        if self._spooling:
            self._spooling = False
            seconds = round(self._loop.time() - self._since, 1)
            log.info("spooling_ended", seconds=seconds, spooled=self._held, waiting=self._spool.events)

    async def _hand_on(self) -> None:
        """Hand on to Kafka what the disk holds, for ever."""
        handed = 0
        while True:
            self._wake.clear()
            if not self._spool.counted:
                while await self._disk.run(self._spool.count_next):
                    pass
                log.info("spool_found", directory=str(self._spool.directory), events=self._spool.events)
            chunk = await self._disk.run(partial(self._spool.take, self._most))
            if chunk is not None:
                self._oldest = chunk.records[0].time
                handed += await self._hand_on_chunk(chunk)
                continue
            self._oldest = None
            if self._spooling and (self._disk.pending or not self._kafka.ready):
                await asyncio.sleep(POLL_S)
                continue
            if handed:
                log.info("spool_delivered", events=handed)
                handed = 0
            self._disk.full = False
            self._end()
            await self._disk.run(self._spool.clear)
            await self._wake.wait()

    async def _hand_on_chunk(self, chunk: Chunk) -> int:
        """Hand on one chunk, however long it takes; how many records Kafka has now (0: try again with fewer)."""
        attempt = 0
        while True:
            while not self._kafka.ready:  # noqa: ASYNC110 - Kafka does not tell of itself
                await asyncio.sleep(POLL_S)
            began = self._loop.time()
            try:
                await self._kafka.append(chunk.records, patient=True)
                break
            except Unavailable as error:
                if isinstance(error.__cause__, TOO_LARGE):
                    if len(chunk.records) > 1:
                        self._most = len(chunk.records) // 2
                        return 0
                    await self._put_aside(chunk, str(error.__cause__))
                    break
                await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                attempt += 1
        took = self._loop.time() - began
        await self._disk.run(partial(self._spool.done, chunk))
        self._disk.look_for_room()
        if took < self._patience:
            self._end()
        wanted = MOST_CHUNK_RECORDS if took > SLOW_S else CHUNK_RECORDS
        self._most = min(self._most * 2, wanted) if self._most < wanted else max(self._most // 2, wanted)
        return len(chunk.records)

    async def _put_aside(self, chunk: Chunk, why: str) -> None:
        """Go on without a record that Kafka will never take."""
        (record,) = chunk.records
        aside = partial(self._spool.put_aside, chunk.segment, chunk.start, record.value, "refused")
        kept = await self._disk.run(aside)
        self._metrics.spool_damages.inc()
        log.error("spool_record_refused", topic=record.topic, bytes=len(record.value), error=why, kept=str(kept))

    def _age_s(self) -> float:
        """Age of the oldest event on the disk, 0 where there is none."""
        return 0.0 if self._oldest is None else max(0.0, (self._clock() - self._oldest) / 1000)
