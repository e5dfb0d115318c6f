"""Workers come, go and die: who has which partitions then, how soon, and what it costs the others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from schemas.incarnations import incarnations
from streams.core.registry import Registry
from streams.worker.app import SESSION_S
from tests.integration.workers import PARTITIONS, Bench, Worker, crowd_events, until
from tests.reference.compare import assert_same
from tests.reference.model import reference

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(180)]


async def members(admin: AIOKafkaAdminClient) -> list[tuple]:
    """The group's members."""
    (response,) = await admin.describe_consumer_groups(["headwater"])
    (group,) = response.groups
    return group[5]


def partitions(worker: Worker) -> list[int]:
    """What the group gave it last."""
    return worker.events("partitions_assigned")[-1]["partitions"]


async def test_who_is_killed_comes_back_and_who_stops_leaves(empty_kafka, tmp_path):
    """Started again within its session, a worker has its partitions back, and nobody else pauses.

    One that stops is gone from the group when its process is; the others have its partitions, and keep their own open.
    """
    events = crowd_events(30, 40)
    async with (
        Bench(empty_kafka.address) as bench,
        Worker(empty_kafka.address, tmp_path, "a") as first,
        Worker(empty_kafka.address, tmp_path, "b") as second,
    ):

        async def shared():
            return bool(second.events("partitions_assigned")) and len(partitions(first)) == PARTITIONS // 2

        await first.ready()
        await until(shared, 60, lambda: second.log.read_text()[-3000:])
        await bench.send(events[::2])
        before, had = len(first.events("partitions_assigned")), partitions(second)
        await second.kill()
        killed = time.monotonic()
        await second.start()

        async def joined():
            return len(second.events("partitions_assigned")) > 1

        await until(joined, 60, lambda: second.log.read_text()[-3000:])
        if time.monotonic() - killed < SESSION_S - 1:  # a machine under load may take longer to start a process
            assert partitions(second) == had
            assert len(first.events("partitions_assigned")) == before
        await second.ready()
        await until(shared, 60)
        opened, pauses = len(first.events("unit_open")), len(first.events("rebalanced"))
        assert len(await members(bench.admin)) == 2
        await second.stop(20)
        assert len(await members(bench.admin)) == 1
        await bench.send(events[1::2])
        await bench.finish(60, first)
        assert partitions(first) == list(range(PARTITIONS))
        assert len(first.events("partitions_assigned")[-1]["kept"]) == PARTITIONS // 2
        assert len(first.events("unit_open")) == opened + PARTITIONS // 2

        async def measured():
            found = (await first.metrics())["headwater_rebalance_seconds_count"]
            return found == len(first.events("rebalanced")) > pauses

        await until(measured, 10)
        stated = await bench.admin.list_consumer_group_offsets("headwater")
        clicks = await incarnations(bench.admin, ["clicks"])
        assert {offset.metadata for tp, offset in stated.items() if tp.topic == "clicks"} == {*clicks.values()}
        registry = Registry(())
        assert_same(await bench.cluster(registry), reference(events, registry))
