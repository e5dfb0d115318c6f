"""What aiokafka's consumers need besides: records bare or by the batch, and an end that takes nobody along.

Rule: a consumer that Kafka has left must not take its owner's task with it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiokafka import AIOKafkaConsumer, TopicPartition


def unwrap_records(consumer: AIOKafkaConsumer) -> None:
    """Have a started `consumer` return records as they are decoded: key, value, offset, timestamp, headers.

    By itself it copies each into a `ConsumerRecord`, with topic, partition and sizes: a microsecond a record (0.14.0).
    """
    fetcher = consumer._fetcher  # noqa: SLF001
    if type(fetcher._records) is not _Fetched:  # noqa: SLF001
        fetcher._records = _Fetched(fetcher._records)  # noqa: SLF001


def return_batches(consumer: AIOKafkaConsumer) -> None:
    """Have a started `consumer` return, in the place of each record, the list of records of one batch of Kafka's.

    What it does besides for each single record is half the cost of reading. The first batch after a seek may begin with
    records from before.
    """
    consumer._fetcher._records = _FetchedBatches(consumer._fetcher._records)  # noqa: SLF001


class _Fetched(OrderedDict[Any, Any]):
    """What the fetcher has at hand by partition: its decoder is told, as it comes in, to wrap nothing."""

    def __setitem__(self, tp: TopicPartition, fetched: Any) -> None:
        decoder = getattr(fetched, "_partition_records", None)  # None: an error
        if decoder is not None:
            self.prepare(decoder)
        super().__setitem__(tp, fetched)

    @staticmethod
    def prepare(decoder: Any) -> None:
        """Change the decoder of one partition's records."""
        decoder._consumer_record = lambda _tp, record: record  # noqa: SLF001


class _FetchedBatches(_Fetched):
    """As above; the decoder sees, in each batch, a single record that is the whole of it."""

    @staticmethod
    def prepare(decoder: Any) -> None:
        """Change the decoder of one partition's records."""
        decoder._consumer_record = lambda _tp, whole: whole.records  # noqa: SLF001
        decoder._records = _Log(decoder._records)  # noqa: SLF001


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
        self.records: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        """The first record of a control batch: what kind of marker it is."""
        return next(self._batch)

    def __iter__(self) -> Iterator[_Whole]:
        self.records = list(self._batch)
        yield self

    @property
    def offset(self) -> int:
        """That of its last record."""
        last: int = self._batch.next_offset - 1
        return last
