"""One real unit on a Kafka in memory, and the driver's side of the flow between them.

Rule: everything of the unit is real (store, restore, transactions, flow, core) but the clients of Kafka; what waits for
seconds waits for milliseconds. `Bench.check` are the invariants of a unit.
"""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path

import orjson

from schemas.errors import StateError
from schemas.settings import Settings
from schemas.topics import INPUTS
from streams.core.review import traces
from streams.worker import restore, transaction
from streams.worker import unit as module
from streams.worker.flow import Batch, Flow
from streams.worker.life import State
from streams.worker.store import Store, open_store
from streams.worker.unit import Unit
from tests.reference.marks import without_marks
from tests.reference.shop import T0, click, purchase
from tests.worker.fake_kafka import PARTITION, Consumer, Kafka, Producer, at, batches_of

TOPICS = ("clicks", "conversions")
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A store that is opened some thousand times is not to wait for a disk."""
SOON_S = 60.0


class Feed:
    """The registry, that somebody writes to."""

    def __init__(self, registry):
        self.registry = registry
        self.position = 0
        self.changed_ms = T0
        self._traces = []

    def write(self, entry):
        self.registry.put(entry)
        self._traces.append(traces(entry))
        self.position += 1

    def traces_since(self, position):
        return self._traces[position:]


class Bench:
    """One unit, the Kafka it works on, and the driver's side of the flow between them."""

    def __init__(self, directory):
        self.kafka = Kafka()
        self.feed = Feed(self.kafka.registry)
        self.settings = Settings(partitions=1, data_dir=directory)
        self.ours = True
        self.disk = ""
        self.unit = None
        self.flow = Flow(clock=lambda: inf)  # no partition rests
        self._fetched = {}
        self._old = []
        self._events = 0

    def open(self):
        """The group gives the partition to this worker."""

        async def confirm():
            return self.ours

        async def log_range(tp):
            self.kafka.answer()
            log = self.kafka.logs[tp.topic]
            return log.start, log.end

        self.unit = Unit(
            self.settings,
            PARTITION,
            flow=self.flow,
            registry=self.feed,
            confirm=confirm,
            log_range=log_range,
            turns=asyncio.Semaphore(2),
            incarnations=self.kafka.incarnations,
        )
        self.unit.start()

    async def settle(self):
        """Until the unit is open, or has said what is wrong."""
        async with asyncio.timeout(SOON_S):
            while self.unit.state is not State.OPEN:
                if self.unit.state is State.FAILED and (self.kafka.away or self.disk or not self.ours):
                    break
                await asyncio.sleep(0.001)

    async def close(self):
        """The partition is lost."""
        await self.unit.close()
        assert self.unit.state is State.CLOSED
        assert self.flow.seeks() == []
        assert all(self.flow.ready(at(topic)) is None for topic in INPUTS)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"
        store = Store(self.state)  # else its lock is held
        store.close()
        self.unit = None

    @property
    def state(self):
        return self.settings.state_dir / self.settings.app / str(PARTITION)

    def write(self, topic, count, *, again=False, marker=False):
        """Events come in; some once more."""
        log = self.kafka.logs[topic]
        for _ in range(count):
            self._events += not again
            name = f"{topic}{self._events}"
            make = click if topic == "clicks" else purchase
            extra = {"campaign": "spring"} if topic == "clicks" else {"order_id": name}
            log.append(orjson.dumps(make(name, T0 + 1000 * self._events, **extra)), b"v", T0)
        if marker:
            log.records.append(None)

    def fetch(self, topic, most):
        """What the driver would hand over next, by way of the real flow; None where there is nothing."""
        tp, log = at(topic), self.kafka.logs[topic]
        for wanted, offset, epoch in self.flow.seeks():
            if wanted == tp:
                self.flow.sought(tp, offset, epoch)
                self._fetched[topic] = offset
        course = self.flow.ready(tp)
        if course is None:
            return None
        position = max(self._fetched[topic], log.start)
        start = course.start if self._fetched[topic] == course.reached else self._fetched[topic]
        if position != self._fetched[topic]:
            start = position
        records, after = log.read(position, most)
        self._fetched[topic] = after
        if not records:
            self.flow.passed(tp, course, after)
            return None
        self.flow.taken(tp, course, after, records, 0)
        return Batch(tp, records, start, after, course.epoch, log.end)

    async def take(self, batch):
        """Hand a batch over, as an agent does."""
        self._old = [*self._old[-3:], batch]
        try:
            await self.unit.take(batch)
        finally:
            self.flow.done(at(batch.topic), batch.epoch)

    async def work(self, topic, most):
        """Fetch and take one batch; whether there was one."""
        batch = self.fetch(topic, most)
        if batch is not None:
            await self.take(batch)
        return batch is not None

    def old_batch(self):
        """One that was taken before."""
        return self._old[0] if self._old else None

    async def catch_up(self):
        """Take all there is."""
        async with asyncio.timeout(SOON_S):
            while any(self.kafka.logs[topic].read(self.kafka.position(topic), 1)[0] for topic in TOPICS):
                await self.settle()
                for topic in TOPICS:
                    await self.work(topic, 5)
                await asyncio.sleep(0)  # for the timeout, where nothing gets on

    def check(self):
        """The invariants."""
        assert not self.kafka.broken, self.kafka.broken
        unit = self.unit
        if unit.state is State.OPEN:
            for topic in TOPICS:
                assert self.kafka.committed.get(topic, 0) <= unit.positions[topic] <= self.kafka.position(topic)
            assert without_marks(self.entries()) == without_marks(self.kafka.entries)
        else:
            assert unit.store is None
            assert self.flow.seeks() == []

    def entries(self):
        """What the unit's store holds."""
        return dict(page for pages in self.unit.store.pages(b'"', b"\xff", 1_000) for page in pages)


class Quick:
    """Real units on the Kafka in memory of whichever bench runs."""

    kafka = None

    def __init__(self, monkeypatch):
        self._patch = monkeypatch

    def __enter__(self):
        set_ = self._patch.setattr
        set_(restore, "AIOKafkaConsumer", lambda **_: Consumer(Quick.kafka))
        set_(restore, "return_batches", lambda _: None)
        set_(transaction, "batches_of", batches_of)
        set_(transaction, "AIOKafkaProducer", lambda **_: Producer(Quick.kafka))
        set_(transaction, "DEADLINE_S", 0.02)
        set_(module, "FIRST_PAUSE_S", 0.001)
        set_(module, "LONGEST_PAUSE_S", 0.002)
        set_(module, "GATHER_S", 0)
        set_(module, "open_store", self._open_store)

    def __exit__(self, *_):
        Quick.kafka = Quick.disk = None

    disk = None

    @staticmethod
    def _open_store(path):
        if Quick.disk is not None and Quick.disk():
            raise StateError(Quick.disk())
        return open_store(path)
