"""What a worker makes of the partitions that its group gives it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from schemas.topics import INPUTS
from streams.worker import units as module
from streams.worker.flow import Flow
from streams.worker.life import State, Trouble
from streams.worker.units import Units


class Unit:
    """A unit that opens at once."""

    made = 0

    def __init__(self, _settings, partition, **_):
        self.partition = partition
        self.state = State.CLOSED
        self.trouble = Trouble(partition)
        self.rewound = 0
        Unit.made += 1

    def start(self):
        assert self.state is State.CLOSED
        self.state = State.OPEN

    async def close(self):
        self.state = State.CLOSED

    def rewind(self):
        self.rewound += 1


@pytest.fixture
def units(monkeypatch):
    """Those of a worker that is connected."""
    monkeypatch.setattr(module, "Unit", Unit)
    Unit.made = 0
    settings = SimpleNamespace(worker_memory_mb=64, window_campaigns=10)
    return Units(settings, Flow(), None, None)


def partitions(*numbers, without=()):
    """All inputs of some partitions."""
    return [TopicPartition(topic, number) for number in numbers for topic in INPUTS if topic not in without]


async def test_kept_units_stay_and_only_fetch_again(units):
    """Others are closed and opened; the same object is the same store, producer and position."""
    assert units.ready() == (False, "the group has not assigned partitions yet")
    await units.assign(partitions(0, 1))
    kept = units._units[1]
    await units.assign(partitions(1, 2))
    assert units.ready() == (True, "ready")
    assert units._units.keys() == {1, 2}
    assert units._units[1] is kept
    assert (kept.rewound, Unit.made) == (1, 3)
    await units.stop()
    assert kept.state is State.CLOSED


async def test_a_partition_without_all_its_inputs_waits(units):
    """As while a topic is deleted and made anew: others go on, and so does this one when all are there."""
    await units.assign([*partitions(0), *partitions(1, without=("clicks",))])
    assert units._units.keys() == {0}
    assert units.ready() == (False, "partitions came without clicks: are the topics there?")
    await units.assign(partitions(0, 1))
    assert units._units.keys() == {0, 1}
    assert units.ready() == (True, "ready")
    await units.stop()


async def test_a_unit_that_does_not_open_says_why(units):
    """By partition."""
    await units.assign(partitions(0, 1))
    units._units[1].state = State.FAILED
    units._units[1].trouble.tell(OSError("no space left"))
    assert units.ready() == (False, "not open: 1 (failed: no space left)")
    units._away = module.time.monotonic()
    units._units[1].state = State.OPEN
    assert units.ready() == (False, "Kafka has not answered for 0 s")
    await units.stop()


async def test_a_worker_without_units_notices_that_kafka_is_back(units, monkeypatch):
    """It lost its partitions while it could not reach Kafka, and was given none again: it is ready all the same."""
    answers, asked = [OSError("away")], asyncio.Event()

    async def incarnations():
        if answers:
            raise answers.pop()
        asked.set()
        return {}

    monkeypatch.setattr(module, "_WATCH_S", 0)
    monkeypatch.setattr(units, "_incarnations", incarnations)
    await units.assign(partitions())
    units._away = module.time.monotonic()
    watching = asyncio.create_task(units._watch_lag(None))
    async with asyncio.timeout(10):
        await asked.wait()
        while units._away is not None:
            await asyncio.sleep(0)
    assert units.ready() == (True, "ready")
    watching.cancel()
    await units.stop()
