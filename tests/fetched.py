"""Records as if they were fetched from Kafka: read from a batch's bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from schemas.fetched import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def as_fetched(records: Iterable[Any]) -> Sequence[Any]:
    """The same ones, of offsets that rise from 0 on; none of no records."""
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, 0, 0, 1 << 26)
    count = 0
    for record in records:
        builder.append(record.offset, record.timestamp, record.key, record.value, list(record.headers))
        count += 1
    return RecordBatch(memoryview(bytes(builder.build()))).records() if count else ()
