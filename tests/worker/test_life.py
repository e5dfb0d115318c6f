"""A unit through all that can happen to it: Hypothesis drives the real one against a Kafka in memory.

Rule: after every step, what was committed is exactly what `apply` makes of each input record, once (the Kafka in memory
checks each transaction); an open unit's store is what was committed, and it stands where the group stands; a unit that
is not open holds no partition; a closed one leaves no task and no lock behind.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from schemas.errors import StateError
from schemas.registry import CampaignEntry
from schemas.settings import Settings
from schemas.topics import INPUTS
from streams.core.review import traces
from streams.worker import restore, transaction
from streams.worker import unit as module
from streams.worker.driver import Batch, Flow
from streams.worker.life import State
from streams.worker.store import Store, open_store
from streams.worker.unit import Unit
from tests.reference.shop import SITE, T0, click, purchase
from tests.worker.fake_kafka import PARTITION, Consumer, Kafka, Producer, at

TOPICS = ("clicks", "conversions")
FAULTS = ("abort", "fence", "time-out", "unknown", "late")
"""What a transaction meets: known failures, another owner, no answer; and an answer lost after it was committed."""
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A store that is opened some thousand times is not to wait for a disk."""
SOON_S = 20.0


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
        self.flow = Flow()
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
            cluster_id="c",
            flow=self.flow,
            registry=self.feed,
            confirm=confirm,
            log_range=log_range,
            turns=asyncio.Semaphore(2),
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
        self.flow.taken(tp, course, after)
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

    def check(self):
        """The invariants."""
        assert self.kafka.broken == []
        unit = self.unit
        if unit.state is State.OPEN:
            for topic in TOPICS:
                assert self.kafka.committed.get(topic, 0) <= unit.positions[topic] <= self.kafka.position(topic)
            assert self.entries() == self.kafka.entries
        else:
            assert unit.store is None
            assert self.flow.seeks() == []

    def entries(self):
        """What the unit's store holds."""
        return dict(page for pages in self.unit.store.pages(b'"', b"\xff", 1_000) for page in pages)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """A Kafka in memory answers at once, and who waits for it waits for milliseconds."""
    with Quick(monkeypatch):
        yield


class Quick:
    """Real units on the Kafka in memory of whichever bench runs."""

    kafka = None

    def __init__(self, monkeypatch):
        self._patch = monkeypatch

    def __enter__(self):
        set_ = self._patch.setattr
        set_(restore, "AIOKafkaConsumer", lambda **_: Consumer(Quick.kafka))
        set_(restore, "return_batches", lambda _: None)
        set_(transaction, "AIOKafkaProducer", lambda **_: Producer(Quick.kafka))
        set_(transaction, "DEADLINE_S", 0.02)
        set_(module, "FIRST_PAUSE_S", 0.001)
        set_(module, "LONGEST_PAUSE_S", 0.002)
        set_(module, "open_store", self._open_store)

    def __exit__(self, *_):
        Quick.kafka = Quick.disk = None

    disk = None

    @staticmethod
    def _open_store(path):
        if Quick.disk is not None and Quick.disk():
            raise StateError(Quick.disk())
        return open_store(path)


class Life(RuleBasedStateMachine):
    """All that can happen, in any order."""

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=MEMORY))
        self.loop = asyncio.new_event_loop()
        self.bench = Bench(self.directory)
        Quick.kafka, Quick.disk = self.bench.kafka, lambda: self.bench.disk

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def begin(self):
        async def begin():
            self.bench.open()
            await self.bench.settle()

        self.run(begin())

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 4), again=st.booleans(), marker=st.booleans())
    def events_come(self, topic, count, again, marker):
        self.bench.write(topic, count, again=again, marker=marker)

    @rule(topic=st.sampled_from(TOPICS), most=st.integers(1, 6))
    def a_batch(self, topic, most):
        self.run(self.bench.work(topic, most))

    @rule(topic=st.sampled_from(TOPICS), fault=st.sampled_from(FAULTS), at_once=st.booleans())
    def a_batch_fails(self, topic, fault, at_once):
        async def fail():
            self.bench.kafka.fault = fault
            if await self.bench.work(topic, 4) and self.bench.kafka.fault != fault:
                assert self.bench.unit.state is State.FAILED
            self.bench.kafka.fault = ""
            if not at_once:
                await self.bench.settle()

        self.run(fail())

    @rule(topic=st.sampled_from(TOPICS), steps=st.integers(0, 12))
    def cancelled_in_mid_batch(self, topic, steps):
        async def cancel():
            task = asyncio.create_task(self.bench.work(topic, 4))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.bench.settle()

        self.run(cancel())

    @rule(topic=st.sampled_from(TOPICS), whence=st.integers(-3, 3))
    def a_batch_from_somewhere_else(self, topic, whence):
        """The consumer was moved behind the unit's back."""

        async def moved():
            unit = self.bench.unit
            log = self.bench.kafka.logs[topic]
            if unit.state is not State.OPEN or unit.positions[topic] < log.start:
                return
            position = unit.positions[topic]
            start = max(log.start, min(position + whence, log.end))
            records, after = log.read(start, 3)
            if records and start != position and log.read(position, 1)[1] != log.read(start, 1)[1]:
                before = self.bench.kafka.commits
                await unit.take(Batch(at(topic), records, start, after, unit._epochs[topic], log.end))
                assert self.bench.kafka.commits == before
                assert unit.positions[topic] == position
                assert any((tp, offset) == (at(topic), position) for tp, offset, _ in self.bench.flow.seeks())

        self.run(moved())

    @rule()
    def a_batch_from_before_a_seek(self):
        async def stale():
            old, before = self.bench.old_batch(), self.bench.kafka.commits
            if old is not None:
                self.bench.unit.rewind()
                await self.bench.unit.take(old)
                assert self.bench.kafka.commits == before

        self.run(stale())

    @rule()
    def the_group_rebalances_and_keeps_it(self):
        self.bench.unit.rewind()

    @rule(topic=st.sampled_from(TOPICS), lost=st.integers(1, 3))
    def kafka_deletes_records(self, topic, lost):
        log = self.bench.kafka.logs[topic]
        log.start = min(log.end, log.start + lost)

    @rule(other=st.integers(0, 3), state=st.sampled_from(["kept", "deleted", "older"]))
    def lost_and_given_back(self, other, state):
        async def move():
            await self.bench.close()
            saved = self.directory / "saved"
            if state == "deleted":
                shutil.rmtree(self.bench.state)
            elif state == "older" and saved.is_dir():
                shutil.rmtree(self.bench.state)
                shutil.copytree(saved, self.bench.state)
            elif not saved.is_dir():
                shutil.copytree(self.bench.state, saved)
            for _ in range(other):
                self.bench.kafka.step()
            self.bench.open()
            await self.bench.settle()

        self.run(move())

    @rule()
    def lost_while_it_opens(self):
        """It is closed at whatever it is doing."""

        async def move():
            await self.bench.close()
            self.bench.open()
            await asyncio.sleep(0)
            await self.bench.close()
            self.bench.open()
            await self.bench.settle()

        self.run(move())

    @rule(channel=st.sampled_from(["Audio", "SMS", "Email"]), fault=st.sampled_from(["", *FAULTS]))
    def the_registry_changes(self, channel, fault):
        async def change():
            self.bench.feed.write(CampaignEntry(campaign="spring", site=SITE, channel=channel))
            self.bench.kafka.fault = fault
            await self.bench.unit.review()
            self.bench.kafka.fault = ""
            await self.bench.settle()

        self.run(change())

    @rule(topic=st.sampled_from(TOPICS))
    def kafka_goes_away_and_comes_back(self, topic):
        async def away():
            self.bench.kafka.away = True
            await self.bench.work(topic, 4)
            await asyncio.sleep(0.005)
            self.bench.check()
            self.bench.kafka.away = False
            await self.bench.settle()

        self.run(away())

    @precondition(lambda self: self.bench.unit is not None)
    @rule(kind=st.sampled_from(["disk", "group"]))
    def it_cannot_open_for_a_while(self, kind):
        """The disk is full, or the group does not confirm that the partition is ours."""

        async def wait():
            self.bench.disk = "no space left" * (kind == "disk")
            self.bench.ours = kind != "group"
            self.bench.kafka.fault = "abort"
            failed = await self.bench.work("clicks", 4) and self.bench.unit.state is State.FAILED
            self.bench.kafka.fault = ""
            await asyncio.sleep(0.005)
            if failed:
                assert self.bench.unit.state in {State.FAILED, State.OPENING}
                assert self.bench.unit.trouble.text
            self.bench.disk, self.bench.ours = "", True
            await self.bench.settle()
            assert not self.bench.unit.trouble.text

        self.run(wait())

    @invariant()
    def all_is_well(self):
        if self.bench.unit is not None:
            self.bench.check()

    def teardown(self):
        try:
            if self.bench.unit is not None:
                self.run(self.bench.catch_up())
                self.bench.check()
                self.run(self.bench.close())
        finally:
            self.loop.close()
            shutil.rmtree(self.directory)


def test_whatever_happens_each_record_counts_once():
    """In any order, of any length."""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
