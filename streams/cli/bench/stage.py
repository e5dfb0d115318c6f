"""The stage of a benchmark: a Kafka of its own in a directory of its own, and the programs under measurement.

Rule: what is measured is the production program as a whole process, started by its command and watched from outside:
processor time and memory as the system accounts them, progress as its own metrics tell it. Everything ends with the
stage.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

from deploy.local.kafka import Node
from deploy.local.ports import HOST, free_port
from deploy.local.process import Child, Lifeline, last_line
from deploy.local.stack import ENGINE, HEADWATER, environment
from schemas.errors import Unavailable
from schemas.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from streams.simulator.load import AdEvents, Load

PARTITIONS: Final = 4
DEADLINE_S: Final = 900.0
"""Longest that anything is waited for."""
POLL_S: Final = 0.04
_STOP_S: Final = 15.0


class Sample(NamedTuple):
    """What a process had used and done at a moment: seconds (monotonic), seconds of CPU, bytes, and how much done."""

    at: float
    cpu: float
    memory: int
    done: float


class Role:
    """One process under measurement: `async with stage.role("worker") as worker: ...`."""

    def __init__(self, child: Child, port: int) -> None:
        self._child = child
        self._process: Any = None
        self.port = port
        self.started = 0.0
        self.samples: list[Sample] = []

    async def __aenter__(self) -> Self:
        """Start it."""
        import psutil

        self.started = time.monotonic()
        await self._child.start()
        self._process = psutil.Process(self._child.pid)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop it, in order."""
        await self._child.stop(_STOP_S)

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid)

    @property
    def log(self) -> Path:
        """Its output."""
        return self._child.log

    def sample(self, done: float | None = None) -> Sample:
        """Look at it now; `done` as before where it is not stated. Raises `Unavailable` where it has ended."""
        if self._child.pid is None:
            raise Unavailable(f"{self.log.stem} ended: {why(self.log)}")
        times = self._process.cpu_times()
        if done is None:
            done = self.samples[-1].done if self.samples else 0.0
        found = Sample(time.monotonic(), times.user + times.system, self._process.memory_info().rss, done)
        self.samples.append(found)
        return found

    async def until_ready(self, path: str = "/readyz") -> Sample:
        """Wait until it says that it is ready."""
        from deploy.local.probe import http_ok

        deadline = time.monotonic() + DEADLINE_S
        while not await http_ok(HOST, self.port, path):
            self.sample()
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.log.stem} does not get ready: {why(self.log)}")
            await asyncio.sleep(POLL_S / 2)
        return self.sample()


@dataclass(slots=True)
class Stage:
    """A running Kafka with headwater's topics; `settings` point to it."""

    settings: Settings
    node: Node
    lifeline: Lifeline
    end_ms: int
    """Up to when the events of the load happened."""

    @property
    def directory(self) -> Path:
        """Where all data of the stage is."""
        return self.settings.data_dir

    def role(self, name: str, *, label: str = "", **variables: str) -> Role:
        """A role of headwater as a process; `variables` are settings in lower case."""
        port = free_port()
        fields = {"collector": "collector_port", "worker": "worker_metrics_port", "sink": "sink_metrics_port"}
        return self.program((*HEADWATER, name), label or name, port, {fields[name]: str(port), **variables})

    def program(
        self, argv: tuple[str, ...], label: str, port: int = 0, variables: Mapping[str, str] | None = None
    ) -> Role:
        """Any program as a process of the stage, with the stage's settings in its environment."""
        env = environment(self.settings, os.environ)
        env |= {f"HEADWATER_{name.upper()}": value for name, value in (variables or {}).items()}
        return Role(Child(argv, self.directory / "logs" / f"{label}.log", env=env, lifeline=self.lifeline), port)

    def engine(self) -> Role:
        """ClickHouse's engine, empty."""
        port = free_port()
        path = str(self.directory / "clickhouse")
        return self.program((*ENGINE, "--path", path, "--port", str(port)), "clickhouse", port)

    async def run(self, *argv: str, label: str) -> str:
        """Run a Python module of ours to its end and return its last line. Raises `Unavailable` where it fails."""
        role = self.program((sys.executable, "-m", *argv), label)
        async with role:
            code = await role._child.wait()  # noqa: SLF001 - of this module
        line = last_line(role.log)
        if code != 0:
            raise Unavailable(f"{label} failed: {line}")
        return line


@asynccontextmanager
async def open_stage(load: Load | AdEvents | None = None) -> AsyncIterator[Stage]:
    """A fresh stage; `load` lies in its input topics before anything is started."""
    from streams.cli.topics import create_topics
    from streams.simulator.load import produce

    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headwater-bench-")))
        node = await stack.enter_async_context(Node(directory / "kafka"))
        lifeline = await stack.enter_async_context(Lifeline())
        settings = Settings(kafka=node.address, partitions=PARTITIONS, data_dir=directory, log_level="INFO")
        await create_topics(settings)
        end_ms = int(time.time() * 1000)
        if load is not None:
            await produce(settings, load, end_ms)
        yield Stage(settings, node, lifeline, end_ms)


def why(log: Path) -> str:
    """What a program's log says last; of a line of JSON the event and the error."""
    line = last_line(log)
    try:
        found = json.loads(line)
        errors = [f"{error['exc_type']}: {error['exc_value']}" for error in found.get("exception", ())]
        return ": ".join([found["event"], *errors[-1:]])
    except (ValueError, LookupError, TypeError, AttributeError):
        return line


class Progress(Protocol):
    """Where the counters of what is measured are read."""

    async def read(self) -> dict[str, float]:
        """Series -> value."""


class Counters:
    """The counters of a process, read from its ``/metrics``; one connection, kept open."""

    def __init__(self, port: int, *names: str) -> None:
        query = "&".join(f"name[]={name}" for name in names)
        self._url = f"http://{HOST}:{port}/metrics?{query}"
        self._session: Any = None

    async def __aenter__(self) -> Self:
        """Open."""
        import aiohttp

        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close."""
        await self._session.close()

    async def read(self) -> dict[str, float]:
        """Series (name and labels) -> value; empty where the process does not answer yet."""
        import aiohttp

        try:
            async with self._session.get(self._url) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError):
            return {}
        series = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in series}


async def follow(role: Role, counters: Progress, done: Callable[[dict[str, float]], float], target: float) -> None:
    """Sample `role` until `done` of its counters reaches `target`. Raises `Unavailable` where it takes too long."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        found = done(await counters.read())
        role.sample(found)
        if found >= target:
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"{role.log.stem} did not get through in {DEADLINE_S:.0f} s ({found:,.0f} done)")
        await asyncio.sleep(POLL_S)
