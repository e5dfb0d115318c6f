"""Supervisor: services and jobs of one data directory, started in their order, kept alive, stopped in theirs.

Rule: one supervisor a directory; it says in ``stack.json`` what runs there, and takes that back when it stops. Nothing
it started outlives it, even where it is killed (`deploy.local.reaper`), and stopping takes less than `STOP_S`.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from deploy.local.keeper import Keeper, Service
from deploy.local.process import Lifeline, last_line, run
from schemas.errors import ConfigurationError, HeadwaterError, Unavailable
from schemas.settings import STACK_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

STOP_S = 8.5
"""All services are gone by then."""
REMAINS_S = 10.0
"""How long to wait for what a killed supervisor left behind to be ended."""
RESTART_S = 10.0
"""A service that is restarted on demand is killed where it does not stop by then."""
ROTATE_S = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """A program that runs once, to its end, when what it names in `after` is ready or done."""

    name: str
    argv: tuple[str, ...]
    after: tuple[str, ...] = ()
    env: Mapping[str, str] | None = field(default=None, repr=False)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ValueError:  # the lock's owner has not written its id yet
        return True
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def lock(directory: Path) -> int:
    """Take `directory` for this process; returns the descriptor that holds it.

    What a killed supervisor left there is waited for, as it is being ended. Raises `ConfigurationError` where another
    stack runs in it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + REMAINS_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode().strip()
            if not _alive(owner) and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            os.close(descriptor)
            message = f"a local stack already runs in {directory} (process {owner})"
            raise ConfigurationError(message) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor


class Supervisor:
    """Runs services and jobs: `async with Supervisor(directory, stages) as it: await it.launch(...)`."""

    def __init__(
        self,
        directory: Path,
        stages: Sequence[tuple[str, float]],
        on_ready: Callable[[str, str], None] | None = None,
    ) -> None:
        """`stages`: (role, when it must be gone, in seconds) in the order of stopping.

        A role is a service's name, or what stands before its last hyphen. `on_ready(name, address)` is called when a
        service is ready for the first time.
        """
        self.directory = directory.resolve()
        self.interrupted = False
        self._closing = False
        self._stages = stages
        self._on_ready = on_ready
        self._keepers: dict[str, Keeper] = {}
        self._facts: dict[str, Any] | None = None
        self._exits = AsyncExitStack()
        self._lifeline = Lifeline()
        self._owner: asyncio.Task[Any] | None = None
        self._rotation: asyncio.Task[None] | None = None

    @property
    def stack_file(self) -> Path:
        """Where the running stack is described."""
        return self.directory / STACK_FILE

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the services that run, by name."""
        return {name: keeper.pid for name, keeper in self._keepers.items() if keeper.pid is not None}

    def log_file(self, name: str) -> Path:
        """Where the output of service or job `name` goes."""
        return self.directory / "logs" / f"{name}.log"

    async def open(self) -> None:
        """Take the directory; from now on SIGINT and SIGTERM cancel the calling task, once."""
        descriptor = lock(self.directory)
        self._exits.callback(os.close, descriptor)
        self.stack_file.unlink(missing_ok=True)
        self._lifeline = Lifeline(remove=[self.stack_file], hold=[descriptor])
        await self._exits.enter_async_context(self._lifeline)
        self._owner = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._interrupt)
            self._exits.callback(loop.remove_signal_handler, number)
        self._rotation = asyncio.create_task(self._rotate())

    def _interrupt(self) -> None:
        if not (self.interrupted or self._closing) and self._owner is not None:
            self.interrupted = True
            self._owner.cancel()

    async def launch(self, steps: Sequence[Service | Job]) -> None:
        """Start all of `steps`, each when those in its `after` are ready or done; returns when all are.

        Raises `Unavailable` where a service does not get ready or a job fails; the rest is not waited for then.
        """
        done = {step.name: asyncio.Event() for step in steps}

        async def take(step: Service | Job) -> None:
            for name in step.after:
                await done[name].wait()
            await (self._start(step) if isinstance(step, Service) else self._run(step))
            done[step.name].set()

        try:
            async with asyncio.TaskGroup() as group:
                for step in steps:
                    group.create_task(take(step))
        except* HeadwaterError as failures:
            raise failures.exceptions[0] from None

    async def _start(self, service: Service) -> None:
        keeper = Keeper(service, self.log_file(service.name), self._lifeline, self._write)
        self._keepers[service.name] = keeper
        await keeper.start()
        if self._on_ready is not None:
            self._on_ready(service.name, service.address)

    async def _run(self, job: Job) -> None:
        output = self.log_file(job.name)
        code = await run(job.argv, output, env=job.env, lifeline=self._lifeline)
        if code != 0:
            message = f"{job.name} failed with code {code} ({output}): {last_line(output)}"
            raise Unavailable(message)

    def publish(self, facts: Mapping[str, Any]) -> None:
        """Write `facts` and the process ids to ``stack.json``, again whenever a process id changes."""
        self._facts = dict(facts)
        self._write()

    def _write(self) -> None:
        if self._facts is None:
            return
        text = json.dumps(self._facts | {"supervisor": os.getpid(), "pids": self.pids}, indent=1)
        fresh = self.stack_file.with_suffix(".tmp")
        fresh.write_text(text)
        fresh.replace(self.stack_file)

    async def restart(self, role: str) -> None:
        """Stop a service, or one after another all of a role, and wait until it is ready again.

        Raises `KeyError` where none has that name, `Unavailable` where it does not get ready.
        """
        names = self._of(role)
        if not names:
            raise KeyError(role)
        for name in names:
            await self._keepers[name].restart(RESTART_S)

    async def hold(self, name: str, seconds: float) -> None:
        """Stop a service, killed past `seconds` (0: at once), and leave it so. Raises `KeyError`."""
        await self._keepers[name].hold(seconds)

    async def release(self, name: str) -> None:
        """Start a service that was held; it is not waited for. Raises `KeyError`."""
        await self._keepers[name].release()

    def _of(self, role: str) -> list[str]:
        return [name for name in self._keepers if role in {name, name.rpartition("-")[0]}]

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_S)
            for keeper in self._keepers.values():
                keeper.rotate()

    async def close(self) -> None:
        """Stop all services, stage by stage, each killed where it is late; then give the directory back."""
        if self._owner is None:  # the directory is not ours
            return
        self._closing = True
        self._facts = None
        self.stack_file.unlink(missing_ok=True)
        if self._rotation is not None:
            self._rotation.cancel()
            with suppress(asyncio.CancelledError):
                await self._rotation
        clock = asyncio.get_running_loop().time
        begun = clock()
        listed = [(self._of(role), due) for role, due in self._stages]
        others = [name for name in self._keepers if not any(name in names for names, _ in listed)]
        for names, due in [(others, 1.0), *listed]:
            left = max(0.1, begun + min(due, STOP_S) - clock())
            await asyncio.gather(*(self._keepers[name].stop(left) for name in names))
        self._keepers.clear()
        self._owner = None
        await self._exits.aclose()
