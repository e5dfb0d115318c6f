"""Records as Kafka's client decodes them, without the copy that it makes of each by itself.

Rule: those of `BARE`, nearly all that the sink reads, come so: they have offset, time stamp, key, value and headers,
and know neither topic nor partition (`placed` tells them, for the few that need to). aiokafka (0.14.0) copies each
record into a ``ConsumerRecord``, which takes as long as to read it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

BARE: Final = frozenset(("touches", "panes", "attributions", "orders"))
"""Topics whose records come bare."""


class Placed(NamedTuple):
    """A record that knows where it lies."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def unwrap_records(consumer: AIOKafkaConsumer) -> None:
    """Have a started `consumer` return records of `BARE` topics as they are decoded."""
    fetcher = consumer._fetcher  # noqa: SLF001
    fetcher._records = _Fetched(fetcher._records)  # noqa: SLF001


def placed(record: Any, fetched: Mapping[TopicPartition, Sequence[Any]]) -> Any:
    """`record`, one of `fetched`, as a record that knows its place."""
    if hasattr(record, "partition"):
        return record
    part = next(part for part, records in fetched.items() if any(record is other for other in records))
    return Placed(
        part.topic, part.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )


class _Fetched(OrderedDict[Any, Any]):
    """What the fetcher has at hand by partition: its decoder is told, as it comes in, to wrap nothing."""

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:
        decoder = getattr(fetched, "_partition_records", None)  # None: an error
        if decoder is not None and tp.topic in BARE:
            decoder._consumer_record = _as_it_is  # noqa: SLF001
        super().__setitem__(tp, fetched)


def _as_it_is(_tp: TopicPartition, record: Any) -> Any:
    return record
