"""Whatever becomes of ClickHouse, the views come to what an undisturbed run shows: nothing doubled, nothing missing."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from schemas.settings import Settings
from sinks.clickhouse import consumer, writer
from sinks.clickhouse.connection import connect
from sinks.clickhouse.consumer import Sink
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.server import Server
from tests.reference.crowds import Crowd
from tests.sinks.conftest import EngineProcess
from tests.sinks.flow import flowed, pour, recent, recent_entry, samples
from tests.sinks.front import READ_ONLY, Front
from tests.sinks.pipe import PARTITIONS, Pipe, until
from tests.sinks.samples import NOW_MS, Sample, as_json, touch

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
Rows = dict[str, list[tuple[Any, ...]]]
PATIENCE = 60.0


def story() -> list[list[Sample]]:
    """Output records of dense crowds, in three parts: touches, orders, attributions, panes, spend, dead letters."""
    found: list[Sample] = []
    for seed in (1, 4, 6):
        crowd = Crowd(seed, 80)
        for event in crowd.events:
            event["site"] = f"{event['site']}{seed}"
        entries = [recent_entry(entry) for entry in crowd.entries]
        # A day that is written out does not move with the others, and is too long ago for the tables by now.
        events = [recent(event) for event in crowd.events if "date" not in event]
        found += samples(flowed(events), entries if seed == 1 else ())
    for record in found:
        record.partition = 0 if record.topic == "campaigns" else record.partition % PARTITIONS
        # Letters are kept for 30 days.
        record.headers = tuple((name, as_json(NOW_MS) if name == "time" else of) for name, of in record.headers)
    third = len(found) // 3
    mixed = [*found[::3], *found[1::3], *found[2::3]]
    return [mixed[:third], mixed[third : 2 * third], mixed[2 * third :]]


STORY = story()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that rests looks after ClickHouse every second."""
    monkeypatch.setattr(consumer, "_CHECK_SECONDS", 1.0)
    monkeypatch.setattr(consumer, "_AGAIN_SECONDS", 0.5)


async def send(pipe: Pipe, records: list[Sample]) -> None:
    """One transaction."""
    producer = AIOKafkaProducer(bootstrap_servers=pipe.settings.kafka, transactional_id="story")
    await producer.start()
    try:
        async with producer.transaction():
            for record in records:
                headers = list(record.headers)
                await producer.send(record.topic, record.value, record.key, partition=record.partition, headers=headers)
    finally:
        await producer.stop()


def rows(settings: Settings) -> Rows:
    """All rows of all views."""
    with connect(settings) as client:
        views = client.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")
        return {name: client.query(f"SELECT * FROM {name} ORDER BY ALL").result_rows for (name,) in views.result_rows}


CALM: dict[int, Rows] = {}
"""How many parts of the story were told -> what the views show then: it depends on nothing else, so once is enough."""


def undisturbed(settings: Settings, parts: int) -> Rows:
    """What the views show when each record was inserted once."""
    if parts not in CALM:
        calm = settings.model_copy(update={"clickhouse_database": f"{settings.clickhouse_database}_calm"})
        offsets: Counter[tuple[str, int]] = Counter()
        records = []
        for record in chain.from_iterable(STORY[:parts]):
            place = record.topic, record.partition
            records.append(replace(record, offset=offsets[place]))
            offsets[place] += 1
        migrate(calm)
        try:
            pour(calm, records)
            CALM[parts] = rows(calm)
        finally:
            with connect(calm) as client:
                client.command(f"DROP DATABASE {calm.clickhouse_database}")
    return CALM[parts]


async def assert_undisturbed(pipe: Pipe, parts: int = 3) -> None:
    """Wait until the views show what those of an undisturbed run do, row by row."""
    expected = await asyncio.to_thread(undisturbed, pipe.settings, parts)
    assert all(expected[name] for name in ("touches", "conversions", "credits", "traffic", "kpis", "spend"))
    found: Rows = {}

    async def same() -> bool:
        nonlocal found
        # All views take a while, and the engine's time from the sink: a few of them first.
        for name in ("touches", "dead_letters", "conversions"):
            if await pipe.one(f"(SELECT count() FROM {name})") != str(len(expected[name])):
                return False
        found = await asyncio.to_thread(rows, pipe.settings)
        return found == expected

    try:
        await until(same, PATIENCE)
    except AssertionError:
        found = await asyncio.to_thread(rows, pipe.settings)
        assert {name: len(of) for name, of in found.items()} == {name: len(of) for name, of in expected.items()}
        assert found == expected


async def all_in(pipe: Pipe, sink: Sink, records: int) -> None:
    """Wait until so many records were read, and all that was read is in."""

    async def done() -> bool:
        held = sink._batch.positions or sink._sent_batch
        return metric(pipe.registry, "records_total") >= records and not held

    await until(done, PATIENCE)


@asynccontextmanager
async def put_back(engine: EngineProcess, backup: Any) -> AsyncIterator[None]:
    """The engine is away inside; then it starts with the files of `backup`."""
    engine.kill()
    try:
        yield
        shutil.rmtree(engine.path)
        shutil.copytree(backup, engine.path, symlinks=True)
    finally:
        await asyncio.to_thread(engine.start)


def metric(registry: CollectorRegistry, name: str) -> float:
    """A counter's sum over all labels."""
    return sum(s.value for family in registry.collect() for s in family.samples if s.name == f"headwater_sink_{name}")


async def ready(sink: Sink) -> None:
    """Wait until rows get through."""

    async def is_ready() -> bool:
        return bool(sink.ready()[0])

    await until(is_ready, PATIENCE)


async def test_an_older_copy_of_the_engine_is_noticed_and_filled_up(
    pipe: Pipe, engine: EngineProcess, tmp_path: Any
) -> None:
    """While the sink rests, while it has rows under way, and while it is stopped: it reads again what is missing."""
    backup = tmp_path / "backup"
    async with pipe.sink() as sink:
        await send(pipe, STORY[0])
        await all_in(pipe, sink, len(STORY[0]))
        engine.kill()
        shutil.copytree(engine.path, backup, symlinks=True)
        await asyncio.to_thread(engine.start)
        await send(pipe, STORY[1])
        await all_in(pipe, sink, len(STORY[0]) + len(STORY[1]))

        async with put_back(engine, backup):
            pass
        await assert_undisturbed(pipe, 2)
        rewound = metric(pipe.registry, "rewound_records_total")
        assert rewound > 0

        async with put_back(engine, backup):
            await send(pipe, STORY[2])

            async def held() -> bool:
                return sink._sent_batch is not None

            await until(held, PATIENCE)
        await assert_undisturbed(pipe)
        assert metric(pipe.registry, "rewound_records_total") > rewound
        await ready(sink)
    async with put_back(engine, backup):
        pass
    async with pipe.sink() as sink:
        await assert_undisturbed(pipe)
        await ready(sink)
    assert metric(pipe.registry, "rewound_records_total") > 0
    assert metric(pipe.registry, "gone_records_total") == 0


async def test_killed_in_the_midst_of_inserts(pipe: Pipe, engine: EngineProcess) -> None:
    """Whatever of a batch was in by then, or in half; again and again."""
    async with pipe.sink(max_rows=100, chunk=50) as sink:
        write = sink._writer.write
        begun = asyncio.Semaphore(0)

        async def told(*arguments: Any) -> Any:
            begun.release()
            return await write(*arguments)

        sink._writer.write = told
        for part in STORY[:2]:
            while not begun.locked():
                await begun.acquire()
            sending = asyncio.create_task(send(pipe, part))
            async with asyncio.timeout(PATIENCE):
                for _ in range(2):  # one is in, or as good as
                    await begun.acquire()
            engine.kill()
            await asyncio.to_thread(engine.start)
            await sending
        await send(pipe, STORY[2])
        await assert_undisturbed(pipe)


async def test_answers_that_are_lost_after_the_insert_went_through(pipe: Pipe, engine: EngineProcess) -> None:
    """Of every table's rows, and of the positions: all is inserted again, and counts once."""
    async with Front(engine.port) as front:
        seen: dict[str, int] = {}

        def twice(statement: str) -> bool:
            table = statement.partition("(")[0].strip()
            seen[table] = seen.get(table, 0) + table.startswith("INSERT")
            return 0 < seen[table] <= 2

        front.lose = twice
        pipe.settings = pipe.settings.model_copy(update={"clickhouse_port": front.port})
        async with pipe.sink():
            for part in STORY:
                await send(pipe, part)
            direct = pipe.settings.model_copy(update={"clickhouse_port": engine.port})
            pipe.settings = direct
            await assert_undisturbed(pipe)
        assert front.lost == 2 * len([table for table in seen if table.startswith("INSERT")]) >= 16


async def test_a_read_only_engine_is_said_once_and_waited_for(pipe: Pipe, engine: EngineProcess) -> None:
    """Not ready, with its own words; nothing committed, little held; it goes on by itself."""
    async with Front(engine.port) as front:
        pipe.settings = pipe.settings.model_copy(update={"clickhouse_port": front.port})
        with capture_logs() as logs:
            async with pipe.sink(max_rows=200, chunk=100) as sink:
                await ready(sink)
                # One table alone at first: the others go in meanwhile.
                front.refuse = lambda statement: "INTO panes_rows" in statement
                for part in STORY:
                    await send(pipe, part)

                async def refused() -> bool:
                    return front.refused >= 4 and not sink.ready()[0]

                await until(refused, PATIENCE)
                assert READ_ONLY in sink.ready()[1]
                front.refuse = lambda statement: statement.startswith("INSERT")
                front.refused = 0
                await until(refused, PATIENCE)
                assert metric(pipe.registry, "clickhouse_up") == 0
                assert metric(pipe.registry, "insert_failures_total") >= 6
                assert sink._batch.rows + (sink._sent_batch.rows if sink._sent_batch else 0) <= 600
                assert all(of.offset <= 0 for part, of in (await pipe.committed()).items() if part.topic == "panes")
                front.refuse = lambda _: False
                pipe.settings = pipe.settings.model_copy(update={"clickhouse_port": engine.port})
                await assert_undisturbed(pipe)
                await ready(sink)
                assert metric(pipe.registry, "clickhouse_up") == 1
        said = [line["event"] for line in logs if line["event"].startswith("sink_insert")]
        assert said == ["sink_insert_failed", "sink_insert_recovered"]


async def test_a_resting_sink_notices_that_the_engine_is_away(pipe: Pipe, engine: EngineProcess) -> None:
    """Without a row to insert it is not ready either, and ready again by itself."""
    async with pipe.sink() as sink:
        await ready(sink)
        engine.kill()
        try:

            async def unready() -> bool:
                return not sink.ready()[0]

            await until(unready, PATIENCE)
            assert "ClickHouse at" in sink.ready()[1]
        finally:
            await asyncio.to_thread(engine.start)
        await ready(sink)


async def test_an_engine_that_does_not_answer(
    pipe: Pipe, engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped takes connections and says nothing: not ready after a while, right when it goes on."""
    monkeypatch.setattr(writer, "SLOW_SECONDS", 0.5)
    async with pipe.sink() as sink:
        await ready(sink)
        engine.send(signal.SIGSTOP)
        try:
            await send(pipe, STORY[0])

            async def unready() -> bool:
                return "no answer to an insert" in sink.ready()[1]

            await until(unready, PATIENCE)
        finally:
            engine.send(signal.SIGCONT)
        for part in STORY[1:]:
            await send(pipe, part)
        await assert_undisturbed(pipe)
        await ready(sink)


async def test_what_neither_side_has_any_more_is_said(pipe: Pipe, engine: EngineProcess) -> None:
    """Another, empty database, and a log that starts later by now: the rest is read, the loss is loud."""
    await pipe.produce(*(("touches", 0, touch(f"e{number}")) for number in range(10)))
    async with pipe.sink():
        await pipe.comes("(SELECT count() FROM touches)", "10")
    await pipe.admin.delete_records({TopicPartition("touches", 0): RecordsToDelete(4)}, timeout_ms=10_000)
    empty = pipe.settings.model_copy(update={"clickhouse_database": f"{pipe.settings.clickhouse_database}_empty"})
    await asyncio.to_thread(migrate, empty)
    pipe.settings, pipe.server = empty, Server(empty)
    try:
        with capture_logs() as logs:
            async with pipe.sink():
                await pipe.comes("(SELECT count() FROM touches)", "6")
        assert metric(pipe.registry, "gone_records_total") == 4
        assert [line["offsets"] for line in logs if line["event"] == "sink_records_gone"] == [4]
        # From then on it is the database's own past, and nothing to be said of.
        async with pipe.sink() as sink:
            await ready(sink)
        assert metric(pipe.registry, "gone_records_total") == metric(pipe.registry, "rewound_records_total") == 0
    finally:
        await pipe.server.command(f"DROP DATABASE {empty.clickhouse_database}")
        await pipe.server.close()
