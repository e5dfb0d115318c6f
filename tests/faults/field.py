"""The field: a local stack with its proxies, what the faults have changed of it, and how it is doing.

Rule: whatever is stopped here is started again by the same fault, unless it is a worker that has left; and whoever asks
gets to know which process is in the way.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

import aiohttp
import psutil
from pydantic import SecretStr

from deploy.local.ports import HOST
from deploy.local.probe import http_ok, kafka_answers, until
from deploy.local.process import last_line
from deploy.local.stack import LocalStack
from schemas.settings import Settings
from tests.faults.check import Deleted
from tests.faults.observed import Observed
from tests.faults.proxy import Door, Proxy
from tests.faults.routes import COLLECTOR
from tests.reference.events import KEYS

PARTITIONS = 4
READY_S = 60.0
_EVENT = re.compile(r'\{[^{}]*"event": ?"records_lost"[^{}]*\}')


@dataclass
class Field:
    """`async with Field(directory, workers=2, seed=1) as field`."""

    directory: Path
    workers: int
    seed: int
    deleted: Deleted = field(default_factory=Deleted)
    away: set[str] = field(default_factory=set)
    """Workers that have left."""
    copies: dict[str, Path] = field(default_factory=dict)
    """An older copy of a worker's state."""

    async def __aenter__(self) -> Self:
        self._resources = AsyncExitStack()
        self.proxy = await self._resources.enter_async_context(Proxy(lambda: self.stack.behind))
        self.door = await self._resources.enter_async_context(Door(lambda: self.stack.settings.clickhouse_port))
        self.stack = LocalStack(
            Settings(
                data_dir=self.directory / "stack",
                partitions=PARTITIONS,
                worker_batch_events=60,
                click_id_keys=SecretStr(",".join(f"{name}:{secret.decode()}" for name, secret in KEYS)),
            ),
            workers=self.workers,
            more={
                "worker": {"HEADWATER_KAFKA": f"{HOST}:{self.proxy.port}"},
                "collector": COLLECTOR,
                "sink": {"HEADWATER_CLICKHOUSE_PORT": str(self.door.port)},
            },
            through=self.proxy.port,
        )
        try:
            await self._resources.enter_async_context(self.stack)
        except BaseException:
            await self._resources.aclose()
            raise
        self.settings = self.stack.settings
        self.observed = Observed(self.settings.kafka, PARTITIONS)
        return self

    async def __aexit__(self, *error: object) -> None:
        for name in self.stack.pids:
            with suppress(ProcessLookupError):
                self.signal(name, signal.SIGCONT)
        await self._resources.aclose()

    @property
    def url(self) -> str:
        return f"http://{self.settings.collector_host}:{self.settings.collector_port}"

    @property
    def logs(self) -> Path:
        return self.directory / "stack" / "logs"

    @property
    def present(self) -> list[str]:
        """Workers that have not left."""
        return [name for number in range(self.workers) if (name := f"worker-{number + 1}") not in self.away]

    def some_worker(self, chance: random.Random) -> str:
        return chance.choice(self.present)

    def state(self, worker: str) -> Path:
        """Where a worker keeps its stores."""
        return self.settings.state_dir / worker

    def owner(self, port: int) -> str:
        """The worker that has a connection from `port`, else one that is there."""
        for name in self.present:
            with suppress(psutil.Error, KeyError):
                connections = psutil.Process(self.stack.pids[name]).net_connections("tcp")
                if any(connection.laddr.port == port for connection in connections):
                    return name
        return self.present[0]

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Send a signal to a service's process group; whether it runs."""
        pid = self.stack.pids.get(name)
        if pid is None:
            return False
        os.killpg(pid, number)
        return True

    async def kill(self, name: str, down: float = 0.0, *, orderly: bool = False) -> None:
        """SIGKILL, or SIGTERM where it is `orderly`; started again after `down` seconds."""
        await self.stack.hold(name, 10.0 if orderly else 0.0)
        await asyncio.sleep(down)
        await self.stack.release(name)

    async def stop_and_continue(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        self.signal(name, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.signal(name, signal.SIGCONT)

    async def kafka_ready(self, seconds: float = READY_S) -> None:
        host, port = self.settings.kafka.split(":")
        assert await until(partial(kafka_answers, host, int(port)), seconds), "Kafka does not answer"

    async def unready(self) -> list[str]:
        """Services that should be ready and are not."""
        host, port = self.settings.kafka.split(":")
        found = [] if await kafka_answers(host, int(port)) else ["kafka"]
        ports = json.loads((self.directory / "stack" / "local.json").read_text())["ports"]
        for name, http in ports.items():
            path = "/ping" if name == "clickhouse" else "/readyz"
            if name not in self.away and not await http_ok(HOST, http, path):
                found.append(name)
        return found

    async def spooled(self) -> int:
        """Events that the collector has acknowledged and Kafka does not have yet."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as answer:
            text = await answer.text()
        found = re.search(r"^headwater_collector_spooled_events(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE)
        return int(float(found[1])) if found else 0

    def records_lost(self) -> set[tuple[str, int, int, int]]:
        """(topic, partition, log start, how many) of every loss that a worker has reported."""
        found = set()
        for file in self.logs.glob("worker-*.log*"):
            for line in _EVENT.findall(file.read_text(errors="replace")):
                said = json.loads(line)
                found.add((said["topic"], said["partition"], said["log_start"], said["lost"]))
        return found

    async def diagnosis(self) -> str:
        """Which process is in the way: what is not ready, how each is doing, and its last line."""
        lines = [f"not ready: {', '.join(await self.unready()) or 'nothing'}"]
        with suppress(Exception):
            async with asyncio.timeout(15):
                lines.append(f"behind: {await self.observed.behind() or 'nothing'}")
        for name, pid in sorted(self.stack.pids.items()):
            state = "?"
            with suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            lines.append(f"{name} ({pid}, {state}): {last_line(self.logs / f'{name}.log')[:300]}")
        lines += await self._stacks()
        return "\n".join(lines)

    async def _stacks(self) -> list[str]:
        """Where each Python process of ours stands, written beside the logs."""
        told = []
        for name, pid in self.stack.pids.items():
            if name == "kafka":
                continue
            with suppress(OSError, TimeoutError):
                process = await asyncio.create_subprocess_exec(
                    str(Path(sys.executable).with_name("py-spy")),
                    *("dump", "--pid", str(pid)),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )
                async with asyncio.timeout(20):
                    output, _ = await process.communicate()
                file = self.logs / f"{name}.stacks-{int(time.time())}.txt"
                file.write_bytes(output)
                told.append(f"stacks of {name}: {file}")
        return told
