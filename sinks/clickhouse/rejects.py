"""Records that the sink cannot read: they stop nobody, and are kept whole in a table of their own.

Rule: nearly all records are fetched without their place, and only the bad ones are asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from schemas import fetched
from sinks.clickhouse.generations import OFFSET_BITS
from sinks.clickhouse.native import TIME, Block

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import TopicPartition

    from sinks.clickhouse.native import Encoded


class Record(fetched.Record, Protocol):
    """What is needed of a consumed record (aiokafka's ``ConsumerRecord`` has it)."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102


class Reject(NamedTuple):
    """A record that could not be read, and why."""

    record: Record
    error: str


class Placed(NamedTuple):
    """A record that knows where it lies."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def placed(found: Sequence[Reject], topic: str, fetched: Mapping[TopicPartition, Sequence[Any]]) -> list[Reject]:
    """The same, of `topic` and among the records `fetched`, with records that know their place."""
    return [reject._replace(record=_placed(reject.record, topic, fetched)) for reject in found]


def _placed(record: Any, topic: str, fetched: Mapping[TopicPartition, Sequence[Any]]) -> Any:
    if hasattr(record, "partition"):
        return record
    found = _content(record)
    part = next(
        part
        for part, records in fetched.items()
        if part.topic == topic and any(record.offset == other.offset and found == _content(other) for other in records)
    )
    return Placed(part.topic, part.partition, *found)


def _content(record: Any) -> tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


def rows(found: Sequence[Reject], generation: int) -> Encoded:
    """Of records that know their place -> sink_rejects."""
    records = [reject.record for reject in found]
    block = Block("sink_rejects", len(records))
    block.number("time", TIME, [record.timestamp for record in records])
    block.low("topic", [record.topic for record in records])
    block.number("partition", "Int32", [record.partition for record in records])
    block.number("offset", "Int64", [record.offset for record in records])
    block.text("error", [reject.error for reject in found])
    block.binary("key", [record.key or b"" for record in records])
    block.binary("value", [record.value or b"" for record in records])
    block.number("ver", "UInt64", [(generation << OFFSET_BITS) + record.offset for record in records])
    return block.encoded()
