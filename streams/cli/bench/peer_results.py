"""What a peer has made of the topic, and what it should have.

Rule: only what is committed is read; of each partition and key the latest count holds, and partitions are added up.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.cli.bench.stage import Stage
    from streams.simulator.load import AdEvents, Load


def truth(job: str, load: AdEvents | Load, end_ms: int) -> tuple[Counter[str], set[str]]:
    """What the counts are in the end, "campaign|start" -> number, and the ids of what a duplicate filter passes on."""
    from streams.simulator.load import campaign_of_ads

    counts: Counter[str] = Counter()
    ids: set[str] = set()
    ads = campaign_of_ads()
    for _, _, value in load.make(end_ms):
        event = orjson.loads(value)
        if job == "yahoo":
            if event["event_type"] == "view":
                counts[f"{ads[event['ad_id']]}|{int(event['event_time']) // 10_000 * 10_000}"] += 1
        elif event["event_id"] not in ids:
            ids.add(event["event_id"])
            campaign = event.get("campaign")
            if campaign is None:
                campaign = event["url"].partition("utm_campaign=")[2].partition("&")[0]
            counts[f"{campaign}|{event['time'] // 60_000 * 60_000}"] += 1
    return counts, ids


class Follower:
    """Reads the counts that a peer has committed: the latest of each partition and key."""

    def __init__(self, kafka: str, topic: str, partitions: int) -> None:
        from aiokafka import AIOKafkaConsumer

        self._place = (topic, partitions)
        self._consumer: Any = AIOKafkaConsumer(
            bootstrap_servers=kafka,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 << 20,
        )
        self.latest: dict[tuple[int, str], int] = {}

    async def __aenter__(self) -> Self:
        """Begin at the topic's start."""
        from aiokafka import TopicPartition

        topic, partitions = self._place
        await self._consumer.start()
        self._consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        return self

    async def __aexit__(self, *error: object) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def read(self) -> int:
        """Take what has come; how many events are counted by now."""
        for records in (await self._consumer.getmany(timeout_ms=50)).values():
            for record in records:
                key, value = record.key.decode(), record.value
                if value.startswith(b"{"):  # a window of Quix Streams, whose key is the campaign alone
                    window = orjson.loads(value)
                    key, value = f"{key}|{window['start']}", window["value"]
                self.latest[record.partition, key] = int(value)
        return sum(self.latest.values())

    def sums(self) -> Counter[str]:
        """The counts, all partitions together."""
        found: Counter[str] = Counter()
        for (_, key), count in self.latest.items():
            campaign, start, *_ = key.split("|")
            found[f"{campaign}|{start}"] += count
        return found


def difference(found: Mapping[str, int], counts: Mapping[str, int]) -> str:
    """In what the counts `found` differ from the true ones."""
    wrong = [key for key in {*found, *counts} if found.get(key, 0) != counts.get(key, 0)]
    return (
        f"{len(wrong):,} of {len(counts):,} counts differ, "
        f"{sum(found.values()):,} events counted of {sum(counts.values()):,}"
    )


async def check_events(stage: Stage, topic: str, ids: set[str]) -> str:
    """What is wrong with the events that were passed on; "" where they are the right ones, each once."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(
        bootstrap_servers=stage.settings.kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    found: Counter[str] = Counter()
    try:
        tps = [TopicPartition(topic, number) for number in range(stage.settings.partitions)]
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found.update(orjson.loads(record.value)[0] for record in records)
    finally:
        await consumer.stop()
    twice = sum(count - 1 for count in found.values())
    missing, strange = len(ids - found.keys()), len(found.keys() - ids)
    if twice or missing or strange:
        return (
            f"of {len(ids):,} events to pass on {missing:,} are missing, {twice:,} came again, {strange:,} are strange"
        )
    return ""
