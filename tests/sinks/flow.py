"""The whole flow into ClickHouse without Kafka: events through the core, its output records through the decoders.

Rule: what the engine holds comes from the output records alone, by the sink's own decoders, as in a running stack.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from schemas.registry import CampaignEntry, SiteEntry
from schemas.settings import Settings
from sinks.clickhouse.decoders import DECODERS, encode
from sinks.clickhouse.server import Server
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.events import DAY, T0
from tests.sinks.samples import Sample

Entry = SiteEntry | CampaignEntry
SHIFT = (int(time.time() * 1000) // DAY - 100) * DAY - T0 // DAY * DAY
"""From the reference's times to a hundred days ago, by whole days: no table's time to live has passed."""


def recent(event: dict[str, Any]) -> dict[str, Any]:
    """An event of the reference's times, moved to ours."""
    times = ("time", "received_at", "sent_at", "from", "to")
    return event | {name: event[name] + SHIFT for name in times if type(event.get(name)) is int}


def recent_entry(entry: Entry) -> Entry:
    """A registry entry, moved likewise."""
    return entry.model_copy(update={"valid_from": entry.valid_from + SHIFT}) if entry.valid_from else entry


def flowed(events: Iterable[dict[str, Any]], entries: Iterable[Entry] = (), *, one_by_one: bool = False) -> Cluster:
    """A cluster that has taken `events`, all at once, or one by one so that each makes its own versions."""
    cluster = Cluster(Registry(entries), 1 if one_by_one else 3, chaos=not one_by_one, most=1 if one_by_one else 40)
    for event in events:
        cluster.send(event)
        if one_by_one:
            cluster.run()
    cluster.run()
    return cluster


def samples(cluster: Cluster, entries: Iterable[Entry] = ()) -> list[Sample]:
    """The output records of a cluster and the registry's entries, as the sink reads them."""
    found = [
        Sample(topic, written.value, partition, offset, key=written.key, headers=tuple(written.headers))
        for (topic, partition), log in cluster.logs.items()
        for offset, written in enumerate(log)
        if topic in DECODERS
    ]
    for offset, entry in enumerate(entries):
        found.append(Sample("campaigns", entry.model_dump_json().encode(), offset=offset, key=entry.key.encode()))
    return found


def pour(settings: Settings, found: Iterable[Sample], generation: int = 1) -> None:
    """Decode and insert records."""
    asyncio.run(_pour(settings, list(found), generation))


async def _pour(settings: Settings, found: list[Sample], generation: int) -> None:
    server = Server(settings)
    try:
        for topic in dict.fromkeys(sample.topic for sample in found):
            blocks, rejected = encode(topic, [sample for sample in found if sample.topic == topic], generation)
            assert rejected == []
            for block in blocks:
                await server.insert(block.table, block.columns, [block.body])
    finally:
        await server.close()
