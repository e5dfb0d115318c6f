"""What can go wrong with a batch, one by one: the unit closes, opens anew, and every record counts once.

Rule: the Kafka in memory checks each transaction (`tests.worker.fake_kafka`); after all has been taken, its state is
the store's. `tests.worker.test_life` has the same in any order.
"""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from streams.core.state import MemoryView
from streams.worker.flow import Batch
from streams.worker.life import State
from tests.worker.fake_kafka import at
from tests.worker.unit_bench import Bench, Quick


@pytest_asyncio.fixture
async def bench(tmp_path, monkeypatch):
    """An open unit that has taken three of five clicks."""
    bench = Bench(tmp_path)
    with Quick(monkeypatch):
        Quick.kafka, Quick.disk = bench.kafka, lambda: bench.disk
        bench.open()
        await bench.settle()
        bench.write("clicks", 5, marker=True)
        await bench.work("clicks", 3)
        yield bench
        await bench.catch_up()
        bench.check()
        await bench.close()


async def fails(bench, fault):
    """The next batch meets `fault`: the unit closes and holds its partition, then opens by itself. What it said."""
    bench.kafka.fault = fault
    with capture_logs() as logs:
        await bench.work("clicks", 2)
        assert bench.unit.state is State.FAILED
        bench.check()
        await bench.settle()
    bench.check()
    (told,) = [line["error"] for line in logs if line["event"] == "unit_failed"]
    (opened,) = [line for line in logs if line["event"] == "unit_open"]
    assert opened["failures"] == 1
    return told


async def test_abort(bench):
    """Nothing of the transaction is visible: the batch is taken again."""
    assert "aborted" in await fails(bench, "abort")
    assert bench.kafka.committed == {"clicks": 3}
    assert None in bench.kafka.logs["touches"].records


async def test_fence(bench):
    """Another owner was there: what the unit has not committed is that one's, until the group says otherwise."""
    assert "ProducerFenced" in await fails(bench, "fence")
    assert bench.kafka.committed == {"clicks": 3}


async def test_fenced_and_not_confirmed(bench):
    """As long as the group does not say that the partition is ours, the unit does not open: no fight."""
    bench.kafka.fault, bench.ours = "fence", False
    await bench.work("clicks", 2)
    epoch = bench.kafka.epoch
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert (bench.unit.state, bench.kafka.epoch) == (State.FAILED, epoch)
    bench.ours = True
    await bench.settle()


@pytest.mark.parametrize(("fault", "committed"), [("time-out", 3), ("late", 5)])
async def test_time_out(bench, fault, committed):
    """Kafka does not answer in time, and has committed or not: the unit asks where the group stands, and goes on."""
    assert "TimeoutError" in await fails(bench, fault)
    assert bench.kafka.committed["clicks"] == committed


async def test_unknown_outcome(bench):
    """The answer was lost, the transaction was not: the batch is not taken again, and the store has it."""
    assert "the answer was lost" in await fails(bench, "unknown")
    assert bench.kafka.committed == {"clicks": 5}
    assert bench.unit.positions["clicks"] == 5
    assert bench.entries() == bench.kafka.entries


async def test_gap(bench):
    """Kafka deleted records that nobody has read: counted, said, and the unit goes on behind them."""
    bench.write("clicks", 3)
    bench.kafka.logs["clicks"].start = 7
    before = REGISTRY.get_sample_value("headwater_lost_records_total")
    with capture_logs() as logs:
        await bench.catch_up()
    assert [line["lost"] for line in logs if line["event"] == "records_lost"] == [4]
    assert REGISTRY.get_sample_value("headwater_lost_records_total") == before + 4
    assert bench.unit.positions["clicks"] == 9


async def test_rewind(bench):
    """The consumer goes back: what was taken is not taken twice, and one seek brings it where the unit stands."""
    unit, log = bench.unit, bench.kafka.logs["clicks"]
    records, after = log.read(1, 4)
    with capture_logs() as logs:
        epoch = unit._epochs["clicks"]
        for _ in range(2):
            await unit.take(Batch(at("clicks"), records, 1, after, epoch, log.end))
    assert bench.kafka.committed == {"clicks": 3}
    assert [offset for tp, offset, _ in bench.flow.seeks() if tp == at("clicks")] == [3]
    assert [line["event"] for line in logs] == ["position_restored"]


@pytest.mark.parametrize("running", [True, False])
async def test_an_input_that_was_made_anew(bench, running):
    """As long as before, so that offsets do not show it: it is read from its start, were the unit open or not."""
    await bench.catch_up()
    if not running:
        await bench.close()
    bench.kafka.make_anew("clicks")
    bench.write("clicks", 6)
    with capture_logs() as logs:
        if running:
            await bench.unit.know(await bench.kafka.incarnations())
            assert bench.unit.state is State.FAILED
        else:
            bench.open()
        await bench.settle()
    assert [line["event"] for line in logs if line["event"] == "log_replaced"] == ["log_replaced"]
    assert bench.unit.positions["clicks"] == 0
    bench.kafka.committed.pop("clicks")  # what it says now is checked from the new start on
    await bench.catch_up()
    assert bench.kafka.committed["clicks"] == 6
    await bench.unit.know(await bench.kafka.incarnations())
    assert bench.unit.state is State.OPEN


async def test_an_output_that_was_made_anew(bench):
    """The store is of the former one: it is wiped, and is what the new one holds."""
    bench.kafka.make_anew("touches")
    with capture_logs() as logs:
        await bench.unit.know(await bench.kafka.incarnations())
        await bench.settle()
    assert [line["why"] for line in logs if line["event"] == "state_wiped"] == ["touches made anew"]
    assert {key[:1] for key in bench.entries()} == {b"p"}
    bench.kafka.view, bench.kafka.entries = MemoryView(), {}
    bench.kafka.put(bench.entries())


async def test_the_disk_is_full(bench):
    """It says so, keeps what it has, and goes on when there is room."""
    bench.disk = "the state in /state cannot be opened: IO error: No space left on device"
    bench.kafka.fault = "abort"
    with capture_logs() as logs:
        await bench.work("clicks", 2)
        async with asyncio.timeout(60):
            while "No space left" not in bench.unit.trouble.text:
                await asyncio.sleep(0.001)
        for _ in range(50):
            await asyncio.sleep(0.001)
    told = [line["error"] for line in logs if line["event"] == "unit_failed"]
    assert len(told) == 2, "the same was said again and again"
    assert not [line for line in logs if line["event"] in {"state_wiped", "unit_crashed"}]
    bench.disk = ""
    await bench.settle()
    assert bench.unit.trouble.text == ""


async def test_closed_while_kafka_is_away(bench):
    """Nothing is left behind then either."""
    bench.kafka.away = True
    await bench.work("clicks", 2)
    await bench.close()
    bench.kafka.away = False
    bench.open()
    await bench.settle()
