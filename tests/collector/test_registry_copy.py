"""What a collector knows of the registry, kept for a start while Kafka is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.probe import until
from schemas.registry import CampaignEntry, SiteEntry
from streams.collector import campaigns
from streams.collector.campaigns import CampaignFollower
from streams.collector.registry_copy import read_copy, write_copy
from tests.collector.test_campaigns import Kafka, Message

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NOW = 1_790_000_000_000
SHOP = SiteEntry(site="shop", domains=["shop.example"], consent_default="denied", timezone="Europe/Berlin")
SPRING = CampaignEntry(
    campaign="spring", site="shop", destinations=["https://shop.example/{sub1}"], variants=["a", "b"]
)
OLD = CampaignEntry(campaign="old", site="shop", destinations=["https://shop.example/"])


def message(entry: SiteEntry | CampaignEntry) -> Message:
    return Message(entry.key.encode(), entry.model_dump_json().encode())


async def follow(monkeypatch: pytest.MonkeyPatch, kafka: Kafka, copy: Path, known: set[str]) -> CampaignFollower:
    """A follower that has come to know the campaigns `known`, closed again."""
    monkeypatch.setattr(campaigns, "AIOKafkaConsumer", kafka)
    monkeypatch.setattr(campaigns, "_BACKOFF_S", 0)
    follower = CampaignFollower({}, copy)
    await follower.open()

    async def there() -> bool:
        found = {name for name in ("spring", "old") if follower.book.find(name, "shop", NOW) is not None}
        return follower.book.ready and found == known and kafka.started > 0

    assert await until(there, 20)
    await follower.close()
    return follower


async def test_a_start_without_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was known is known again; what Kafka has no more is forgotten once it is there."""
    copy = tmp_path / "registry"
    first = await follow(monkeypatch, Kafka(0, message(SHOP), message(SPRING), message(OLD)), copy, {"spring", "old"})
    again = await follow(monkeypatch, Kafka(1 << 30), copy, {"spring", "old"})
    assert again.book.site("shop", NOW) == first.book.site("shop", NOW)
    assert again.book.find("spring", "shop", NOW) == first.book.find("spring", "shop", NOW)
    await follow(monkeypatch, Kafka(0, message(SHOP), message(SPRING)), copy, {"spring"})
    await follow(monkeypatch, Kafka(1 << 30), copy, {"spring"})


async def test_without_a_copy_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new collector waits for Kafka; a copy that is not whole is none; a disk that fails stops nobody."""
    monkeypatch.setattr(campaigns, "AIOKafkaConsumer", Kafka(1 << 30))
    copy = tmp_path / "registry"
    for content in (None, b"", b"nonsense", b"0" * 16 + b"\n[]"):
        if content is not None:
            copy.write_bytes(content)
        follower = CampaignFollower({}, copy)
        await follower.open()
        assert not follower.book.ready
        await follower.close()
    await follow(monkeypatch, Kafka(0, message(SPRING)), tmp_path / "none" / "registry", {"spring"})


@given(st.lists(st.tuples(st.binary(max_size=8), st.text(max_size=20).map(str.encode)), max_size=4), st.integers(0, 99))
def test_all_of_it_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[bytes, bytes]], cut: int
) -> None:
    """Any keys and values come back; cut off anywhere it is nothing."""
    path = tmp_path_factory.mktemp("copy") / "registry"
    write_copy(path, pairs)
    assert read_copy(path) == pairs
    data = path.read_bytes()
    if cut < len(data):
        path.write_bytes(data[:cut])
        assert read_copy(path) in ([], None) if not pairs else read_copy(path) is None
