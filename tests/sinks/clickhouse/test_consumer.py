"""The sink from a real Kafka to a real engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata
from prometheus_client import CollectorRegistry

from schemas.settings import Settings
from sinks.clickhouse.consumer import TOPICS, Pace, Sink
from sinks.clickhouse.metrics import SinkMetrics
from sinks.clickhouse.server import Server
from tests.sinks.conftest import EngineProcess
from tests.sinks.samples import LETTER_HEADERS, as_json, attribution, pane, spend, touch

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]
PARTITIONS = 2
Row = tuple[str, int, dict[str, Any]]


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 15.0) -> Any:
    """What `condition` returns once that is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.05)
    return found


class Pipe:
    """Topics on one side, ClickHouse on the other, and the sink between them when it runs."""

    def __init__(self, settings: Settings, server: Server, admin: AIOKafkaAdminClient) -> None:
        self.settings = settings
        self.server = server
        self.admin = admin
        self.registry = CollectorRegistry()

    async def create(self) -> None:
        """Fresh, empty topics."""
        await self.admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in TOPICS])

    async def delete(self) -> None:
        """Delete the topics and wait until they are gone."""
        await self.admin.delete_topics(list(TOPICS))

        async def gone() -> bool:
            return not set(TOPICS) & set(await self.admin.list_topics())

        await until(gone)

    async def produce(self, *rows: Row, raw: bytes | None = None, commit: bool = True) -> None:
        """One transaction with `rows` (topic, partition, value) and, where given, `raw` on ``touches``."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka, transactional_id="test-producer")
        await producer.start()
        try:
            await producer.begin_transaction()
            for topic, partition, value in rows:
                await producer.send_and_wait(topic, as_json(value), key=b"key", partition=partition)
            if raw is not None:
                await producer.send_and_wait("touches", raw, key=b"raw", partition=0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        finally:
            await producer.stop()

    @asynccontextmanager
    async def sink(self, **pace: Any) -> AsyncIterator[Sink]:
        """A running sink, stopped at the end."""
        self.registry = CollectorRegistry()
        sink = Sink(self.settings, SinkMetrics(self.registry), Pace(**pace))
        task = asyncio.create_task(sink.run())
        try:
            yield sink
        finally:
            sink.stop()
            await asyncio.wait_for(task, 5.0)

    async def one(self, expression: str) -> Any:
        """A single value from ClickHouse."""
        return (await self.server.query(f"SELECT toString({expression}) AS it"))[0]["it"]

    async def comes(self, expression: str, value: str, seconds: float = 15.0) -> None:
        """Wait until `expression` is `value`."""
        found = ""

        async def equal() -> bool:
            nonlocal found
            found = await self.one(expression)
            return bool(found == value)

        try:
            await until(equal, seconds)
        except AssertionError:
            pytest.fail(f"{expression} is {found}, not {value}")

    async def committed(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """The group's offsets."""
        found = await self.admin.list_consumer_group_offsets(f"{self.settings.app}-sink")
        return dict(found)

    async def reset(self) -> None:
        """Set the group's offsets to the start, as an operator would."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka, group_id=f"{self.settings.app}-sink", enable_auto_commit=False
        )
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.commit(dict.fromkeys(partitions, 0))
        finally:
            await consumer.stop()


@pytest_asyncio.fixture
async def pipe(settings: Settings, kafka: str) -> AsyncIterator[Pipe]:
    """Fresh topics, a fresh database, a group of its own."""
    settings = settings.model_copy(update={"kafka": kafka})
    server = Server(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    found = Pipe(settings, server, admin)
    await found.create()
    yield found
    await found.delete()
    await admin.close()
    await server.close()


EVERYTHING: tuple[Row, ...] = (
    ("touches", 0, touch("e1")),
    ("touches", 1, touch("e2", visitor_id="v2")),
    ("attributions", 0, attribution()),
    ("panes", 0, pane()),
    ("panes", 1, pane(models={"linear": [1_000_000, 10_000_000, 0, 0, 0, 0]})),
    ("spend", 0, spend()),
)
CHECKS = {
    "(SELECT count() FROM touches)": "2",
    "(SELECT sum(value) FROM credits WHERE model = 'linear')": "10",
    "(SELECT sum(clicks) FROM traffic)": "2",
    "(SELECT sum(revenue) FROM kpis WHERE model = 'linear')": "10",
    "(SELECT count() FROM spend_rows FINAL)": "1",
}


async def test_committed_records_are_seen_and_aborted_ones_are_not(pipe: Pipe) -> None:
    """What a transaction wrote arrives when it is committed, and never otherwise."""
    async with pipe.sink():
        await pipe.produce(("touches", 0, touch("aborted")), commit=False)
        await pipe.produce(*EVERYTHING)
        for expression, value in CHECKS.items():
            await pipe.comes(expression, value)
    assert await pipe.one("(SELECT countIf(event_id = 'aborted') FROM touches_rows)") == "0"


async def test_read_twice_changes_nothing(pipe: Pipe) -> None:
    """With the offsets reset everything is inserted again, and every number stays."""
    await pipe.produce(*EVERYTHING)
    async with pipe.sink():
        for expression, value in CHECKS.items():
            await pipe.comes(expression, value)
    await pipe.reset()
    async with pipe.sink():
        rows = "headwater_sink_rows_total"

        async def inserted() -> bool:
            return pipe.registry.get_sample_value(rows, {"table": "panes_rows"}) == 2.0

        await until(inserted)
    for expression, value in CHECKS.items():
        assert await pipe.one(expression) == value


async def test_a_single_click_is_seen_within_a_second(pipe: Pipe) -> None:
    """A batch goes when nothing more comes."""
    async with pipe.sink() as sink:

        async def ready() -> bool:
            return sink.ready()[0]

        await until(ready)
        await pipe.produce(("touches", 0, touch("e1")))
        begun = time.monotonic()
        await pipe.comes("(SELECT count() FROM touches)", "1", 5.0)
        assert time.monotonic() - begun < 1.0


async def test_a_restated_attribution_shows_new_credits_only(pipe: Pipe) -> None:
    """The second version's credits, none of the first's."""
    async with pipe.sink():
        await pipe.produce(("attributions", 1, attribution()))
        await pipe.comes("(SELECT sum(value) FROM credits WHERE model = 'last_touch')", "10")
        restated = attribution(version=2, value_micros=4_000_000, credits={"linear": [[0, 1_000_000, 4_000_000]]})
        await pipe.produce(("attributions", 1, restated))
        await pipe.comes("(SELECT groupArray((model, value)) FROM credits)", "[('linear',4)]")


async def test_an_unreadable_record_stops_nothing(pipe: Pipe) -> None:
    """Its neighbours are seen; its bytes are kept and it is counted."""
    async with pipe.sink():
        await pipe.produce(("touches", 0, touch("e1")), raw=b"\xffnot json")
        await pipe.produce(("touches", 0, touch("e2")))
        await pipe.comes("(SELECT count() FROM touches)", "2")
        await pipe.comes(
            "(SELECT (topic, partition, hex(value)) FROM sink_rejects)", "('touches',0,'FF6E6F74206A736F6E')"
        )
        undecodable = pipe.registry.get_sample_value("headwater_sink_undecodable_total", {"topic": "touches"})
        assert undecodable == 1.0


async def test_offsets_are_committed_to_the_end(pipe: Pipe) -> None:
    """Also past the transaction's markers, so that lag is zero at rest; each with its topic's incarnation."""
    async with pipe.sink():
        await pipe.produce(("touches", 0, touch("e1")), ("panes", 1, pane()))
        await pipe.comes("(SELECT count() FROM touches)", "1")
        await pipe.produce(("touches", 0, touch("e2")), ("panes", 1, pane()))
        await pipe.comes("(SELECT count() FROM touches)", "2")

    found = await pipe.committed()
    assert found[TopicPartition("touches", 0)].offset >= 3
    assert found[TopicPartition("touches", 0)].metadata.count("/") == 1


async def test_nothing_is_committed_while_clickhouse_is_away(pipe: Pipe, engine: EngineProcess) -> None:
    """The sink is not ready, holds what it can, and goes on by itself when ClickHouse is back."""
    async with pipe.sink(max_rows=10, chunk=10) as sink:

        async def ready() -> bool:
            return sink.ready()[0]

        await until(ready)
        engine.kill()
        try:
            await pipe.produce(*(("touches", 0, touch(f"e{number}")) for number in range(100)))

            async def unready() -> bool:
                return not sink.ready()[0]

            await until(unready)
            assert "ClickHouse at" in sink.ready()[1]
            assert sink._batch.rows + (sink._sent_batch.rows if sink._sent_batch else 0) <= 20
            assert all(offset.offset <= 0 for offset in (await pipe.committed()).values())
        finally:
            engine.start()
        await pipe.comes("(SELECT count() FROM touches)", "100", 30.0)
        await until(ready)


async def test_stopping_while_clickhouse_is_away_takes_under_five_seconds(pipe: Pipe, engine: EngineProcess) -> None:
    """What is held is given up, not committed, and read again."""
    async with pipe.sink() as sink:

        async def ready() -> bool:
            return sink.ready()[0]

        await until(ready)
        engine.kill()
        try:
            await pipe.produce(("touches", 0, touch("e1")))

            async def held() -> bool:
                return sink._sent_batch is not None

            await until(held)
            sink.stop()
            begun = time.monotonic()

            async def stopped() -> bool:
                return sink.ready()[1] == "stopped"

            await until(stopped, 5.0)
            assert time.monotonic() - begun < 5.0
        finally:
            engine.start()
    assert all(offset.offset <= 0 for offset in (await pipe.committed()).values())
    async with pipe.sink():
        await pipe.comes("(SELECT count() FROM touches)", "1")


async def test_a_second_sink_takes_over(pipe: Pipe) -> None:
    """Members share the partitions; when one leaves, nothing is missed or doubled."""
    async with pipe.sink() as first:

        async def ready() -> bool:
            return first.ready()[0]

        await until(ready)
        async with pipe.sink() as second:

            async def shared() -> bool:
                return second.ready()[0] and len(second._next) < len(TOPICS) * PARTITIONS

            await until(shared)
            await pipe.produce(*(("touches", n % 2, touch(f"e{n}", visitor_id=f"v{n}")) for n in range(50)))
        await pipe.produce(*(("touches", n % 2, touch(f"e{n}", visitor_id=f"v{n}")) for n in range(50, 100)))
        await pipe.comes("(SELECT count() FROM touches)", "100")


async def test_a_topic_created_again_is_read_from_its_start(pipe: Pipe) -> None:
    """Its rows win over those of its predecessor, whatever their offsets."""
    await pipe.produce(*(("panes", 0, pane(clicks=n)) for n in range(1, 6)))
    async with pipe.sink():
        await pipe.comes("(SELECT sum(clicks) FROM traffic)", "5")
    await pipe.delete()
    await pipe.create()
    await pipe.produce(("panes", 0, pane(clicks=2)))
    async with pipe.sink():
        await pipe.comes("(SELECT sum(clicks) FROM traffic)", "2")
    assert await pipe.one("(SELECT max(generation) FROM sink_generations WHERE topic = 'panes')") == "2"


async def test_it_waits_for_its_topics(pipe: Pipe) -> None:
    """Missing topics are said, not created."""
    await pipe.delete()
    async with pipe.sink() as sink:

        async def said() -> bool:
            return "missing topics: attributions" in sink.ready()[1]

        await until(said)
        assert not set(TOPICS) & set(await pipe.admin.list_topics())
        await pipe.create()
        await pipe.produce(*EVERYTHING)
        await pipe.comes("(SELECT count() FROM touches)", "2")


async def test_dead_letters_come_with_their_headers(pipe: Pipe) -> None:
    """Reason, detail and origin are headers; the bytes are untouched."""
    async with pipe.sink():
        producer = AIOKafkaProducer(bootstrap_servers=pipe.settings.kafka)
        await producer.start()
        await producer.send_and_wait("dead-letters", b"\x00\xff{", headers=list(LETTER_HEADERS), partition=0)
        await producer.stop()
        letter = "(SELECT (reason, detail, topic, partition, offset, hex(payload)) FROM dead_letters)"
        await pipe.comes(letter, "('malformed','unexpected end','clicks',2,77,'00FF7B')")


def test_batches_wait_longer_where_clickhouse_is_slower():
    """A few times an insert's duration, within bounds: quick ones are seen soon, slow ones are fewer and larger."""
    pace = Pace(min_wait=0.1, max_wait=1.0, patience=4.0)
    assert [pace.wait(insert_s) for insert_s in (0.0, 0.1, 9.0)] == [0.1, 0.4, 1.0]
