"""The sink from a real Kafka to a real engine."""

from __future__ import annotations

import time

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from sinks.clickhouse.consumer import TOPICS, Pace
from tests.sinks.conftest import EngineProcess
from tests.sinks.pipe import PARTITIONS, Pipe, Row, until
from tests.sinks.samples import LETTER_HEADERS, attribution, pane, spend, touch

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

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
