"""The registry on a real broker: entries that come after what they speak of count as if they had been first.

Rule: topics are compared with the reference, and ClickHouse's views with those of a run whose registry came first.
"""

from __future__ import annotations

import asyncio
import os
from datetime import date, timedelta

import pytest

from schemas.registry import CampaignEntry, SiteEntry
from schemas.settings import Settings
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrate import migrate
from streams.cli.registry_topic import write_registry
from streams.core.registry import Registry
from tests.integration.workers import PARTITIONS, Bench, Worker, assert_once, crowd_events, until
from tests.reference.cluster import Cluster
from tests.reference.compare import assert_same
from tests.reference.events import DAY
from tests.reference.model import reference
from tests.sinks.flow import SHIFT, pour, recent, samples

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SITE = SiteEntry(
    site="shop.example",
    domains=("own.example",),
    currency="EUR",
    timezone="Asia/Kolkata",
    lookbacks={"click": 7},
    duplicate_policy={"purchase": "once_per_click"},
    channels=[{"channel": "Blogs", "category": "blogs"}],
    sources={"blogs": ("blog.example.org",)},
)
CAMPAIGNS = [
    CampaignEntry(campaign="spring", site="shop.example", source="google", medium="cpc", partner="agency"),
    CampaignEntry(campaign="short", site="shop.example", channel="Affiliates", lookbacks={"click": 1, "landing": 0}),
]
VIEWS = {
    "touches": "*",
    "conversions": "* EXCEPT (version, first_reported_at, last_changed_at)",
    "credits": "*",
    "traffic": "*",
    "kpis": "*",
    "kpis_by_touch_time": "*",
    "spend": "*",
}


async def test_entries_that_come_late_count_as_if_they_had_been_first(empty_kafka, engine, tmp_path):
    """A site and campaigns, each after touches, conversions and costs were done, and before others that go on."""
    entries = [SITE, *CAMPAIGNS]
    events = [_recent(event) for event in crowd_events(15, 40)]
    address = empty_kafka.address
    settings = Settings(kafka=address, partitions=PARTITIONS)
    async with Bench(address) as bench, Worker(address, tmp_path) as worker:
        for number, entry in enumerate(([], CAMPAIGNS, [SITE])):
            if entry:
                await write_registry(settings, entry)
            await bench.send(events[number::3])
            await bench.finish(40, worker)
        end = len(entries)

        async def applied() -> bool:
            done = {line["partition"] for line in worker.events("registry_applied") if line["position"] >= end}
            return done == set(range(PARTITIONS))

        await until(applied, 40, lambda: worker.log.read_text()[-3000:])
        late = await bench.cluster(Registry(entries))
    first = Cluster(Registry(entries), PARTITIONS, seed=1, most=40).run(events)

    assert_same(late, reference(events, Registry(entries)))
    assert_once(late)
    assert {record["cause"] for _, record, _ in late.outputs("attributions")} >= {"first", "registry"}
    assert any(record["replaced"] for _, record, _ in late.outputs("spend"))
    rows = [await asyncio.to_thread(_rows, engine, name, cluster) for name, cluster in (("late", late), ("one", first))]
    for view in VIEWS:
        assert rows[0][view] == rows[1][view], view
        assert rows[0][view], view


def _recent(event):
    """An event moved to a hundred days ago, so that no table's time to live has passed."""
    moved = recent(event)
    if "date" in event:
        moved["date"] = str(date.fromisoformat(event["date"]) + timedelta(days=SHIFT // DAY))
    return moved


def _rows(engine, name, cluster):
    """What the views show of a cluster's output records."""
    database = f"registry_{name}_{os.getpid()}"
    settings = Settings(clickhouse_host=engine.host, clickhouse_port=engine.port, clickhouse_database=database)
    migrate(settings)
    pour(settings, samples(cluster, [SITE, *CAMPAIGNS]))
    with connect(settings) as client:
        return {
            view: client.query(f"SELECT {columns} FROM {view} ORDER BY ALL").result_rows
            for view, columns in VIEWS.items()
        }
