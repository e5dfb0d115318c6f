"""A unit through all that can happen to it: Hypothesis drives the real one against a Kafka in memory.

Rule: after every step, what was committed is exactly what `apply` makes of each input record, once (the Kafka in memory
checks each transaction); an open unit's store is what was committed, and it stands where the group stands; a unit that
is not open holds no partition; a closed one leaves no task and no lock behind.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path

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

from schemas.registry import CampaignEntry
from streams.worker.flow import LARGE_BATCH, Batch
from streams.worker.life import MOVES, State, move
from tests.reference.shop import SITE
from tests.worker.fake_kafka import at
from tests.worker.unit_bench import MEMORY, TOPICS, Bench, Quick

FAULTS = ("abort", "fence", "time-out", "unknown", "late")
"""What a transaction meets: known failures, another owner, no answer; and an answer lost after it was committed."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """A Kafka in memory answers at once, and who waits for it waits for milliseconds."""
    with Quick(monkeypatch):
        yield


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

    @rule(
        topics=st.permutations([*TOPICS, "orders-by-visitor"]),
        most=st.integers(1, 6),
        fault=st.sampled_from(["", *FAULTS]),
        cancelled=st.sampled_from([None, 0, 1, 2]),
        steps=st.integers(0, 12),
    )
    def batches_come_together(self, topics, most, fault, cancelled, steps):
        """They share a transaction, or none is done with; one may be given up while it waits, or in mid-batch."""

        async def together():
            tasks = [asyncio.create_task(self.bench.work(topic, most)) for topic in topics]
            self.bench.kafka.fault = fault
            if cancelled is not None:
                for _ in range(steps):
                    await asyncio.sleep(0)
                tasks[cancelled].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.bench.kafka.fault = ""
            await self.bench.settle()

        self.run(together())

    @rule(topic=st.sampled_from(TOPICS), fault=st.sampled_from(FAULTS), at_once=st.booleans())
    def a_batch_fails(self, topic, fault, at_once):
        async def fail():
            self.bench.write(topic, 2)
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
            self.bench.write(topic, 2)
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
            self.bench.write(topic, 4)
            await self.bench.work(topic, 2)
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

    @rule(other=st.integers(0, 3), meanwhile=st.integers(0, 2), state=st.sampled_from(["kept", "deleted", "older"]))
    def lost_and_given_back(self, other, meanwhile, state):
        """Others had it, one of them up to the moment at which its successor fences it."""

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
            self.bench.kafka.meanwhile = meanwhile
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
            await self.bench.unit.upkeep.review()
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


def test_a_unit_moves_only_as_the_table_says():
    """Every state can be left for the end; nothing else skips a step."""
    for before in State:
        for after in State:
            if after in MOVES[before]:
                assert move(before, after) is after
            else:
                with pytest.raises(AssertionError, match=f"from {before} to {after}"):
                    move(before, after)
    assert all(State.CLOSING in MOVES[state] for state in State if state is not State.CLOSING)


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("count", [2, LARGE_BATCH + 1])
def test_a_batch_that_is_given_up_is_fetched_again(steps, count):
    """While it waits for its turn or later, be it small or large; nothing has to come after it."""
    life = Life()
    life.begin()
    life.events_come("clicks", count, again=False, marker=False)

    async def give_up():
        async with life.bench.unit._lock if steps % 2 else nullcontext():
            task = asyncio.create_task(life.bench.work("clicks", count))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    life.run(give_up())
    life.teardown()


def test_whatever_happens_each_record_counts_once():
    """In any order, of any length."""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
