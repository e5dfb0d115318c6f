"""Kafka with a disk beside it: who is acknowledged by what, and what becomes of it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from schemas.errors import ConfigurationError, Unavailable
from schemas.settings import Settings
from streams.collector import spool as module
from streams.collector import spool_disk
from streams.collector.eventlog import Record
from streams.collector.kafkalog import KafkaLog
from streams.collector.metrics import Metrics
from streams.collector.spool import SpooledLog, event_log
from streams.collector.spool_files import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

MIB = 1 << 20
NOW = 5_000


class Kafka:
    """Takes records while it is `there`; hangs or refuses as told."""

    def __init__(self, *, there: bool = True) -> None:
        self.ready = there
        self.records: list[Record] = []
        self.asked = 0
        self.slow: asyncio.Event | None = None
        """Acknowledges only when it is set; who is not patient is told at once that it takes too long."""
        self.largest = MIB
        self.down = False
        self.closed = False

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        self.closed = True
        if self.slow is not None:
            self.slow.set()

    async def append(self, records: Sequence[Record], *, patient: bool = False) -> None:
        self.asked += 1
        if self.down:
            raise Unavailable("Kafka did not take an event")
        if any(len(record.value) > self.largest for record in records):
            error = Unavailable("Kafka did not take an event")
            error.__cause__ = MessageSizeTooLargeError()
            raise error
        if self.slow is not None:
            if not patient:
                raise Unavailable("Kafka did not acknowledge in time")
            await self.slow.wait()
            if self.closed:
                raise Unavailable("the collector is stopping")
        self.records += records

    @property
    def numbers(self) -> list[int]:
        return [record.time for record in self.records]


class Disk:
    """The system's calls; `gate` holds syncs up, `error` has them fail."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error = 0
        self.syncs = 0

    def sync(self, _file: int) -> None:
        self.gate.wait(20)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self.syncs += 1


class Bench:
    """A log, and what it stands on."""

    def __init__(self, directory: Path, kafka: Kafka, **options: float) -> None:
        self.kafka = kafka
        self.disk = Disk()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.directory = directory
        spool = Spool(directory, sync=self.disk.sync, on_damage=self.metrics.spool_damages.inc)
        settings = {"limit": MIB, "patience_s": 1.5, "clock": lambda: NOW} | options
        self.log = SpooledLog(kafka, spool, self.metrics, **settings)

    def figure(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"headwater_collector_{name}")

    @property
    def waiting(self) -> float | None:
        """Events on the disk."""
        return self.figure("spooled_events")


@asynccontextmanager
async def bench(directory: Path, *, there: bool = True, **options: float) -> AsyncIterator[Bench]:
    made = Bench(directory / "spool", Kafka(there=there), **options)
    await made.log.open()
    try:
        yield made
    finally:
        made.disk.gate.set()
        await made.log.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setattr(spool_disk, "RETRY_S", 0.01)
    monkeypatch.setattr(module, "POLL_S", 0.001)
    monkeypatch.setattr(module, "BACKOFF_S", (0.001,))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def record(number: int, size: int = 10) -> Record:
    return Record("clicks", f"v{number % 7}", b"x" * size, number)


async def test_with_kafka_there_the_disk_is_idle(tmp_path: Path) -> None:
    """Nothing is written, and there is nothing to say."""
    async with bench(tmp_path) as made:
        await made.log.append([record(1), record(2)])
        assert made.kafka.numbers == [1, 2]
        assert (made.disk.syncs, made.waiting, made.log.state) == (0, 0, "")
        assert made.log.ready


async def test_acknowledged_when_synced(tmp_path: Path) -> None:
    """Not before."""
    async with bench(tmp_path, there=False) as made:
        made.disk.gate.clear()
        request = asyncio.create_task(made.log.append([record(1)]))
        done, _ = await asyncio.wait({request}, timeout=0.1)
        assert not done
        made.disk.gate.set()
        await request
        assert made.waiting == 1
        assert made.log.ready
        assert made.log.state == "Kafka is away, 1 event waits on the disk (0.0 of 1 MiB)"


async def test_one_sync_for_many(tmp_path: Path) -> None:
    """Who comes while a sync is on its way shares the next one."""
    async with bench(tmp_path, there=False) as made:
        await asyncio.gather(*(made.log.append([record(number)]) for number in range(500)))
        assert made.waiting == 500
        assert made.disk.syncs < 10


async def test_handed_on_in_order_when_kafka_is_back(tmp_path: Path) -> None:
    """All of it; the disk is empty afterwards, and new events go to Kafka directly."""
    async with bench(tmp_path, there=False) as made:
        with capture_logs() as lines:
            for start in range(0, 3000, 100):
                await made.log.append([record(number) for number in range(start, start + 100)])
            await until(lambda: made.figure("spool_oldest_seconds") == NOW / 1000)
            made.kafka.ready = True
            await until(lambda: made.figure("spool_bytes") == 0)
            assert made.kafka.numbers == list(range(3000))
            assert made.figure("spool_oldest_seconds") == 0
            assert made.log.state == ""
            syncs = made.disk.syncs
            await made.log.append([record(3000)])
            assert (made.kafka.numbers[-1], made.disk.syncs) == (3000, syncs)
        names = [line["event"] for line in lines]
        assert names == ["spooling_began", "spooling_ended", "spool_delivered"]
        assert lines[1]["spooled"] == lines[2]["events"] == 3000


async def test_a_slow_kafka_is_not_asked_again(tmp_path: Path) -> None:
    """The first event that waits too long goes to the disk, later ones go there without waiting."""
    async with bench(tmp_path) as made:
        made.kafka.slow = asyncio.Event()
        await made.log.append([record(1)])
        await until(lambda: made.kafka.asked == 2)  # the disk hands it on, patiently
        for number in range(2, 20):
            await made.log.append([record(number)])
        assert made.kafka.asked == 2
        made.kafka.slow.set()
        await until(lambda: made.waiting == 0)
        assert made.kafka.numbers == list(range(1, 20))


async def test_new_events_go_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once Kafka has taken the first of the disk's events, new ones do not wait for the rest."""
    monkeypatch.setattr(module, "CHUNK_RECORDS", 10)
    async with bench(tmp_path, there=False) as made:
        made.log._most = 10
        await made.log.append([record(number) for number in range(2000)])
        made.kafka.ready = True
        await until(lambda: not made.log._spooling)
        await made.log.append([record(5000)])
        assert made.kafka.numbers.index(5000) < 2000
        await until(lambda: made.waiting == 0)
        assert sorted(made.kafka.numbers) == [*range(2000), 5000]


async def test_a_kafka_that_takes_too_long_stays_away(tmp_path: Path) -> None:
    """It gets what the disk has, at its own pace; nobody waits for it meanwhile."""
    async with bench(tmp_path, there=False, patience_s=0.0) as made:
        made.log._most = 10
        await made.log.append([record(number) for number in range(300)])
        made.kafka.ready = True
        await until(lambda: made.kafka.asked > 2)
        await made.log.append([record(300)])
        await until(lambda: len(made.kafka.records) == 301)
        assert made.kafka.numbers == list(range(301))


async def test_kafka_goes_while_events_are_handed_on(tmp_path: Path) -> None:
    """The same events are tried again until it takes them."""
    async with bench(tmp_path, there=False) as made:
        await made.log.append([record(number) for number in range(10)])
        made.kafka.down = made.kafka.ready = True
        await until(lambda: made.kafka.asked > 3)
        assert made.waiting == 10
        made.kafka.down = False
        await until(lambda: made.waiting == 0)
        assert made.kafka.numbers == list(range(10))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
async def test_a_failing_disk_is_no_acknowledgement(tmp_path: Path, error: int) -> None:
    """503 for all who wait; then nobody waits for it; when it takes bytes again, so do we; what was safe stays so."""
    async with bench(tmp_path, there=False) as made:
        await made.log.append([record(1)])
        made.disk.error = error
        requests = [made.log.append([record(number)]) for number in range(2, 6)]
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable] * 4
        assert made.figure("spool_failures_total")
        assert not made.log.ready
        assert made.log.state.endswith(f"the disk takes nothing: {os.strerror(error)}")
        with pytest.raises(Unavailable, match="the disk takes nothing"):
            await made.log.append([record(6)])
        made.disk.error = 0
        await until(lambda: made.log.ready)
        await made.log.append([record(7)])
        made.kafka.ready = True
        await until(lambda: made.waiting == 0)
        assert made.kafka.numbers == [1, 7]


async def test_kafka_takes_what_a_failing_disk_does_not(tmp_path: Path) -> None:
    """A broken disk stops nobody while Kafka is there."""
    async with bench(tmp_path, there=False) as made:
        made.disk.error = errno.EIO
        with pytest.raises(Unavailable):
            await made.log.append([record(1)])
        made.kafka.ready = True
        await made.log.append([record(2)])
        assert made.kafka.numbers == [2]
        assert made.log.ready


async def test_a_disk_that_is_broken_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops nobody while Kafka is there; mended, it is taken, with what it holds from before."""
    async with bench(tmp_path, there=False) as before:
        await before.log.append([record(1), record(2)])
    made = Bench(tmp_path / "spool", Kafka())

    def fail(*_arguments: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(made.log._spool, "_open", fail)
        await made.log.open()
        await made.log.append([record(3)])
        assert made.log.ready
        assert made.log.state == "the disk takes nothing: Read-only file system"
        made.kafka.ready = False
        with pytest.raises(Unavailable, match="Read-only file system"):
            await made.log.append([record(4)])
        assert not made.log.ready
        made.kafka.ready = True
    await until(lambda: set(made.kafka.numbers) == {1, 2, 3})
    await until(lambda: made.log.state == "")
    await made.log.close()


async def test_a_disk_that_does_not_answer(tmp_path: Path) -> None:
    """Requests wait for it for so long, then for nothing; Kafka, where it comes back, takes them meanwhile."""
    async with bench(tmp_path, there=False, deadline_s=0.05) as made:
        made.disk.gate.clear()
        with pytest.raises(Unavailable, match="did not take an event in time"):
            await made.log.append([record(1)])
        assert not made.log.ready
        with pytest.raises(Unavailable, match="it does not answer"):
            await made.log.append([record(2)])
        made.kafka.ready = True
        await made.log.append([record(3)])
        made.kafka.ready = False
        made.disk.gate.set()
        await until(lambda: made.log.ready)
        await made.log.append([record(4)])


async def test_a_full_spool(tmp_path: Path) -> None:
    """It never takes more than it is allowed; when Kafka has taken what it holds, it takes events again."""
    async with bench(tmp_path, there=False, limit=20_000) as made:
        with capture_logs() as lines:
            requests = [made.log.append([record(number, 900)]) for number in range(30)]
            answers = await asyncio.gather(*requests, return_exceptions=True)
        taken = answers.count(None)
        assert {str(answer) for answer in answers[taken:]} == {"Kafka is away, and the spool is full"}
        assert 10 < taken < 25
        assert made.figure("spool_bytes") <= made.figure("spool_limit_bytes") == 20_000
        assert not made.log.ready
        assert made.log.state.endswith("the spool is full")
        with pytest.raises(Unavailable):
            await made.log.append([record(0)])
        assert [line["event"] for line in lines] == ["spooling_began", "spool_full"]
        made.kafka.ready = True
        await until(lambda: made.figure("spool_bytes") == 0)
        assert made.kafka.numbers == list(range(taken))
        made.kafka.ready = False
        await made.log.append([record(taken, 900)])


async def test_a_restart_hands_on_what_is_there(tmp_path: Path) -> None:
    """Events of an earlier process, before and beside its own."""
    async with bench(tmp_path, there=False) as made:
        await made.log.append([record(number) for number in range(100)])
    with capture_logs() as lines:
        async with bench(tmp_path) as made:
            await made.log.append([record(200)])
            await until(lambda: made.waiting == 0 and len(made.kafka.records) > 100)
            assert sorted(made.kafka.numbers) == [*range(100), 200]
    assert {key: lines[0][key] for key in ("event", "events")} == {"event": "spool_found", "events": 100}


async def test_stopping_loses_nothing(tmp_path: Path) -> None:
    """What Kafka gives up at the end goes to the disk, and is acknowledged from there."""
    made = Bench(tmp_path / "spool", Kafka())
    await made.log.open()

    async def give_up(records: Sequence[Record], *, patient: bool = False) -> None:
        waiting.set()
        await stopped.wait()
        raise Unavailable("the collector is stopping")

    async def close() -> None:
        stopped.set()

    waiting, stopped = asyncio.Event(), asyncio.Event()
    made.kafka.append, made.kafka.close = give_up, close
    request = asyncio.create_task(made.log.append([record(1)]))
    await waiting.wait()
    await made.log.close()
    await request
    async with bench(tmp_path) as again:
        await until(lambda: again.kafka.numbers == [1])


async def test_a_record_that_kafka_never_takes(tmp_path: Path) -> None:
    """It is put aside, by itself: all around it arrive, in order."""
    async with bench(tmp_path, there=False) as made:
        made.kafka.largest = 100
        await made.log.append([record(number, 101 if number == 37 else 10) for number in range(100)])
        with capture_logs() as lines:
            made.kafka.ready = True
            await until(lambda: made.waiting == 0)
        assert made.kafka.numbers == [number for number in range(100) if number != 37]
        assert made.figure("spool_damages_total") == 1
        (refused,) = made.directory.glob("*.refused")
        assert refused.read_bytes() == b"x" * 101
        assert [line["kept"] for line in lines if line["event"] == "spool_record_refused"] == [str(refused)]


async def test_a_request_that_is_given_up(tmp_path: Path) -> None:
    """Its neighbours are acknowledged all the same."""
    async with bench(tmp_path, there=False) as made:
        made.disk.gate.clear()
        requests = [asyncio.create_task(made.log.append([record(number)])) for number in range(3)]
        await asyncio.sleep(0)
        requests[1].cancel()
        made.disk.gate.set()
        answers = await asyncio.gather(*requests, return_exceptions=True)
        assert [type(answer) for answer in answers] == [type(None), asyncio.CancelledError, type(None)]
        made.kafka.ready = True
        await until(lambda: {0, 2} <= set(made.kafka.numbers))


async def test_a_fault_of_ours_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in handing on is said, and tried again."""
    async with bench(tmp_path, there=False) as made:
        await made.log.append([record(1)])
        done = made.log._spool.done
        monkeypatch.setattr(made.log._spool, "done", None)
        with capture_logs() as lines:
            made.kafka.ready = True
            await until(lambda: [line for line in lines if line["event"] == "spool_crashed"])
            monkeypatch.setattr(made.log._spool, "done", done)
            await until(lambda: made.waiting == 0)
        assert set(made.kafka.numbers) == {1}


async def test_a_fault_of_ours_acknowledges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is told, and it goes on with the next."""
    async with bench(tmp_path, there=False) as made:
        with monkeypatch.context() as patch:
            patch.setattr(made.log._spool, "keep", None)
            with pytest.raises(Unavailable):
                await made.log.append([record(1)])
        await until(lambda: made.log.ready)
        await made.log.append([record(2)])
        assert made.waiting == 1


async def test_another_collectors_spool(tmp_path: Path) -> None:
    """The second one does not start."""
    async with bench(tmp_path):
        other = Bench(tmp_path / "spool", Kafka())
        with pytest.raises(ConfigurationError, match="another collector's spool"):
            await other.log.open()


def test_settings(tmp_path: Path) -> None:
    """Below the data directory where nothing else is said; without a size there is no spool."""
    settings = Settings(data_dir=tmp_path)
    assert settings.spool_path == tmp_path / "spool"
    assert isinstance(event_log(settings, Metrics(CollectorRegistry())), SpooledLog)
    settings = Settings(spool_dir=tmp_path / "other", spool_bytes=0)
    assert settings.spool_path == tmp_path / "other"
    assert isinstance(event_log(settings, Metrics(CollectorRegistry())), KafkaLog)
