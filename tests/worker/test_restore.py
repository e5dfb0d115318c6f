"""A restore puts bytes under bytes: what was written is there, whatever lies between."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from schemas.errors import RestoreError
from schemas.settings import Settings
from streams.core.state import mark_key
from streams.worker import progress, restore
from streams.worker.restore import Restorer
from streams.worker.store import Store
from tests.worker.fake_kafka import Consumer, Kafka

VISITOR = b"v" + bytes(16)


@pytest.fixture
def kafka(monkeypatch):
    """A Kafka in memory, that restores read from."""
    kafka = Kafka()
    monkeypatch.setattr(restore, "AIOKafkaConsumer", lambda **_: Consumer(kafka))
    monkeypatch.setattr(restore, "return_batches", lambda _: None)
    return kafka


def write(kafka, topic, *entries):
    """Output records, (key, value) or (key, value, "m"), and a marker behind them."""
    log = kafka.logs[topic]
    for key, value, *marked in entries:
        log.append(value, headers=[("k", key), *((name, b"") for name in marked)])
    log.records.append(None)


async def restored(store):
    """What a restore of `store` found to read."""
    restorer = Restorer(Settings(partitions=1), 0, store)
    await restorer.open()
    reached = await restorer.catch_up()
    await restorer.close()
    return restorer.records, reached


@pytest.mark.parametrize("many", [0, 1_000_000])
async def test_all_entries_are_there(tmp_path, kafka, monkeypatch, many):
    """The latest of each key, its mark beside it, also by way of a store made ready for many; a deletion deletes."""
    monkeypatch.setattr(restore, "MANY", many)
    touch = VISITOR + b"t1"
    write(kafka, "touches", (touch, b"old"), (VISITOR + b"t2", b"2"))
    write(kafka, "touches", (touch, b"new", "m"), (VISITOR + b"t2", None))
    write(kafka, "panes", (b"p1", b"x"))
    kafka.logs["orders"].append(b"of another producer")
    store = Store(tmp_path / "0")
    before = REGISTRY.get_sample_value("headwater_restored_records_total")
    assert await restored(store) == (6, {"touches": 6, "panes": 2, "orders": 1, "attributions": 0, "spend": 0})
    assert REGISTRY.get_sample_value("headwater_restored_records_total") == before + 6
    assert not store.loading
    assert store.scan(VISITOR) == [(touch, b"new")]
    assert store.get_many([b"p1", mark_key(touch)]) == [b"x", b""]
    store.close()
    again = Store(tmp_path / "0")
    assert (again.positions["touches"], again.get_many([touch])) == (6, [b"new"])
    assert (await restored(again))[0] == 0
    write(kafka, "touches", (touch, b"newer"))
    assert (await restored(again))[0] == 1
    assert again.get_many([touch]) == [b"newer"]
    again.close()


async def test_a_position_that_the_log_does_not_hold_wipes_the_store(tmp_path, kafka):
    """What was deleted below it is gone from the state too; the rest is read anew."""
    write(kafka, "touches", (b"v1", b"1"), (b"v2", b"2"))
    store = Store(tmp_path / "0")
    store.write({b"gone": b"1"}, {"touches": 1})
    kafka.logs["touches"].start = 2
    assert (await restored(store))[0] == 0
    assert store.get_many([b"gone", b"v2"]) == [None, None]
    store.close()


async def test_one_that_stalls_fails(tmp_path, kafka, monkeypatch):
    """A transaction that is never ended, or a fetcher that sleeps: it does not wait for ever."""
    monkeypatch.setattr(progress, "STALLED_S", 0.0)
    write(kafka, "touches", (b"v1", b"1"))
    monkeypatch.setattr(kafka.logs["touches"], "read", lambda position, most: ([], position))
    store = Store(tmp_path / "0")
    with pytest.raises(RestoreError, match="stalled, 2 left"):
        await restored(store)
    store.close()


async def test_others_have_their_turn(tmp_path, kafka):
    """Between two batches."""
    for number in range(20):
        write(kafka, "touches", (b"v%d" % number, b"1"))
    store = Store(tmp_path / "0")
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await restored(store)
    task.cancel()
    assert turns > 5
    store.close()
