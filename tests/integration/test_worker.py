"""The worker on a real broker: whatever is killed, stopped, deleted or sent, the final rows are the reference's."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from pathlib import Path

import pytest

from streams.core.registry import Registry
from tests.integration.workers import PARTITIONS, Bench, Worker, assert_once, crowd_events, dead_letters, until
from tests.reference.compare import assert_same
from tests.reference.model import reference

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

GARBAGE = [(topic, place, b"\xff\x00garbage") for topic in ("clicks", "conversions") for place in range(PARTITIONS)]


async def assert_exact(bench, events):
    """What lies in the output topics equals the reference; nothing was taken twice."""
    registry = Registry(())
    cluster = await bench.cluster(registry)
    assert_same(cluster, reference(events, registry))
    assert_once(cluster)
    return cluster


@pytest.mark.faults
async def test_three_kills_change_nothing(fresh_kafka, tmp_path):
    """A worker killed three times in mid-stream comes to the rows of an undisturbed run, and commits to the end."""
    events = crowd_events(24, 100)
    async with Bench(fresh_kafka.address) as bench, Worker(fresh_kafka.address, tmp_path) as worker:
        await bench.send([*events, *GARBAGE])
        for share in (0.2, 0.45, 0.7):

            async def far_enough(share=share):
                return await bench.done_events() > share * len(events)

            await until(far_enough, 40, lambda: worker.log.read_text()[-3000:])
            assert not await bench.caught_up()
            await worker.kill()
            await worker.start()
        await bench.finish(40, worker)
        await assert_exact(bench, events)
        assert await worker.stop() < 5


@pytest.mark.faults
async def test_two_workers_one_stopped_and_started(fresh_kafka, tmp_path):
    """Workers come and go under load: the rows stay exact, kept units stay open, partitions go on within seconds."""
    events = crowd_events(30, 100)
    async with (
        Bench(fresh_kafka.address) as bench,
        Worker(fresh_kafka.address, tmp_path, "a") as first,
        Worker(fresh_kafka.address, tmp_path, "b") as second,
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
