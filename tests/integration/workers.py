"""Workers as real processes on a real broker, and what came of it in the form in which the reference has it.

Rule: nothing sleeps; what is waited for is asked again until a deadline. Final rows are read from the output topics
with read_committed, as a sink would.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Self

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.local.ports import free_port
from deploy.local.process import Child, Lifeline
from schemas.events import TOPIC_OF
from schemas.kafka_clients import stop_consumer
from schemas.settings import Settings
from schemas.topics import INPUTS, OUTPUTS
from streams.cli.topics import create_topics
from streams.core.ids import partition_of
from tests.reference.cluster import Cluster, Written, key_of
from tests.reference.crowds import Crowd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

PARTITIONS = 4
NAMES = ("visitor_id", "event_id", "order_id", "conversion_event_id", "touch_event_id")


def crowd_events(crowds: int, size: int) -> list[dict]:
    """Events of many dense little crowds; each has visitors, orders and event ids of its own."""
    return [
        event | {name: f"{event[name]}~{seed}" for name in NAMES if name in event}
        for seed in range(crowds)
        for event in Crowd(seed, size).events
    ]


class Worker:
    """One worker process; `state` is its directory, which outlives it."""

    def __init__(self, kafka: str, directory: Path, name: str = "a", **settings: object) -> None:
        self.port = free_port()
        self.directory = directory / name
        values = {
            "kafka": kafka,
            "partitions": PARTITIONS,
            "data_dir": self.directory,
            "worker_metrics_port": self.port,
            "worker_batch_events": 40,
        } | settings
        environment = os.environ | {f"HEADWATER_{key.upper()}": str(value) for key, value in values.items()}
        self.log = directory / f"{name}.log"
        self._lifeline = Lifeline()
        command = [sys.executable, "-m", "streams.cli.main", "worker"]
        self._child = Child(command, self.log, env=environment, lifeline=self._lifeline)

    async def __aenter__(self) -> Self:
        await self._lifeline.__aenter__()  # a test run that is killed leaves no worker behind
        await self._child.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.pid is not None:
            os.kill(self.pid, signal.SIGCONT)
        await self._child.stop(15)
        await self._lifeline.__aexit__(None, None, None)

    @property
    def pid(self) -> int | None:
        return self._child.pid

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def kill(self) -> None:
        self._child.kill()
        await self._child.wait()

    async def start(self) -> None:
        await self._child.start()

    async def stop(self, seconds: float = 10.0) -> float:
        """SIGTERM; the seconds it took. It must end by itself, with status 0."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(seconds):
            code = await self._child.wait()
        assert code == 0, self.log.read_text()[-2000:]
        return time.monotonic() - began

    async def exit_code(self, seconds: float) -> int:
        async with asyncio.timeout(seconds):
            return await self._child.wait()

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    async def readiness(self) -> tuple[int, str]:
        return await asyncio.to_thread(self._get, "/readyz")

    async def ready(self, seconds: float = 30.0) -> None:
        async def is_ready() -> bool:
            assert self.pid is not None, self.log.read_text()[-3000:]
            return (await self.readiness())[0] == 200

        await until(is_ready, seconds, lambda: self.log.read_text()[-3000:])

    async def metrics(self) -> dict[str, float]:
        """Samples by name with labels, as Prometheus' text has them."""
        _, text = await asyncio.to_thread(self._get, "/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    def events(self, name: str) -> list[dict]:
        """Lines of the log with this event name."""
        text = self.log.read_text() if self.log.exists() else ""
        # Two threads that log at once may share a line.
        lines = re.findall(r'\{[^{}]*"event": ?"' + name + r'"[^{}]*\}', text)
        return [json.loads(line) for line in lines]


async def until(condition: Callable, seconds: float, why: Callable[[], str] = str) -> None:
    """Ask until it is true; fails past the deadline."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition.__qualname__}: {why()}"
        await asyncio.sleep(0.05)


class Bench:
    """The broker's side: topics, producing, how far the group is, and all outputs."""

    def __init__(self, address: str, app: str = "headwater") -> None:
        self.address = address
        self.inputs = [TopicPartition(topic, place) for topic in INPUTS for place in range(PARTITIONS)]
        self._group = app
        self._last: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        await create_topics(Settings(kafka=self.address, partitions=PARTITIONS))
        self.producer = AIOKafkaProducer(bootstrap_servers=self.address, max_request_size=2_000_000, acks="all")
        self._inputs = AIOKafkaConsumer(
            bootstrap_servers=self.address, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        self._committed = AIOKafkaConsumer(
            bootstrap_servers=self.address, group_id=self._group, enable_auto_commit=False
        )
        self.admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        for client in (self.producer, self._inputs, self._committed, self.admin):
            await client.start()
        self._inputs.assign(self.inputs)
        self._committed.assign(self.inputs)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.producer.stop()
        for consumer in (self._inputs, self._committed):
            await stop_consumer(consumer)
        await self.admin.close()

    async def send(self, events: Iterable[dict | tuple], *, astray: int = 9) -> None:
        """Produce events, every `astray`-th to a wrong partition; a tuple is (topic, partition, bytes)."""
        for number, event in enumerate(events):
            if isinstance(event, tuple):
                await self.producer.send(event[0], event[2], key=b"k", partition=event[1])
                continue
            key = key_of(event)
            place = (partition_of(key, PARTITIONS) + (number % astray == 0)) % PARTITIONS
            topic = TOPIC_OF[event.get("type", "cost")]
            await self.producer.send(topic, orjson.dumps(event), key=key.encode(), partition=place)
        await self.producer.flush()

    async def committed(self) -> dict[TopicPartition, int]:
        """How far the group has committed; -1 where nothing."""
        found = await asyncio.gather(*(self._committed.committed(tp) for tp in self.inputs))
        return {tp: -1 if offset is None else offset for tp, offset in zip(self.inputs, found, strict=True)}

    async def done_events(self) -> int:
        """About how many records of `clicks` and `conversions` are done."""
        return sum(n for tp, n in (await self.committed()).items() if n > 0 and tp.topic != "orders-by-visitor")

    async def _read_inputs(self) -> None:
        while found := await self._inputs.getmany(timeout_ms=20):
            for tp, records in found.items():
                self._last[tp] = records[-1].offset

    async def caught_up(self) -> bool:
        """Whether every input record, moved ones and orders on their way included, is done."""
        committed = await self.committed()
        await self._read_inputs()
        ends = await self._inputs.end_offsets(self.inputs)
        for tp in self.inputs:
            if await self._inputs.position(tp) < ends[tp]:
                return False
        return all(committed[tp] > last for tp, last in self._last.items())

    async def finish(self, seconds: float, *workers: Worker) -> None:
        """Wait until all is done."""

        def why() -> str:
            return "\n".join(worker.log.read_text()[-3000:] for worker in workers)

        await until(self.caught_up, seconds, why)

    async def outputs(self, topics: Iterable[str] = OUTPUTS) -> dict[tuple[str, int], list]:
        """All committed records of the output topics, by topic and partition."""
        tps = [TopicPartition(topic, place) for topic in topics for place in range(PARTITIONS)]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.address,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=16 << 20,
        )
        await consumer.start()
        try:
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
            found: dict[tuple[str, int], list] = {}
            for tp in tps:
                while await consumer.position(tp) < ends[tp]:
                    for records in (await consumer.getmany(tp, timeout_ms=200)).values():
                        found.setdefault((tp.topic, tp.partition), []).extend(records)
            return found
        finally:
            await consumer.stop()

    async def cluster(self, registry) -> Cluster:
        """The outputs in the shape that `tests.reference.compare.assert_same` takes."""
        cluster = Cluster(registry, PARTITIONS, chaos=False)
        for place, records in (await self.outputs()).items():
            cluster.logs[place] = [Written(r.key, r.value, list(r.headers), r.timestamp) for r in records]
        return cluster

    async def truncate(self, topic: str, partition: int, before: int) -> None:
        """Delete a partition's records below an offset."""
        tp = TopicPartition(topic, partition)
        await self.admin.delete_records({tp: RecordsToDelete(before)}, timeout_ms=10_000)


def dead_letters(cluster: Cluster) -> Iterator[tuple[bytes, dict[str, str]]]:
    """(original bytes, headers) of all dead letters."""
    for (topic, _), outputs in cluster.logs.items():
        if topic == "dead-letters":
            for output in outputs:
                yield output.value, {name: value.decode() for name, value in output.headers}


def assert_once(cluster: Cluster) -> None:
    """No source record was refused twice (that none counts twice, the comparison of panes shows)."""
    places = Counter((h["topic"], h["partition"], h["offset"]) for _, h in dead_letters(cluster))
    assert max(places.values(), default=1) == 1
