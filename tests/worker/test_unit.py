"""What a unit does with a batch: compute, commit, index; and when it does not."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import orjson
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from prometheus_client import REGISTRY

from schemas.errors import CommitFailed
from schemas.registry import CampaignEntry
from schemas.settings import Settings
from streams.core import apply as core
from streams.core.outcome import Scope
from streams.core.registry import Registry
from streams.core.state import MemoryView
from streams.worker import unit as module
from streams.worker.flow import Batch, Flow
from streams.worker.life import State
from streams.worker.store import Store
from streams.worker.unit import Unit
from streams.worker.windows import UnitWindows
from tests.reference.shop import SITE, T0, click, purchase

TP = TopicPartition("clicks", 0)


class Record(NamedTuple):
    """An input record."""

    offset: int
    value: bytes | None
    key: bytes | None = b"v"
    timestamp: int = T0
    headers: tuple = ()
    topic: str = "clicks"
    partition: int = 0
    timestamp_type: int = 0


class Log:
    """In the place of Kafka's transactions: keeps what was committed, or fails."""

    def __init__(self):
        self.commits = []
        self.failure = None
        self.hang = False

    async def commit(self, outputs, offsets):
        if self.hang:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        ends = {source.topic: found.offset for source, found in offsets.items()}
        self.commits.append((ends, {topic: len(records) for (topic, _), records in outputs.items()}))
        return dict.fromkeys(outputs, 100)

    async def close(self):
        """Nothing to close."""


class Feed:
    """A registry without entries, until some come."""

    def __init__(self):
        self.registry = Registry(())
        self.position = 0
        self.changed_ms = T0

    def traces_since(self, position):
        return [b""]


@pytest_asyncio.fixture
async def unit(tmp_path):
    """An open unit of one partition at offset 10 of `clicks`; the input's log reaches from 0 to 1000."""

    async def log_range(_):
        return unit.range

    unit = Unit(
        Settings(partitions=1, data_dir=tmp_path),
        0,
        flow=Flow(),
        registry=Feed(),
        confirm=None,
        log_range=log_range,
        turns=asyncio.Semaphore(2),
        incarnations=None,
    )
    unit.range = (0, 1000)
    unit._store = Store(tmp_path / "0")
    unit._transactions = unit.log = Log()
    unit.windows = UnitWindows(unit._store, T0 // 60_000)
    unit.positions = dict.fromkeys(("clicks", "conversions", "costs", "orders-by-visitor"), 10)
    unit.state = State.OPEN
    unit.rewind()
    yield unit
    await unit.close()


def batch(unit, *records, topic="clicks", start=10, next_=None):
    """A batch as the driver hands it over."""
    tp = TopicPartition(topic, records[0].partition)
    return Batch(tp, records, start, records[-1].offset + 1 if next_ is None else next_, unit._epochs[topic], 0)


def touch(offset, event_id="e", **fields):
    """A record with a click."""
    return Record(offset, orjson.dumps(click(event_id, **fields)))


def count(name, **labels):
    """A metric's value."""
    return REGISTRY.get_sample_value(name, labels) or 0


async def until(condition):
    """Wait until it holds."""
    async with asyncio.timeout(5.0):
        while not condition():
            await asyncio.sleep(0)


def known(unit):
    """How many touches are indexed."""
    return len([key for key, _ in unit._store.scan(b"v") if key[17:18] == b"t"])


async def test_a_batch_is_committed_up_to_its_end_and_indexed(unit):
    """Its end is the fetch position after it, markers included; positions of outputs are saved with the entries."""
    await unit.take(batch(unit, touch(10), next_=13))
    assert unit.log.commits == [({"clicks": 13}, {"touches": 1, "panes": 1})]
    assert unit.positions["clicks"] == 13
    assert known(unit) == 1
    assert unit.store.positions == {"touches": 100, "panes": 100}


async def test_every_record_read_is_counted_once(unit):
    """Accepted, duplicate, dead letter or moved; a batch that was not committed counts nothing."""
    names = ("accepted", "duplicate", "dead_letter", "moved")
    before = [count("headwater_events_total", topic="clicks", outcome=name) for name in names]
    records = [touch(10, "a"), touch(11, "a"), Record(12, b"\xff"), Record(13, None), touch(14, "b")]
    await unit.take(batch(unit, *records))
    after = [count("headwater_events_total", topic="clicks", outcome=name) for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1, 2, 0]
    unit.log.failure = CommitFailed("no")
    await unit.take(batch(unit, touch(15, "c"), start=15))
    assert [count("headwater_events_total", topic="clicks", outcome=name) for name in names] == after


@pytest.mark.parametrize("failure", [CommitFailed("fenced"), OSError("disk"), ValueError("never seen")])
async def test_any_failure_closes_the_unit(unit, failure):
    """It takes no more batches and its partition is fetched no more; the position stays."""
    taken = batch(unit, touch(10))
    unit.log.failure = failure
    await unit.take(taken)
    assert unit.state == "failed"
    assert unit._flow.seeks() == []
    assert (unit.positions["clicks"], known(unit)) == (10, 0)
    unit.log.failure = None
    await unit.take(taken)
    assert unit.log.commits == []


async def test_cancelled_with_a_batch_in_hand_it_closes(unit):
    """Whether that was committed is unknown."""
    unit.log.hang = True
    task = asyncio.create_task(unit.take(batch(unit, touch(10))))
    await until(unit._lock.locked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert unit.state == "failed"


async def test_what_was_fetched_before_a_seek_is_dropped(unit):
    """Its epoch tells."""
    old = batch(unit, touch(10))
    unit.rewind()
    await unit.take(old)
    assert unit.log.commits == []
    assert unit.state == "open"


async def test_a_batch_that_is_not_the_next_asks_for_a_seek(unit):
    """Once, back to where the unit stands."""
    epoch = unit._epochs["clicks"]
    await unit.take(batch(unit, touch(20), start=20))
    await unit.take(batch(unit, touch(5), start=5))
    assert unit.log.commits == []
    assert [offset for tp, offset, _ in unit._flow.seeks() if tp == TP] == [10]
    assert unit._epochs["clicks"] > epoch


async def test_a_gap_of_markers_is_no_loss(unit):
    """The batch starts at the position, only its first record does not."""
    lost = count("headwater_lost_records_total")
    await unit.take(batch(unit, touch(12), start=10))
    assert unit.log.commits == [({"clicks": 13}, {"touches": 1, "panes": 1})]
    assert count("headwater_lost_records_total") == lost


@pytest.mark.parametrize("start", [10, 30])
async def test_records_that_kafka_deleted_are_counted_as_lost(unit, start):
    """Once they are behind: a commit that fails counts nothing. Then the unit goes on."""
    lost = count("headwater_lost_records_total")
    unit.range = (30, 1000)
    await unit.take(batch(unit, touch(30), start=start))
    assert count("headwater_lost_records_total") == lost + 20
    assert unit.positions["clicks"] == 31


async def test_a_log_that_ends_before_the_position_is_read_anew(unit):
    """It was replaced by another; what is known already is a duplicate."""
    unit.range = (0, 5)
    await unit.take(batch(unit, touch(0), start=0))
    assert unit.positions["clicks"] == 1


@pytest.mark.parametrize("bad", [0, 3, 6])
async def test_a_record_that_breaks_the_core_is_refused_alone(unit, monkeypatch, bad):
    """Also where it breaks only together with what came before it."""
    step = core.STEPS["clicks"]

    def fragile(records, view, scope):
        seen = [r.offset for r in records]
        if 10 + bad in seen and (len(seen) > 1 or known(unit) == bad):
            raise ZeroDivisionError
        return step(records, view, scope)

    monkeypatch.setitem(core.STEPS, "clicks", fragile)
    await unit.take(batch(unit, *(touch(10 + n, f"e{n}") for n in range(7))))
    assert unit.state == "open"
    assert unit.positions["clicks"] == 17
    assert known(unit) == 6
    assert sum(outputs.get("dead-letters", 0) for _, outputs in unit.log.commits) == 1


async def test_small_batches_that_come_together_share_a_transaction(unit):
    """Each sees what those before it changed; a large one, or one that comes later, has its own."""
    conversion = Record(10, orjson.dumps(purchase("p", T0 + 5000, order_id="1")), topic="conversions")
    order = Record(10, _order(conversion), topic="orders-by-visitor")
    await asyncio.gather(
        unit.take(batch(unit, touch(10, "a"), touch(11, "b"))),
        unit.take(batch(unit, conversion, topic="conversions")),
        unit.take(batch(unit, order, topic="orders-by-visitor", next_=14)),
    )
    ends = {"clicks": 12, "conversions": 11, "orders-by-visitor": 14}
    (commit,) = unit.log.commits
    assert commit == (ends, {"touches": 2, "panes": 2, "orders": 1, "orders-by-visitor": 1, "attributions": 1})
    assert {topic: unit.positions[topic] for topic in ends} == ends
    (attribution,) = [orjson.loads(value) for key, value in unit.store.scan(b"v") if key[17:18] == b"c"]
    assert [shown["touch_id"] for shown in attribution["touches"]] == ["a", "b"]


async def test_batches_that_share_a_transaction_fail_together(unit, monkeypatch):
    """None of them is done with, and the unit opens anew; the pace is told of the largest."""
    conversion = Record(10, orjson.dumps(purchase("p", T0 + 5000, order_id="1")), topic="conversions")
    unit.log.failure = CommitFailed("fenced")
    paces = []
    monkeypatch.setattr(unit._flow, "pace", lambda records, seconds: paces.append((records, seconds)))
    await asyncio.gather(
        unit.take(batch(unit, conversion, topic="conversions")),
        unit.take(batch(unit, touch(10, "a"), touch(11, "b"))),
    )
    assert paces == [(2, module.DEADLINE_S)]
    assert (unit.state, unit.positions["clicks"], unit.positions["conversions"]) == ("failed", 10, 10)


async def test_a_batch_that_is_cancelled_while_it_waits_is_not_taken(unit):
    """The others are."""
    await unit._lock.acquire()
    first = asyncio.create_task(unit.take(batch(unit, touch(10, "a"))))
    conversion = Record(10, orjson.dumps(purchase("p", T0 + 5000, order_id="1")), topic="conversions")
    second = asyncio.create_task(unit.take(batch(unit, conversion, topic="conversions")))
    await until(lambda: unit._lock._waiters and len(unit._lock._waiters) == 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    unit._lock.release()
    await second
    assert (unit.state, unit.positions["clicks"], unit.positions["conversions"]) == ("open", 10, 11)


async def test_of_batches_that_come_together_a_bad_record_is_refused_alone(unit, monkeypatch):
    """Where a batch has to be halved, each goes by itself."""
    step = core.STEPS["clicks"]

    def fragile(records, view, scope):
        if 11 in [r.offset for r in records] and (len(records) > 1 or known(unit) == 1):
            raise ZeroDivisionError
        return step(records, view, scope)

    monkeypatch.setitem(core.STEPS, "clicks", fragile)
    conversion = Record(10, orjson.dumps(purchase("p", T0 + 5000, order_id="1")), topic="conversions")
    await asyncio.gather(
        unit.take(batch(unit, conversion, topic="conversions")),
        unit.take(batch(unit, touch(10, "a"), touch(11, "b"), touch(12, "c"))),
    )
    assert (unit.state, unit.positions["clicks"], unit.positions["conversions"]) == ("open", 13, 11)
    assert known(unit) == 2
    assert sum(outputs.get("dead-letters", 0) for _, outputs in unit.log.commits) == 1


def _order(conversion):
    """What `conversion` comes to in `orders-by-visitor`."""
    outcome = core.apply("conversions", [conversion], MemoryView(), Scope(0, 1, Registry(())))
    ((_, value, _, _),) = outcome.outputs["orders-by-visitor", 0]
    return value


async def test_large_batches_wait_for_their_turn(unit, monkeypatch):
    """Small ones do not: latency is theirs."""
    monkeypatch.setattr(module, "LARGE_BATCH", 1)
    for _ in range(2):
        await unit._turns.acquire()
    await unit.take(batch(unit, touch(10, "a")))
    waiting = asyncio.create_task(unit.take(batch(unit, touch(11, "b"), touch(12, "c"), start=11)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert unit.positions["clicks"] == 11
    unit._turns.release()
    await waiting
    assert unit.positions["clicks"] == 13


async def test_what_comes_late_of_the_registry_is_applied_once(unit):
    """In transactions without an input's offset; then the store knows how far it has been applied."""
    found = [Record(10 + n, orjson.dumps(click(f"c{n}", campaign="spring"))) for n in range(3)]
    await unit.take(batch(unit, *found))
    await unit.upkeep.review()
    assert len(unit.log.commits) == 1
    unit._registry.registry.put(CampaignEntry(campaign="spring", site=SITE, channel="Audio"))
    unit._registry.position = 7
    await unit.upkeep.review()
    assert unit.log.commits[1:] == [({}, {"touches": 3, "panes": 2})]
    assert unit._store.reviewed == 7
    await unit.upkeep.review()
    assert (len(unit.log.commits), unit.state) == (2, "open")


async def test_a_review_that_cannot_be_committed_closes_the_unit(unit):
    """It is begun anew when the unit is open again."""
    await unit.take(batch(unit, Record(10, orjson.dumps(click("c", campaign="spring")))))
    unit._registry.registry.put(CampaignEntry(campaign="spring", site=SITE, channel="Audio"))
    unit._registry.position = 7
    unit.log.failure = CommitFailed("gone")
    await unit.upkeep.review()
    assert (unit.state, unit._store.reviewed) == ("failed", 0)


async def test_what_nothing_can_need_is_forgotten_when_it_is_time(unit):
    """By the earlier of the clock and the latest receipt; what is needed for longer is committed again first."""
    day = 86_400_000
    denial = orjson.dumps(
        {"type": "consent", "event_id": "no", "site": SITE, "visitor_id": "w", "time": T0, "consent": "denied"}
    )
    late = touch(12, "late", time=T0 + 140 * day, received_at=T0 + 140 * day)
    await unit.take(batch(unit, touch(10, "early"), Record(11, denial)))
    unit.clock = lambda: T0 + 999 * day
    await unit.upkeep.sweep()
    assert (known(unit), len(unit.log.commits)) == (2, 1)
    await unit.take(batch(unit, late, start=12))
    forgotten = count("headwater_forgotten_entries_total", kind="touch")
    unit.clock = lambda: T0 + 1000 * day
    await unit.upkeep.sweep()
    assert (known(unit), count("headwater_forgotten_entries_total", kind="touch")) == (2, forgotten + 1)
    assert unit.log.commits[2:] == [({}, {"touches": 1})]
    await unit.upkeep.sweep()
    assert (len(unit.log.commits), unit.state) == (3, "open")
