"""The registry at the collector, followed from Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from deploy.local.probe import until
from schemas.registry import SiteEntry
from streams.collector import campaigns
from streams.collector.campaigns import CampaignBook, CampaignFollower

if TYPE_CHECKING:
    import pytest

NOW = 1_790_000_000_000
PARTITION = TopicPartition("campaigns", 0)


class Message(NamedTuple):
    """A record, as far as it is looked at."""

    key: bytes
    value: bytes | None


class Kafka:
    """Stands for aiokafka's consumer: away for the first `away` tries, then with `messages`."""

    def __init__(self, away: int, *messages: Message) -> None:
        self.away = away
        self.messages = list(messages)
        self.started = self.stopped = 0

    def __call__(self, **options: Any) -> Kafka:
        assert options["isolation_level"] == "read_committed"
        return self

    async def start(self) -> None:
        self.started += 1
        if self.started <= self.away:
            raise KafkaConnectionError("nobody there")

    async def stop(self) -> None:
        self.stopped += 1

    async def topics(self) -> set[str]:
        return {"campaigns"}

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [PARTITION]

    async def seek_to_beginning(self, _partition: TopicPartition) -> None:
        self.read = 0

    async def end_offsets(self, _partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {PARTITION: len(self.messages)}

    async def position(self, _partition: TopicPartition) -> int:
        return self.read

    async def getmany(self, timeout_ms: int) -> dict[TopicPartition, list[Message]]:
        await asyncio.sleep(0)
        found, self.read = self.messages[self.read : self.read + 1], min(self.read + 1, len(self.messages))
        return {PARTITION: found}


async def test_kafka_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each consumer that could not start is stopped, its absence is told of once, and then the registry is read."""
    entry = SiteEntry(site="shop", domains=["shop.example"])
    kafka = Kafka(5, Message(entry.key.encode(), entry.model_dump_json().encode()))
    monkeypatch.setattr(campaigns, "AIOKafkaConsumer", kafka)
    monkeypatch.setattr(campaigns, "_BACKOFF_S", 0)
    follower = CampaignFollower({})
    with structlog.testing.capture_logs() as logs:
        await follower.open()

        async def ready() -> bool:
            return follower.book.ready

        assert await until(ready, 20)
        assert kafka.stopped == 5
        await follower.close()
    assert kafka.started == kafka.stopped == 6
    assert [line["event"] for line in logs] == ["registry_unreachable", "registry_read"]
    assert follower.book.domains == {"shop.example"}


async def test_closing_before_kafka_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left running."""
    kafka = Kafka(1 << 30)
    monkeypatch.setattr(campaigns, "AIOKafkaConsumer", kafka)
    follower = CampaignFollower({})
    await follower.open()

    async def tried() -> bool:
        return kafka.started > 0

    assert await until(tried, 20)
    await follower.close()
    await CampaignFollower({}).close()
    assert kafka.started == kafka.stopped


def test_entries_that_are_none() -> None:
    """Are passed over and told of by their key, with nothing of theirs that could be taken for lines of the log."""
    book = CampaignBook(ready=True)
    with structlog.testing.capture_logs() as logs:
        book.take([(b"campaign/\xff\n{}", b"{"), (b"x", b'{"kind":"site"}'), (b"y", b"\xff"), (b"z", None)])
    assert [line["event"] for line in logs] == ["registry_record_ignored"] * 3
    assert len(book) == 0
