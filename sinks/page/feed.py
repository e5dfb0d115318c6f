"""The feed: one cycle of questions for all who look on, and what each of them is told.

Rule: a question is asked once a cycle, however many viewers have it, and nothing is asked when nobody looks. Between
two cycles passes nine times as long as the last one took, so the page takes a tenth of one connection's time at most.
A viewer who reads slowly gets the latest state, never a backlog.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from sinks.page.metrics import PageMetrics
    from sinks.page.question import Question

log = structlog.get_logger()

PAUSE_S: Final = 2.0
"""Least time between two cycles."""
LONGEST_PAUSE_S: Final = 60.0
REST: Final = 9.0
"""Rest between two cycles, in times of what the last one took."""
HEARTBEAT_S: Final = 15.0
"""A viewer who was told nothing for so long gets a sign of life, which also finds out who is gone."""
MOST_VIEWERS: Final = 500
MOST_QUESTIONS: Final = 64
KEPT_S: Final = 60.0
"""So long the last answer to a question that nobody has any more is kept, for who loads the page again."""


class TooMany(HeadwaterError):  # noqa: N818  # named as the rest of the tree
    """As many look on as the page can serve."""

    retriable = True


@dataclass(slots=True)
class Watch:
    """A question that someone has: how many, its latest answer, and when it is to be asked again."""

    viewers: int = 0
    due: float = 0.0
    figures: bytes = b""
    version: int = 0
    tick: bytes = b""
    ticks: int = 0
    failed: bool = field(default=False)


class Feed:
    """Serves viewers until closed.

    `ask` answers a question, `look` tells of the roles' health; both give JSON-ready dicts, and `ask` may raise.
    """

    def __init__(
        self,
        ask: Callable[[Question], Awaitable[dict[str, Any]]],
        look: Callable[[], Awaitable[dict[str, Any]]],
        metrics: PageMetrics,
        *,
        pause: float = PAUSE_S,
    ) -> None:
        self._ask = ask
        self._look = look
        self._metrics = metrics
        self._pause = pause
        self._watches: dict[Question, Watch] = {}
        self._kept: dict[Question, tuple[float, bytes]] = {}
        self._health = b""
        self._health_version = 0
        self._news = asyncio.Event()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def follow(self, question: Question) -> AsyncGenerator[bytes]:
        """Server-sent events for one viewer, until closed: ``figures``, ``health``, and a ``tick`` a cycle.

        Raises `TooMany`.
        """
        watch = self._enter(question)
        figures, health, ticks = 0, 0, 0
        try:
            yield b"retry: 2000\n\n"
            while not self._closed:
                news = self._news
                told = b""
                if watch.version != figures:
                    told, figures = _event("figures", watch.figures), watch.version
                if self._health_version != health:
                    told, health = told + _event("health", self._health), self._health_version
                if watch.ticks != ticks:
                    told, ticks = told + _event("tick", watch.tick), watch.ticks
                if not told:
                    try:
                        async with asyncio.timeout(HEARTBEAT_S):
                            await news.wait()
                        continue
                    except TimeoutError:
                        told = b": here\n\n"
                yield told
        finally:
            self._leave(question, watch)

    async def close(self) -> None:
        """End all viewers' streams and the cycle."""
        self._closed = True
        self._tell()
        await self._rest()

    def _enter(self, question: Question) -> Watch:
        watch = self._watches.get(question)
        viewers = sum(other.viewers for other in self._watches.values())
        if viewers >= MOST_VIEWERS or (watch is None and len(self._watches) >= MOST_QUESTIONS):
            raise TooMany("too many look at this page just now; try again later")
        if watch is None:
            watch = self._watches[question] = Watch()
            kept_at, figures = self._kept.pop(question, (0.0, b""))
            if figures and time.monotonic() - kept_at < KEPT_S:
                watch.figures, watch.version = figures, 1
            self._wake.set()
        watch.viewers += 1
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._cycle()), asyncio.create_task(self._watch_health())]
        self._count()
        return watch

    def _leave(self, question: Question, watch: Watch) -> None:
        watch.viewers -= 1
        if watch.viewers == 0 and self._watches.get(question) is watch:
            del self._watches[question]
            self._kept[question] = (time.monotonic(), watch.figures)
            if len(self._kept) > MOST_QUESTIONS:
                del self._kept[next(iter(self._kept))]
        if not self._watches:
            for task in self._tasks:
                task.cancel()
            self._tasks = []
        self._count()

    async def _rest(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    def _count(self) -> None:
        self._metrics.viewers.set(sum(watch.viewers for watch in self._watches.values()))
        self._metrics.questions.set(len(self._watches))

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _cycle(self) -> None:
        while True:
            self._wake.clear()
            started = time.monotonic()
            # Who has just come waits for the first figures; the others have some.
            due = sorted(
                ((question, watch) for question, watch in self._watches.items() if watch.due <= started),
                key=lambda item: item[1].due,
            )
            problem = ""
            for question, watch in due:
                if watch.viewers:
                    problem = await self._refresh(question, watch, problem)
            if due:
                took = time.monotonic() - started
                rest = self._pause if problem else min(LONGEST_PAUSE_S, max(self._pause, REST * took))
                now = time.monotonic()
                for _, watch in due:
                    watch.due = now + rest
                    watch.tick = _tick(rest, problem)
                    watch.ticks += 1
                self._tell()
            await self._until_due()

    async def _until_due(self) -> None:
        soonest = min((watch.due for watch in self._watches.values()), default=time.monotonic() + self._pause)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, soonest - time.monotonic())):
                await self._wake.wait()

    async def _refresh(self, question: Question, watch: Watch, problem: str) -> str:
        """Ask, unless it was found a moment ago that there is nobody to ask; returns what is wrong, or ""."""
        if problem:
            return problem
        started = time.monotonic()
        try:
            figures = orjson.dumps(await self._ask(question))
        except HeadwaterError as error:
            return self._failed(str(error), watch)
        except Exception as error:
            log.exception("page_answer_failed")
            return self._failed(f"{type(error).__name__}; the log tells more", watch)
        self._metrics.seconds.observe(time.monotonic() - started)
        if watch.failed:
            log.info("page_answers_again")
            watch.failed = False
        if figures != watch.figures:
            watch.figures = figures
            watch.version += 1
            self._tell()
        return ""

    def _failed(self, text: str, watch: Watch) -> str:
        self._metrics.failures.inc()
        if not watch.failed:
            log.warning("page_answer_failed", error=text)
            watch.failed = True
        return text

    async def _watch_health(self) -> None:
        while True:
            try:
                self._health = orjson.dumps(await self._look())
            except Exception:
                log.exception("page_health_failed")
            else:
                self._health_version += 1
                self._tell()
            await asyncio.sleep(self._pause)


def _event(name: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def _tick(rest: float, problem: str) -> bytes:
    """The server's clock, when the next cycle is due, and what is wrong."""
    return orjson.dumps({"at": time.time_ns() // 1_000_000, "next": round(rest, 1), "problem": problem})
