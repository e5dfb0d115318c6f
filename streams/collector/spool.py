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

Files are touched by one thread only (`streams.collector.spool_files`); while it syncs for some, others gather.
"""

from __future__ import annotations

import asyncio
import contextlib
import time as clocks
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import structlog

from schemas.errors import Unavailable
from schemas.settings import kafka_client_options
from streams.collector.kafkalog import TOO_LARGE, KafkaLog
from streams.collector.spool_files import Spool
from streams.collector.spool_frames import HEADER, write_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from schemas.settings import Settings
    from streams.collector.eventlog import Record
    from streams.collector.metrics import Metrics
    from streams.collector.spool_files import Chunk

log = structlog.get_logger()

LINGER_S: Final = 0.002
"""How long events gather before a sync that follows a quick one."""
COMMIT_BYTES: Final = 8 * 1024 * 1024
"""Most that one sync is for."""
PENDING_BYTES: Final = 64 * 1024 * 1024
"""Most that may wait for the disk; beyond it events are refused at once, so memory stays flat."""
DEADLINE_S: Final = 5.0
"""Longest that a request waits for the disk."""
CLOSE_S: Final = 1.0
"""Longest that the disk is waited for at the end."""
RETRY_S: Final = 1.0
"""How often a disk that failed is tried again."""
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


class _Waiting(NamedTuple):
    bodies: list[bytes]
    size: int
    done: asyncio.Future[Unavailable | None]


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
        self._limit = limit
        self._patience = patience_s
        self._deadline = deadline_s
        self._clock = clock
        self._metrics = metrics
        self._spooling = False
        self._since = 0.0
        self._held = 0
        """Events put on the disk since Kafka went away."""
        self._gathered: list[_Waiting] = []
        self._pending = 0
        self._trouble = ""
        """Why the disk takes nothing; '' where it does."""
        self._full = False
        self._oldest: int | None = None
        self._most = CHUNK_RECORDS
        self._gathering = asyncio.Event()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "spool")
        self._tasks: list[asyncio.Task[None]] = []
        metrics.watch_spool(
            events=lambda: self._spool.events, size=lambda: self._spool.size, limit=limit, age=self._age_s
        )

    @property
    def ready(self) -> bool:
        """Whether events can be kept: by Kafka or on the disk."""
        return self._kafka.ready or not (self._trouble or self._full)

    @property
    def state(self) -> str:
        """What an operator should know, in a line; '' where all goes straight to Kafka."""
        parts = []
        waiting = self._spool.events
        if self._spooling or not self._kafka.ready:
            parts.append("Kafka is away")
        if waiting:
            size, limit = self._spool.size / 2**20, self._limit / 2**20
            parts.append(f"{waiting:,} events wait on the disk ({size:,.1f} of {limit:,.0f} MiB)")
        elif parts and self.ready:
            parts.append("events go to the disk")
        if self._trouble:
            parts.append(f"the disk takes nothing: {self._trouble}")
        elif self._full:
            parts.append("the spool is full")
        return ", ".join(parts)

    async def open(self) -> None:
        """Take the spool's directory and begin to connect. Raises `ConfigurationError`."""
        self._loop = asyncio.get_running_loop()
        await self._run(self._spool.open)
        await self._kafka.open()
        self._tasks = [asyncio.create_task(_for_ever(job)) for job in (self._commit, self._hand_on)]

    async def close(self) -> None:
        """Have Kafka or the disk take what is in hand, and let go of both; what the disk holds stays there."""
        committing, *others = self._tasks
        await _cancel(*others)
        await self._kafka.close()
        until = self._loop.time() + CLOSE_S
        await asyncio.sleep(0.01)  # whom Kafka has just refused come here
        while self._pending and self._loop.time() < until:  # noqa: ASYNC110 - for the last few requests
            await asyncio.sleep(0.01)
        await _cancel(committing)
        _answer(self._take_gathered(), Unavailable("the collector is stopping"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._run(self._spool.close), CLOSE_S)
        self._thread.shutdown(wait=False)

    async def append(self, records: Sequence[Record]) -> None:
        """Keep `records`; returns when Kafka or the disk has all of them, raises `Unavailable` where not."""
        why = "Kafka is not reachable"
        if self._kafka.ready and (not self._spooling or self._trouble or self._full):
            try:
                await self._kafka.append(records)
            except Unavailable as error:
                why = str(error)
            else:
                return
        if not self._spooling:
            self._begin(why)
        await self._keep(records)

    async def _keep(self, records: Sequence[Record]) -> None:
        """Have `records` on the disk. Raises `Unavailable`."""
        if self._trouble:
            raise Unavailable(f"Kafka is away, and the disk takes nothing: {self._trouble}")
        bodies = [write_record(record) for record in records]
        size = sum(map(len, bodies)) + HEADER.size * len(bodies)
        if self._full or self._spool.size + self._pending + size > self._limit:
            if not self._full:
                self._full = True
                log.error("spool_full", events=self._spool.events, bytes=self._spool.size)
            raise Unavailable("Kafka is away, and the spool is full")
        if self._pending > PENDING_BYTES:
            raise Unavailable("Kafka is away, and too much waits for the disk")
        waiting = _Waiting(bodies, size, self._loop.create_future())
        self._gathered.append(waiting)
        self._pending += size
        self._gathering.set()
        try:
            error = await waiting.done
        finally:
            self._pending -= size
        if error is not None:
            raise error

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

    async def _commit(self) -> None:
        """Sync what has gathered, for ever: one write and sync for all who wait."""
        took = 0.0
        while True:
            await self._gathering.wait()
            if took < LINGER_S:
                await asyncio.sleep(LINGER_S)
            some = self._take_gathered(COMMIT_BYTES)
            if not some:
                continue
            began = self._loop.time()
            error = await self._sync(some)
            took = self._loop.time() - began
            _answer(some, error)
            if error is not None:
                _answer(self._take_gathered(), error)
                await self._until_disk_takes()

    async def _sync(self, some: list[_Waiting]) -> Unavailable | None:
        """Have `some` on the disk; what to tell them where it is not sure that they are."""
        bodies = [body for waiting in some for body in waiting.bodies]
        job = asyncio.ensure_future(self._run(partial(self._spool.keep, bodies)))
        try:
            if not (await asyncio.wait({job}, timeout=self._deadline))[0]:
                # Whether it will have them, nobody knows; and nobody else should wait.
                self._fail("it does not answer")
                late = Unavailable("the disk did not take an event in time")
                _answer([*some, *self._take_gathered()], late)
            await job
        except OSError as error:
            self._fail(error.strerror or str(error))
            return Unavailable(f"Kafka is away, and the disk takes nothing: {self._trouble}")
        self._held += len(bodies)
        self._wake.set()
        if self._trouble:
            return Unavailable(f"Kafka is away, and the disk takes nothing: {self._trouble}")
        return None

    def _fail(self, why: str) -> None:
        self._metrics.spool_failures.inc()
        self._trouble = why
        log.error("spool_failed", directory=str(self._spool.directory), error=why)

    async def _until_disk_takes(self) -> None:
        while self._trouble:
            await asyncio.sleep(RETRY_S)
            try:
                await self._run(self._spool.try_disk)
            except OSError as error:
                self._metrics.spool_failures.inc()
                self._trouble = error.strerror or str(error)
            else:
                self._trouble = ""
                log.info("spool_recovered", directory=str(self._spool.directory))

    def _take_gathered(self, most: int | None = None) -> list[_Waiting]:
        """Who has gathered, up to `most` bytes of records."""
        some: list[_Waiting] = []
        size = 0
        for waiting in self._gathered:
            if most is not None and some and size + waiting.size > most:
                break
            some.append(waiting)
            size += waiting.size
        del self._gathered[: len(some)]
        if not self._gathered:
            self._gathering.clear()
        return some

    async def _hand_on(self) -> None:
        """Hand on to Kafka what the disk holds, for ever."""
        while await self._run(self._spool.count_next):
            pass
        found, handed = self._spool.events, 0
        if found:
            log.info("spool_found", directory=str(self._spool.directory), events=found)
        while True:
            self._wake.clear()
            chunk = await self._run(partial(self._spool.take, self._most))
            if chunk is not None:
                self._oldest = chunk.records[0].time
                handed += await self._hand_on_chunk(chunk)
                continue
            self._oldest = None
            if self._spooling and (self._pending or not self._kafka.ready):
                await asyncio.sleep(POLL_S)
                continue
            if handed:
                log.info("spool_delivered", events=handed)
                handed = 0
            self._full = False
            self._end()
            await self._run(self._spool.clear)
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
        await self._run(partial(self._spool.done, chunk))
        if self._spool.size < self._limit * 0.9:
            self._full = False
        if took < self._patience:
            self._end()
        wanted = MOST_CHUNK_RECORDS if took > SLOW_S else CHUNK_RECORDS
        self._most = min(self._most * 2, wanted) if self._most < wanted else max(self._most // 2, wanted)
        return len(chunk.records)

    async def _put_aside(self, chunk: Chunk, why: str) -> None:
        """Go on without a record that Kafka will never take."""
        (record,) = chunk.records
        aside = partial(self._spool.put_aside, chunk.segment, chunk.start, record.value, "refused")
        kept = await self._run(aside)
        self._metrics.spool_damages.inc()
        log.error("spool_record_refused", topic=record.topic, bytes=len(record.value), error=why, kept=str(kept))

    def _age_s(self) -> float:
        """Age of the oldest event on the disk, 0 where there is none."""
        return 0.0 if self._oldest is None else max(0.0, (self._clock() - self._oldest) / 1000)

    async def _run(self, job: Callable[[], Any]) -> Any:
        return await self._loop.run_in_executor(self._thread, job)


def _answer(some: list[_Waiting], error: Unavailable | None) -> None:
    """Tell `some` how it went; None: well."""
    for waiting in some:
        if not waiting.done.done():
            waiting.done.set_result(error)


async def _for_ever(job: Callable[[], Awaitable[None]]) -> None:
    """Run `job`, which never ends, again where a fault of ours ends it."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("spool_crashed")
            await asyncio.sleep(RETRY_S)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
