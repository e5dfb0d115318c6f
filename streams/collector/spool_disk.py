"""The spool's disk as many requests at once see it: one write and sync for all who wait, or a refusal at once.

    keep ──► gather ──► one write and sync in the disk's thread ──► each request is told

Rule: nobody is told that an event is kept before it is synced, and nobody waits for a disk that has failed or hangs:
from then on events are refused at once, until the disk has taken some bytes for a trial. All files are touched by one
thread (`streams.collector.spool_files`); while it syncs for some requests, others gather.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from schemas.errors import ConfigurationError, Unavailable
from streams.collector.spool_frames import HEADER, write_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from streams.collector.eventlog import Record
    from streams.collector.spool_files import Spool

log = structlog.get_logger()

LINGER_S: Final = 0.005
"""How long events gather at least, while the sync before is on its way or after it: as long as for Kafka."""
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
ROOM_AGAIN: Final = 0.9
"""A full spool takes events again when it holds less than this part of what it may."""


class _Waiting(NamedTuple):
    bodies: list[bytes]
    size: int
    done: asyncio.Future[Unavailable | None]


class Disk:
    """`spool`, of at most `limit` bytes, for many requests at once.

    `on_kept` is told how many more events are safe, `on_failure` that the disk has not taken what it should.
    """

    def __init__(
        self,
        spool: Spool,
        limit: int,
        *,
        deadline_s: float = DEADLINE_S,
        on_kept: Callable[[int], None],
        on_failure: Callable[[], None],
    ) -> None:
        self.spool = spool
        self.limit = limit
        self.trouble = ""
        """Why the disk takes nothing; '' where it does."""
        self.full = False
        self.pending = 0
        """Bytes that wait for a sync."""
        self._deadline = deadline_s
        self._on_kept = on_kept
        self._on_failure = on_failure
        self._gathered: list[_Waiting] = []
        self._gathering = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "spool")
        self._task: asyncio.Task[None] | None = None

    @property
    def takes(self) -> bool:
        """Whether it takes events."""
        return not (self.trouble or self.full)

    async def open(self) -> None:
        """Take the directory. Raises `ConfigurationError`; a disk that is broken is tried again, and stops nobody."""
        self._loop = asyncio.get_running_loop()
        try:
            await self.run(self.spool.open)
        except OSError as error:
            self._fail(error.strerror or str(error))
        self._task = asyncio.create_task(for_ever(self._commit))

    async def close(self) -> None:
        """Sync what waits, and let go of the directory; a disk that does not answer is waited for only so long."""
        until = self._loop.time() + CLOSE_S
        while self.pending and self._loop.time() < until:  # noqa: ASYNC110 - for the last few requests
            await asyncio.sleep(0.01)
        await cancel(self._task)
        _answer(self._take_gathered(), Unavailable("the collector is stopping"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.run(self.spool.close), CLOSE_S)
        self._thread.shutdown(wait=False)

    async def run(self, job: Callable[[], Any]) -> Any:
        """Have the disk's thread do `job`, a call of the spool's."""
        return await self._loop.run_in_executor(self._thread, job)

    async def keep(self, records: Sequence[Record]) -> None:
        """Have `records` on the disk; returns when they are synced. Raises `Unavailable`."""
        if self.trouble:
            raise self._refusal()
        bodies = [write_record(record) for record in records]
        size = sum(map(len, bodies)) + HEADER.size * len(bodies)
        if self.full or self.spool.size + self.pending + size > self.limit:
            if not self.full:
                self.full = True
                log.error("spool_full", events=self.spool.events, bytes=self.spool.size)
            raise Unavailable("Kafka is away, and the spool is full")
        if self.pending > PENDING_BYTES:
            raise Unavailable("Kafka is away, and too much waits for the disk")
        waiting = _Waiting(bodies, size, self._loop.create_future())
        self._gathered.append(waiting)
        self.pending += size
        self._gathering.set()
        try:
            error = await waiting.done
        finally:
            self.pending -= size
        if error is not None:
            raise error

    def look_for_room(self) -> None:
        """Take events again where there is room."""
        if self.spool.size < self.limit * ROOM_AGAIN:
            self.full = False

    async def _commit(self) -> None:
        """Sync what has gathered, for ever."""
        took = 0.0
        await self._until_it_takes()
        while True:
            await self._gathering.wait()
            if took < LINGER_S:
                await asyncio.sleep(LINGER_S - took)
            some = self._take_gathered(COMMIT_BYTES)
            began = self._loop.time()
            await self._sync(some)
            took = self._loop.time() - began
            if not self.trouble:
                _answer(some, None)
                continue
            _answer([*some, *self._take_gathered()], self._refusal())
            await self._until_it_takes()

    async def _sync(self, some: list[_Waiting]) -> None:
        """Have `some` on the disk; `trouble` says where that is not sure."""
        bodies = [body for waiting in some for body in waiting.bodies]
        try:
            job = asyncio.ensure_future(self.run(partial(self.spool.keep, bodies)))
            if not (await asyncio.wait({job}, timeout=self._deadline))[0]:
                # Whether it will have them, nobody knows; and nobody else should wait.
                self._fail("it does not answer")
                late = Unavailable("the disk did not take an event in time")
                _answer([*some, *self._take_gathered()], late)
            await job
        except OSError as error:
            self._fail(error.strerror or str(error))
        except Exception as error:
            log.exception("spool_crashed")
            self._fail(repr(error))
        else:
            self._on_kept(len(bodies))

    def _fail(self, why: str) -> None:
        self._on_failure()
        self.trouble = why
        log.error("spool_failed", directory=str(self.spool.directory), error=why)

    def _refusal(self) -> Unavailable:
        return Unavailable(f"Kafka is away, and the disk takes nothing: {self.trouble}")

    async def _until_it_takes(self) -> None:
        while self.trouble:
            await asyncio.sleep(RETRY_S)
            try:
                await self.run(self.spool.try_disk)
            except (OSError, ConfigurationError) as error:
                self._on_failure()
                self.trouble = getattr(error, "strerror", None) or str(error)
            else:
                self.trouble = ""
                self._on_kept(0)
                log.info("spool_recovered", directory=str(self.spool.directory))

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


def _answer(some: list[_Waiting], error: Unavailable | None) -> None:
    """Tell `some` how it went; None: well."""
    for waiting in some:
        if not waiting.done.done():
            waiting.done.set_result(error)


async def for_ever(job: Callable[[], Awaitable[None]]) -> None:
    """Run `job`, which never ends, again where a fault of ours ends it."""
    while True:
        try:
            await job()
        except Exception:
            log.exception("spool_crashed")
            await asyncio.sleep(RETRY_S)


async def cancel(task: asyncio.Task[None] | None) -> None:
    """Cancel `task`, and wait for its end."""
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
