"""Kafka: a real Apache Kafka node (KRaft: broker and controller in one process) in a directory of its own.

Rule: everything a node knows is in its directory, and its ports are the same after a restart where they are free; so
clients that were connected find it again, and nothing is lost by a stop or a kill.

`python -m deploy.local.kafka --fetch` fetches the jars, `--train` makes the start-up cache, `--dir DIR` runs a node.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import shutil
import signal
import sys
import tempfile
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deploy.local import java
from deploy.local.ports import HOST, assign
from deploy.local.probe import kafka_answers, until
from deploy.local.process import Child, Lifeline, last_line
from schemas.errors import HeadwaterError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

START_S = 60.0
STOP_S = 10.0
HEAP_MB = 1024
TRAINING_S = 60.0
"""Time that a stopping node may take to write the start-up cache."""

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}{behind}
advertised.listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}{through}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
offsets.retention.minutes=43200
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=33554432
"""
"""8 MiB: the largest record of any topic of ours; 30 d of offsets, as in production; a small cleaner buffer.

One node is the whole cluster, so every internal topic has one replica, and a node that was killed cannot register again
before its former session has run out (default 9 s).
"""

_MEMORY = ("-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError")
"""The live heap is small: the serial collector takes a fifth less CPU and a quarter less memory than G1 here."""
_COMPILER = ("-XX:TieredStopAtLevel=1",)
"""By the quick compiler alone: the other one competes for minutes with all that runs beside a node, on a machine with
few cores. Under 5,000 events a second they were on view after half the time, and a worker was as fast."""

_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.showThreadName=false",
)


class Node:
    """One Kafka node: `async with Node(directory) as node: ... node.address`."""

    def __init__(
        self, directory: Path, *, heap_mb: int = HEAP_MB, log: Path | None = None, through: int | None = None
    ) -> None:
        """`directory` is made where it is missing; `log` takes the broker's output (default: inside of it).

        `through`: the port of a proxy. Who comes to the listener on port `behind` is told to come back through it.
        """
        self._directory = directory.resolve()
        self._heap_mb = heap_mb
        self._through = through
        self._stack = AsyncExitStack()
        self._child: Child | None = None
        self.log = log or self._directory / "kafka.log"
        self.port = 0
        self.behind = 0

    @property
    def address(self) -> str:
        """Host and port for clients' `bootstrap_servers`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return self._child.pid if self._child is not None else None

    async def answers(self) -> bool:
        """Whether it processes requests now."""
        return await kafka_answers(HOST, self.port)

    async def prepare(self, *flags: str) -> tuple[str, ...]:
        """Fetch the jars, choose ports, write the configuration and format the storage; what of it is not done yet.

        Returns the command that runs the broker, with `flags` for Java. Raises `Unavailable`.
        """
        path = await asyncio.to_thread(java.classpath)
        self._directory.mkdir(parents=True, exist_ok=True)
        kept = self._directory / "ports.json"
        names = ("broker", "controller") if self._through is None else ("broker", "controller", "behind")
        ports = assign(names, json.loads(kept.read_text()) if kept.is_file() else {})
        kept.write_text(json.dumps(ports))
        self.port = ports["broker"]
        self.behind = ports.get("behind", 0)
        listeners = {"behind": self.behind, "through": self._through}
        more = {name: f",PROXIED://{HOST}:{port}" if port else "" for name, port in listeners.items()}
        data = self._directory / "data"
        properties = self._directory / "server.properties"
        properties.write_text(PROPERTIES.format(**{**ports, **more}, host=HOST, data=data))
        formatted = self._directory / "cluster.id"
        if not formatted.is_file():
            shutil.rmtree(data, ignore_errors=True)
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
            await self._format(path, properties, cluster)
            formatted.write_text(cluster)
        return (
            java.java(),
            f"-Xms{min(self._heap_mb, 256)}m",
            f"-Xmx{self._heap_mb}m",
            *_MEMORY,
            *_COMPILER,
            *_LOGGING,
            *(flags or java.cache_flags()),
            "-cp",
            path,
            "kafka.Kafka",
            str(properties),
        )

    async def _format(self, path: str, properties: Path, cluster: str) -> None:
        flags = (*_MEMORY, *_COMPILER, *java.cache_flags(), "-cp", path, "kafka.tools.StorageTool")
        command = (java.java(), *flags, "format", "--standalone", "-t", cluster, "-c", str(properties))
        child = Child(command, self.log)
        await child.start()
        try:
            code = await child.wait()
        finally:
            child.kill()
        if code != 0:
            message = f"Kafka's storage in {self._directory} cannot be formatted: {last_line(self.log)}"
            raise Unavailable(message)

    async def start(self, *flags: str) -> None:
        """Start it and wait until it answers. Raises `Unavailable` where it does not within a minute."""
        command = await self.prepare(*flags)
        lifeline = await self._stack.enter_async_context(Lifeline())
        self._child = Child(command, self.log, lifeline=lifeline)
        await self._child.start()
        if not await until(self._settled, START_S) or self.pid is None:
            await self.stop()
            message = f"Kafka does not start: {last_line(self.log)}"
            raise Unavailable(message)

    async def _settled(self) -> bool:
        return self.pid is None or await self.answers()

    async def stop(self, seconds: float = STOP_S) -> None:
        """Stop it in order, or kill it past `seconds` (0: at once); what it has acknowledged is kept either way."""
        if self._child is not None:
            await self._child.stop(seconds)
            self._child = None
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop it."""
        await self.stop()


async def train() -> None:
    """Make the start-up cache: run a node once and let Java write down what it loaded (about 12 s)."""
    cache = java.start_cache()
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        fresh = Path(directory) / "kafka.aot"
        node = Node(Path(directory) / "node")
        await node.start(f"-XX:AOTCacheOutput={fresh}")
        await node.stop(TRAINING_S)
        if fresh.is_file():
            shutil.move(fresh, cache)


async def serve(directory: Path) -> None:
    """Run a node in `directory` until SIGINT or SIGTERM; its address is printed when it answers."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with Node(directory) as node:
        print(node.address, flush=True)
        await ended.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch, train or serve, as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.kafka", description=__doc__)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--fetch", action="store_true", help="fetch Kafka's jars")
    task.add_argument("--train", action="store_true", help="make the start-up cache")
    task.add_argument("--dir", type=Path, help="run a node with its data in DIR")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.fetch:
            java.classpath()
        else:
            asyncio.run(train() if chosen.train else serve(chosen.dir))
    except HeadwaterError as error:
        sys.exit(f"kafka: {error}")


if __name__ == "__main__":
    main()
