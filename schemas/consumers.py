"""What aiokafka's consumers return: records as they are decoded, or whole batches of them.

Rule: which batches count, and where the consumer stands after them, is aiokafka's business still. By itself it takes up
each record by itself, and copies it into a `ConsumerRecord` with topic, partition and sizes: a microsecond and a half a
record (0.14.0).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from schemas.fetched import RecordBatch, join

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

_offset: Final = attrgetter("offset")


def unwrap_records(consumer: AIOKafkaConsumer, topics: Container[str] | None = None) -> dict[TopicPartition, int]:
    """Have a started `consumer` return records of `topics` (None: all) as sequences of `schemas.fetched.Record`.

    Of the partitions in what this returns, it returns none that were written later than is said there (ms).
    """
    fetcher = consumer._fetcher  # noqa: SLF001
    if type(fetcher._records) is not _FetchedRecords:  # noqa: SLF001
        fetcher._records = _FetchedRecords(fetcher._records, topics)  # noqa: SLF001
    found: dict[TopicPartition, int] = fetcher._records.until  # noqa: SLF001
    return found


def return_batches(consumer: AIOKafkaConsumer) -> None:
    """Have a started `consumer` return, in the place of each record, the list of records of one batch of Kafka's.

    What it does besides for each single record is half the cost of reading. The first batch after a seek may begin with
    records from before.
    """
    consumer._fetcher._records = _FetchedBatches(consumer._fetcher._records)  # noqa: SLF001


class _FetchedBatches(OrderedDict[Any, Any]):
    """What the fetcher has at hand by partition: of each batch its decoder sees a single record, the whole of it."""

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:
        decoder = getattr(fetched, "_partition_records", None)  # None: an error
        if decoder is not None and self.wants(tp.topic):
            decoder._consumer_record = lambda _tp, whole: whole.records  # noqa: SLF001
            decoder._records = _Log(decoder._records)  # noqa: SLF001
            self.prepare(fetched)
        super().__setitem__(tp, fetched)

    def wants(self, topic: str) -> bool:  # noqa: ARG002 - for those that want some only
        """Whether it is to be so for a topic."""
        return True

    def prepare(self, fetched: Any) -> None:
        """Change what was fetched of one partition further."""


class _FetchedRecords(_FetchedBatches):
    """As above, and each batch is taken apart again where it is handed over."""

    def __init__(self, fetched: dict[TopicPartition, Any], topics: Container[str] | None) -> None:
        self._topics = topics
        self.until: dict[TopicPartition, int] = {}
        """Partitions of which no record is to be handed over that was written later (ms), for now."""
        super().__init__(fetched)

    def wants(self, topic: str) -> bool:
        """Whether its records were asked for so."""
        return self._topics is None or topic in self._topics

    def prepare(self, fetched: Any) -> None:
        """Have aiokafka ask ours for records."""
        fetched.getall = _Apart(fetched, self.until).take


class _Apart:
    """The records of what was fetched of one partition, as many at a time as are asked for."""

    def __init__(self, fetched: Any, until: dict[TopicPartition, int]) -> None:
        self._fetched = fetched
        self._until = until
        self._left: Sequence[Any] = ()
        self._end: int | None = None
        """Where the consumer stands after all of it, once all is decoded."""

    def take(self, most: int | None = None) -> Sequence[Any]:
        """Its next records, at most `most`, and none that must wait; the position goes on to the one after them."""
        fetched = self._fetched
        if not fetched.check_assignment(fetched._topic_partition) or not fetched.has_more():  # noqa: SLF001
            return ()
        decoder = fetched._partition_records  # noqa: SLF001
        parts, count = [self._left], len(self._left)
        while self._end is None and (most is None or count < most):
            position = decoder.next_fetch_offset
            whole = next(decoder, None)
            if whole is None:
                self._end = decoder.next_fetch_offset
                break
            if whole and whole[0].offset < position:  # of the first one, what lies before the place that was asked for
                whole = whole[bisect_left(whole, position, key=_offset) :]
            parts.append(whole)
            count += len(whole)
        found = join(parts)
        end = len(found) if most is None else min(most, len(found))
        until = self._until.get(fetched._topic_partition)  # noqa: SLF001
        if until is not None:
            end = next((at for at, record in enumerate(found[:end]) if record.timestamp > until), end)
        found, self._left = found[:end], found[end:]
        if self._left:
            decoder.next_fetch_offset = self._left[0].offset
        elif self._end is not None:
            decoder.next_fetch_offset = self._end
        elif found:
            decoder.next_fetch_offset = max(decoder.next_fetch_offset, found[-1].offset + 1)
        fetched._update_position()  # noqa: SLF001
        if self._end is not None and not self._left:
            fetched._partition_records = None  # noqa: SLF001
        return found


class _Log:
    """A partition's batches, as aiokafka iterates over them."""

    def __init__(self, log: Any) -> None:
        self.has_next = log.has_next
        self._log = log

    def next_batch(self) -> Any:
        """The next one."""
        return _Whole(self._log.next_batch())


class _Whole:
    """A batch, and at once its only record; whether it counts (markers, aborted ones) is the decoder's business."""

    __slots__ = ("_batch", "records")

    def __init__(self, batch: Any) -> None:
        self._batch = batch
        self.records: Sequence[Any] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        """The first record of a control batch: what kind of marker it is."""
        return next(self._batch)

    def __iter__(self) -> Iterator[_Whole]:
        self.records = self._batch.records() if type(self._batch) is RecordBatch else list(self._batch)
        yield self

    @property
    def offset(self) -> int:
        """That of its last record."""
        last: int = self._batch.next_offset - 1
        return last
