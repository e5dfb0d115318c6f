"""The worker on a real broker: whatever is killed, stopped, deleted or sent, the final rows are the reference's."""

from __future__ import annotations

import shutil
import signal
import time

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.kafka import Node
from streams.core.ids import partition_of
from streams.core.registry import Registry
from tests.integration.workers import PARTITIONS, Bench, Worker, assert_once, crowd_events, dead_letters, until
from tests.reference.compare import assert_same
from tests.reference.model import reference

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

GARBAGE = [(topic, place, b"\xff\x00garbage") for topic in ("clicks", "conversions") for place in range(PARTITIONS)]


async def assert_exact(bench, events):
    """What lies in the output topics equals the reference; nothing was taken twice."""
    registry = Registry(())
    cluster = await bench.cluster(registry)
    assert_same(cluster, reference(events, registry))
    assert_once(cluster)
    return cluster


@pytest.mark.faults
async def test_two_workers_one_stopped_and_started(empty_kafka, tmp_path):
    """Workers come and go under load: the rows stay exact, kept units stay open, partitions go on within seconds."""
    events = crowd_events(50, 40)
    async with (
        Bench(empty_kafka.address) as bench,
        Worker(empty_kafka.address, tmp_path, "a") as first,
        Worker(empty_kafka.address, tmp_path, "b") as second,
    ):
        await first.ready()
        await second.ready()
        slices = [events[start::3] for start in range(3)]
        await bench.send([*slices[0], *GARBAGE])
        opened = len(first.events("unit_open"))
        await second.stop()
        gone = time.monotonic()
        await bench.send(slices[1])
        await bench.finish(20, first)
        assert time.monotonic() - gone < 15
        assert len(first.events("unit_open")) == opened + 2, "the kept units were opened again"
        await second.start()
        await bench.send(slices[2])
        await bench.finish(30, first, second)
        await assert_exact(bench, events)
        assert not first.events("unit_failed"), first.log.read_text()[-3000:]


@pytest.mark.faults
async def test_zombie_is_fenced_and_gives_way(empty_kafka, tmp_path):
    """A worker that slept past its session commits nothing more, closes its units and joins anew, without a fight."""
    events = crowd_events(50, 40)
    async with (
        Bench(empty_kafka.address) as bench,
        Worker(empty_kafka.address, tmp_path, "a") as sleeper,
        Worker(empty_kafka.address, tmp_path, "b") as other,
    ):
        await sleeper.ready()
        await other.ready()
        await bench.send([*events[::2], *GARBAGE])
        sleeper.signal(signal.SIGSTOP)
        await bench.finish(40, sleeper, other)
        assert other.events("partitions_assigned")[-1]["partitions"] == list(range(PARTITIONS))
        before = len(other.events("unit_open"))
        sleeper.signal(signal.SIGCONT)
        await bench.send(events[1::2])
        await bench.finish(40, sleeper, other)
        await assert_exact(bench, events)
        await sleeper.ready()
        await other.ready()
        shared = [set(worker.events("partitions_assigned")[-1]["partitions"]) for worker in (sleeper, other)]
        assert not shared[0] & shared[1]
        failed = sleeper.events("unit_failed") + other.events("unit_failed")
        assert len(failed) <= PARTITIONS, "they fenced each other"
        assert len(other.events("unit_open")) <= before + PARTITIONS


async def test_state_is_only_an_index(empty_kafka, tmp_path):
    """State deleted, put back from an older copy, or older than the log begins: rebuilt; deleted input is counted."""
    events = crowd_events(40, 30)
    old = tmp_path / "old"
    async with Bench(empty_kafka.address) as bench, Worker(empty_kafka.address, tmp_path) as worker:

        async def run(some):
            await bench.send(some)
            await bench.finish(30, worker)

        await run([*events[0::3], *GARBAGE])
        await worker.stop()
        shutil.copytree(worker.state, old)
        shutil.rmtree(worker.state)
        await worker.start()
        await run(events[1::3])
        opened = worker.events("unit_open")
        assert all(line["restored"] for line in opened[-PARTITIONS:])
        await worker.stop()

        shutil.rmtree(worker.state)
        shutil.copytree(old, worker.state)
        await worker.start()
        await run(events[2::3])
        await assert_exact(bench, events)
        assert not worker.events("state_wiped")
        await worker.stop()

        shutil.rmtree(worker.state)
        shutil.copytree(old, worker.state)
        ends = {tp: offset for tp, offset in (await bench.committed()).items() if tp.topic == "clicks"}
        outputs = await bench.outputs(["touches"])
        await bench.truncate("touches", 0, outputs["touches", 0][-1].offset)
        lone = crowd_events(1, 40)[0] | {"event_id": "lone", "type": "click", "visitor_id": "x"}
        await bench.send([("clicks", 1, b"lost")] * 5)
        await bench.truncate("clicks", 1, max(n for tp, n in ends.items() if tp.partition == 1) + 5)
        await worker.start()
        await run([("clicks", 1, b"kept"), lone])
        assert [line["partition"] for line in worker.events("state_wiped")] == [0]

        async def counted():
            return (await worker.metrics()).get("headwater_lost_records_total", 0) >= 5

        await until(counted, 10)
        values = [value for value, _ in dead_letters(await bench.cluster(Registry(())))]
        assert b"kept" in values
        assert b"lost" not in values


async def test_records_of_all_kinds(empty_kafka, tmp_path):
    """What cannot be taken ends in dead-letters with its bytes and where it was; neighbours count."""
    now = int(time.time() * 1000)

    def touch(visitor, event_id, **fields):
        return {
            "type": "click",
            "event_id": event_id,
            "site": "shop.example",
            "visitor_id": visitor,
            "time": now - 1000,
            "source": "google",
            "medium": "cpc",
        } | fields

    order = touch(
        "ann", "o", type="conversion", action="purchase", order_id="o1", value="12.34", currency="EUR", time=now
    )
    place = partition_of("ann", PARTITIONS)
    bad = {
        "malformed": [b"\xff\xfe{", b"[1, 2]", b"", None],
        "schema": [orjson.dumps(touch("ann", "w", visitor_id=5))],
        "too_large": [orjson.dumps(touch("ann", "p", padding="x" * 900_000)), b"y" * 1_100_000],
        "in_future": [orjson.dumps(touch("ann", "f", time="2999-01-01T00:00:00Z"))],
    }
    async with Bench(empty_kafka.address) as bench, Worker(empty_kafka.address, tmp_path) as worker:
        send = bench.producer.send
        count = 0
        for values in bad.values():
            for value in values:
                good = orjson.dumps(touch("ann", f"n{count}"))
                count += 1
                await send("clicks", value, key=b"ann", partition=place, timestamp_ms=now)
                await send("clicks", good, key=b"ann", partition=place)
        # A batch that is small only as long as it is compressed.
        bomb = bytes(12_000_000)
        async with AIOKafkaProducer(
            bootstrap_servers=bench.address, compression_type="gzip", max_batch_size=16_000_000
        ) as packed:
            batch = packed.create_batch()
            batch.append(key=b"ann", value=bomb, timestamp=now)
            await (await packed.send_batch(batch, "clicks", partition=place))
        bad["too_large"].append(bomb)
        stray = orjson.dumps(touch("ann", "stray"))
        wrong = (place + 1) % PARTITIONS
        await send(
            "clicks", stray, key=b"odd", partition=wrong, timestamp_ms=now - 5000, headers=[("from", b"elsewhere")]
        )
        await send("orders-by-visitor", b'{"order": "none"}', key=b"ann", partition=place)
        await bench.producer.flush()
        await bench.send([order], astray=2)
        await bench.finish(30, worker)

        cluster = await bench.cluster(Registry(()))
        told = list(dead_letters(cluster))
        sent = [(reason, value or b"") for reason, values in bad.items() for value in values]
        sent.append(("malformed", b'{"order": "none"}'))
        assert sorted((headers["reason"], value) for value, headers in told) == sorted(sent)
        for _, headers in told:
            assert set(headers) == {"reason", "detail", "topic", "partition", "offset", "time"}
            assert headers["detail"]
            assert (headers["topic"], headers["partition"]) in {
                (t, str(place)) for t in ("clicks", "orders-by-visitor")
            }
            if headers["topic"] == "clicks":
                assert headers["time"] == str(now)
        assert_once(cluster)

        assert {key[2] for key in cluster.touches()} == {"stray", *(f"n{n}" for n in range(count))}
        (attribution,) = cluster.attributions().values()
        assert len(attribution["touches"]) == count + 1
        moved = [record for record in (await bench.outputs(["clicks"]))["clicks", place] if record.value == stray]
        assert [(r.key, r.timestamp, r.headers) for r in moved] == [(b"odd", now - 5000, (("from", b"elsewhere"),))]

        async def conserved():
            found = await worker.metrics()
            sums = {
                name: sum(v for k, v in found.items() if k.startswith("headwater_events_total") and f'"{name}"' in k)
                for name in ("accepted", "duplicate", "dead_letter", "moved")
            }
            lags = [v for k, v in found.items() if k.startswith("headwater_consumer_lag{")]
            # The order, and once more on its way to the visitor.
            return sums == {
                "accepted": count + 1 + 2,
                "duplicate": 0,
                "dead_letter": len(sent),
                "moved": 2,
            } and (len(lags), sum(lags)) == (4 * PARTITIONS, 0)

        await until(conserved, 10)


@pytest.mark.faults
@pytest.mark.timeout(200)
async def test_kafka_goes_away(fresh_kafka, tmp_path):
    """A broker that dies and comes back costs nothing; without one the worker still ends within 10 s of SIGTERM."""
    events = crowd_events(40, 30)
    async with Bench(fresh_kafka.address) as bench, Worker(fresh_kafka.address, tmp_path) as worker:
        await worker.ready()
        await bench.send([*events[::2], *GARBAGE])
        await fresh_kafka.stop(0)
        await fresh_kafka.start()
        await bench.send(events[1::2])
        await bench.finish(100, worker)
        await assert_exact(bench, events)
        await worker.ready()
        await bench.send(GARBAGE)
        await fresh_kafka.stop(0)
        assert await worker.stop(10) < 10
        await fresh_kafka.start()


async def test_what_only_an_operator_can_mend_ends_it(empty_kafka, tmp_path):
    """Another number of partitions, a port that is taken: one clear line, and an exit status that says so."""

    async def complaint(name, kafka, **settings):
        async with Worker(kafka, tmp_path, name, **settings) as worker:
            assert await worker.exit_code(60) == 1
            text = worker.log.read_text()
            assert "Traceback" not in text
            return text.splitlines()[-1]

    async with Bench(empty_kafka.address), Worker(empty_kafka.address, tmp_path, "right") as worker:
        assert await complaint("other", empty_kafka.address, partitions=PARTITIONS + 2) == (
            "headwater: topic clicks has 4 partitions, not 6 (HEADWATER_PARTITIONS); "
            "their number never changes in place"
        )
        await worker.ready()
        assert (await complaint("taken", empty_kafka.address, worker_metrics_port=worker.port)).startswith(
            "headwater: metrics cannot be served on 127.0.0.1:"
        )


async def test_it_waits_for_what_is_missing(tmp_path):
    """No Kafka, no topics, no directory for its state: it says so, once, and goes on when that is mended."""
    node = Node(tmp_path / "kafka", heap_mb=512)
    async with node:
        pass
    async with Worker(node.address, tmp_path) as worker:

        async def says(text):
            status, reason = await worker.readiness()
            return status == 503 and text in reason

        await until(lambda: says(f"Kafka at {node.address} does not answer"), 30)
        await node.start()
        try:
            await until(lambda: says("topics clicks, conversions"), 60)
            worker.state.mkdir(parents=True, exist_ok=True)
            app = worker.state / "headwater"
            app.write_text("in the way")
            async with Bench(node.address) as bench:
                await until(lambda: says("File exists"), 60)
                app.unlink()
                await worker.ready(60)
                await bench.send(GARBAGE)
                await bench.finish(30, worker)
        finally:
            await node.stop(1)
    told = [line["reason"] for line in worker.events("worker_not_ready")]
    assert len([reason for reason in told if "does not answer" in reason]) == 1
    assert len(worker.events("unit_failed")) <= 2 * PARTITIONS
    assert len(worker.events("worker_ready")) == 1
    assert not worker.events("unit_crashed")
