"""Processes: a child in a session of its own, its output in a log file, its end certain.

Rule: what a child started ends with it: the whole process group is ended, and a `Lifeline` ends it even where this
process is killed. Ctrl-C reaches only the supervisor, which ends the children in its own order.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from deploy.local import reaper

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOG_BYTES = 32 * 1024 * 1024
"""A log larger than this is moved to `NAME.log.1`, which it replaces."""


def rotate(log: Path, limit: int = LOG_BYTES) -> bool:
    """Copy `log` to `LOG.1` and empty it where it is larger than `limit` bytes; whether that was done.

    Its writer keeps its descriptor: it appends, so it goes on at the new end.
    """
    if not log.is_file() or log.stat().st_size <= limit:
        return False
    shutil.copyfile(log, log.with_name(log.name + ".1"))
    os.truncate(log, 0)
    return True


def last_line(log: Path) -> str:
    """The last line of `log` that says anything, for an error message; "" where there is none."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


class Lifeline:
    """A reaper process that ends the groups announced to it when this process is gone, however it went."""

    def __init__(self, *, remove: Sequence[Path] = (), hold: Sequence[int] = ()) -> None:
        """`remove`: files to remove after an end that was not orderly; `hold`: descriptors to keep open until then."""
        self._remove = remove
        self._hold = hold
        self._groups: set[int] = set()
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        """Start the reaper."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            reaper.__file__,
            *map(str, self._remove),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=self._hold,
            start_new_session=True,
        )
        for group in self._groups:
            self._tell("+", group)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Let the reaper go; it ends what was announced and not taken back."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()

    def _tell(self, sign: str, group: int) -> None:
        # No await: the line is in the pipe before this call returns, so nothing can end us in between.
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{sign}{group}\n".encode())

    async def announce(self, group: int) -> None:
        """End `group` when this process is gone; a reaper that died is replaced."""
        self._groups.add(group)
        if self._process is not None and self._process.returncode is not None:
            await self.__aenter__()
        else:
            self._tell("+", group)

    def take_back(self, group: int) -> None:
        """Forget `group`: it has ended."""
        self._groups.discard(group)
        self._tell("-", group)


class Child:
    """A program, started and stopped any number of times; its output is appended to `log`."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        lifeline: Lifeline | None = None,
    ) -> None:
        self._argv = tuple(argv)
        self._env = env
        self._lifeline = lifeline
        self._process: Process | None = None
        self.log = log

    @property
    def pid(self) -> int | None:
        """Its process id, which is its process group's too; None where it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it. Raises `OSError` where the program cannot be executed."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        rotate(self.log)
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._env,
                start_new_session=True,
            )
        if self._lifeline is not None:
            await self._lifeline.announce(self._process.pid)

    async def wait(self) -> int:
        """Wait for its end, end what it left behind, and return its code (negative: the signal that ended it)."""
        if self._process is None:
            return 0
        process = self._process
        code = await process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if self._lifeline is not None:
            self._lifeline.take_back(process.pid)
        return code

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        self._signal(signal.SIGKILL)

    async def stop(self, seconds: float) -> None:
        """SIGTERM, and after `seconds` SIGKILL to its whole group; returns when it is gone."""
        if self.pid is None:
            return
        if seconds > 0:
            # To the program alone: it ends its own children in its own order.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self.wait()
        except TimeoutError:
            self.kill()
            await self.wait()

    def _signal(self, number: int) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


async def run(argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, lifeline: Lifeline) -> int:
    """Run a program to its end and return its code; it is ended where the caller is cancelled."""
    child = Child(argv, log, env=env, lifeline=lifeline)
    await child.start()
    try:
        return await child.wait()
    finally:
        await child.stop(1.0)
