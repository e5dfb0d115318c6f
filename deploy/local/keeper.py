"""Keeper: one service of the local stack, kept alive.

Rule: a service that ends without being asked to is started again, at once the first time, then after growing pauses.
A service that dies again and again before it was ever ready is a mistake to be told, not a fault to be waited out.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from deploy.local.probe import until
from deploy.local.process import Child, Lifeline, last_line, rotate
from schemas.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

READY_S = 60.0
"""A service that is not ready by then has failed."""
DEATHS = 3
"""So many deaths before it was ever ready, and it has failed."""
PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
"""Time before a dead service is started again; doubled at each death."""
STEADY_S = 30.0
"""A service that has lived so long begins with the shortest pause again."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs as long as the stack does.

    `ready` says whether it answers, `address` is where, `after` names the services and jobs that must be ready or done
    before it is started.
    """

    name: str
    argv: tuple[str, ...]
    address: str
    ready: Callable[[], Awaitable[bool]]
    after: tuple[str, ...] = ()
    env: Mapping[str, str] | None = field(default=None, repr=False)


class Keeper:
    """Starts a service, starts it again when it dies, and stops it."""

    def __init__(self, service: Service, log_file: Path, lifeline: Lifeline, changed: Callable[[], None]) -> None:
        """`changed` is called at each start and end."""
        self.service = service
        self._child = Child(service.argv, log_file, env=service.env, lifeline=lifeline)
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._asked = False
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        """Its process id; None between two lives."""
        return self._child.pid

    def rotate(self) -> None:
        """Move its log away where it has grown too large."""
        rotate(self._child.log)

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises `Unavailable` where it is not within a minute, or dies three times.
        """
        self._task = asyncio.create_task(self._keep(), name=f"keep {self.service.name}")
        await self._until_ready()

    async def restart(self, seconds: float) -> None:
        """Stop it in order, killed past `seconds`, and wait until it is ready again. Raises `Unavailable`."""
        self._asked = True
        self._deaths = 0
        before = self.pid
        await self._child.stop(seconds)
        await until(self._is_not(before), READY_S)
        await self._until_ready()

    async def hold(self, seconds: float) -> None:
        """Stop it in order, killed past `seconds` (0: at once), and leave it so until `release`."""
        self._wanted.clear()
        self._asked = self.pid is not None
        await self._child.stop(seconds)

    async def release(self) -> None:
        """Start what was held; who wants it ready asks `service.ready`."""
        self._deaths = 0
        self._wanted.set()

    async def stop(self, seconds: float) -> None:
        """Stop it for good, killed past `seconds`."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._child.stop(seconds)

    def _is_not(self, pid: int | None) -> Callable[[], Awaitable[bool]]:
        async def another() -> bool:
            return self.pid not in {pid, None}

        return another

    async def _until_ready(self) -> None:
        async def settled() -> bool:
            return self._deaths >= DEATHS or (self.pid is not None and await self.service.ready())

        if not await until(settled, READY_S) or self._deaths >= DEATHS:
            how = f"died {DEATHS} times" if self._deaths >= DEATHS else f"is not ready after {READY_S:.0f} s"
            message = f"{self.service.name} {how} ({self._child.log}): {last_line(self._child.log)}"
            raise Unavailable(message)
        self._deaths = 0

    async def _keep(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = PAUSE_S
        while True:
            await self._wanted.wait()
            begun = clock()
            try:
                await self._child.start()
            except OSError as error:
                code = error.errno or 1
                log.error("service_cannot_start", service=self.service.name, error=str(error))  # noqa: TRY400 - no trace
            else:
                if not self._wanted.is_set():  # it was held while it was being started
                    self._asked = True
                    self._child.kill()
                self._changed()
                code = await self._child.wait()
            self._changed()
            if self._asked:
                self._asked = False
                pause = PAUSE_S
                continue
            self._deaths += 1
            log.warning("service_died", service=self.service.name, code=code, log=str(self._child.log))
            if clock() - begun > STEADY_S:
                pause = PAUSE_S
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
