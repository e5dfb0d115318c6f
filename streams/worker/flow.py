"""What is fetched when, and how much at once: batches, where they begin and end, and when their partition rests.

Rule: a batch carries [start, next): the fetch positions before and after it, never derived from record offsets, since
transaction markers and aborted records leave gaps. Units say from where their partitions are to be read and how long
their batches take; the driver (`streams.worker.driver`) asks what to fetch, and says what came.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.core.outcome import Record

MOST_OUTSTANDING: Final = 2
"""Large batches of one partition that are fetched and not yet done with; of small ones it is one, so that what comes
meanwhile is in the next one, and nothing waits in a queue of small transactions."""
LARGE_BATCH: Final = 500
"""Records of a batch that is work; a smaller one is somebody's click."""
REST: Final = 4.0
"""From the end of a small batch of a partition number until the next ones are fetched, of all its topics and so at
once, so many times as long as such a batch takes: a transaction is work for Kafka however little is in it, and the
slower it is, the fewer of them it needs."""
LEAST_REST_S: Final = 0.05
LONGEST_REST_S: Final = 0.12
JUST_S: Final = 0.03
"""A rest that ended so long ago has just ended: rests are looked at some hundred times a second."""
_WEIGHT: Final = 0.2
"""Of the last small batch, in what such a batch takes."""
FIRST_BATCH: Final = 5_000
"""Records of the first batches, until it is known how fast it goes here."""
SMALLEST_BATCH: Final = 100
FAR_BEHIND_MS: Final = 60_000
FAR_BEHIND: Final = 10_000
"""With records of so long ago, and so many left, ``conversions`` wait for ``clicks``: each touch that comes after a
conversion which it can change has all of its visitor looked at again."""
STUCK_S: Final = 30.0
"""A partition of ``clicks`` of which no batch came for so long is not waited for, whatever it is that keeps it."""
STEP_S: Final = 1.0
"""While they wait, so long from one batch of a partition to the next: each is two transactions."""
FIRST_LOOK_S: Final = 0.3
"""And so long until it is known whether there are any."""
SLOW_S: Final = 3.0
"""A batch that takes longer was too large: the next ones are half of it."""


class Batch:
    """Records of one partition, in the shape that Faust expects of a single record.

    `value` is the batch itself; `records` are its records; `start` and `next` are the fetch positions before and after
    them; `epoch` says after which seek they were fetched.
    """

    __slots__ = (
        "checksum",
        "epoch",
        "headers",
        "highwater",
        "key",
        "next",
        "offset",
        "partition",
        "records",
        "serialized_key_size",
        "serialized_value_size",
        "start",
        "timestamp",
        "timestamp_type",
        "topic",
    )

    def __init__(
        self, tp: TopicPartition, records: Sequence[Record], start: int, next_: int, epoch: int, highwater: int
    ) -> None:
        last = records[-1]
        self.topic: str = tp.topic
        self.partition: int = tp.partition
        self.offset = start
        self.timestamp = last.timestamp
        self.timestamp_type = 0
        self.headers = ()
        self.key = None
        self.checksum = None
        self.serialized_key_size = 0
        self.serialized_value_size = 0
        self.start = start
        self.next = next_
        self.epoch = epoch
        self.highwater = highwater
        self.records = records

    @property
    def value(self) -> Batch:
        """The batch. Not an attribute: what refers to itself lives until somebody looks for garbage."""
        return self

    def halves(self) -> tuple[Batch, Batch]:
        """The batch in two, of at least two records; the second starts where the first ends."""
        middle = len(self.records) // 2
        between = self.records[middle].offset
        tp = TopicPartition(self.topic, self.partition)
        return (
            Batch(tp, self.records[:middle], self.start, between, self.epoch, self.highwater),
            Batch(tp, self.records[middle:], between, self.next, self.epoch, self.highwater),
        )


@dataclass(slots=True)
class Course:
    """A released partition: after which seek, where the next batch starts, where the fetcher stands, batches out.

    `busy`: the last one was large, or as much was left behind it; `written`: when its last record was (ms), 0 before
    the first batch; `left`: how many records lie behind that one; `since`: the moment of that batch, or of the release.
    """

    epoch: int
    start: int
    reached: int
    outstanding: int = 0
    busy: bool = False
    written: int = 0
    left: int = 0
    since: float = 0.0


class Flow:
    """Which partitions may be fetched, and from where: the units say, the driver obeys.

    Written by the units' loop and by the consumer's thread, hence the lock. What was fetched before a release counts no
    more: a batch that a rebalance threw away can hold nothing up.
    """

    def __init__(self, most: int = FIRST_BATCH, clock: Callable[[], float] = time.monotonic) -> None:
        """`most`: no batch is to have more records."""
        self._most = most
        self._clock = clock
        self._takes = 0.0
        """Seconds that a small batch takes."""
        self.size = min(most, FIRST_BATCH)
        """Records that are fetched at most at once: few where there are few, many where the worker is behind."""
        self._lock = threading.Lock()
        self._wanted: dict[TopicPartition, tuple[int, int]] = {}
        self._courses: dict[TopicPartition, Course] = {}
        self._rests: dict[int, float] = {}
        """Partition number -> before that moment none of it is fetched."""
        self._epoch = 0

    def release(self, tp: TopicPartition, offset: int) -> int:
        """Fetch `tp` from `offset` on; returns the epoch that its batches will bear."""
        with self._lock:
            self._epoch += 1
            self._courses.pop(tp, None)
            self._wanted[tp] = (offset, self._epoch)
            return self._epoch

    def hold(self, tp: TopicPartition) -> None:
        """Fetch `tp` no more."""
        with self._lock:
            self._wanted.pop(tp, None)
            self._courses.pop(tp, None)

    def done(self, tp: TopicPartition, epoch: int) -> None:
        """One batch of `tp`, fetched in `epoch`, is done with."""
        with self._lock:
            course = self._courses.get(tp)
            if course is not None and course.epoch == epoch:
                course.outstanding -= 1
                if not course.busy:
                    rest = min(LONGEST_REST_S, max(LEAST_REST_S, REST * self._takes))
                    self._rests[tp.partition] = self._clock() + rest

    def pace(self, records: int, seconds: float) -> None:
        """A batch of so many records took so long; one that failed, as long as it may: it would fail again as large."""
        if records <= LARGE_BATCH:
            self._takes += (seconds - self._takes) * _WEIGHT
        if seconds > SLOW_S:
            self.size = max(min(SMALLEST_BATCH, self._most), min(self.size, records // 2))
        elif seconds < SLOW_S / 2 and records >= self.size:
            self.size = min(self._most, self.size * (4 if seconds < SLOW_S / 8 else 2))

    def idle_at(self, tp: TopicPartition) -> int:
        """Up to where `tp` is done with, markers and aborted records included; 0 where unknown or at work."""
        with self._lock:
            course = self._courses.get(tp)
            return course.reached if course is not None and not course.outstanding else 0

    def seeks(self) -> list[tuple[TopicPartition, int, int]]:
        """The seeks to make now: (partition, offset, epoch)."""
        with self._lock:
            return [(tp, offset, epoch) for tp, (offset, epoch) in self._wanted.items()]

    def sought(self, tp: TopicPartition, offset: int, epoch: int) -> None:
        """A seek was made."""
        with self._lock:
            if self._wanted.get(tp) == (offset, epoch):
                del self._wanted[tp]
                self._courses[tp] = Course(epoch, offset, offset, since=self._clock())

    def ready(self, tp: TopicPartition) -> Course | None:
        """The course of `tp` where it is released, has not too many batches under way, and does not rest."""
        course = self._courses.get(tp)
        if course is None or course.outstanding >= (MOST_OUTSTANDING if course.busy else 1):
            return None
        return course if course.busy or self._clock() >= self._rests.get(tp.partition, 0.0) else None

    def has_just_rested(self, tp: TopicPartition) -> bool:
        """Whether `tp` could not be fetched until a moment ago."""
        return 0 <= self._clock() - self._rests.get(tp.partition, -inf) < JUST_S

    def waits(self, now_ms: int) -> dict[TopicPartition, int]:
        """Partitions of ``conversions`` that wait for ``clicks``, and up to when written (ms) they may be fetched.

        So the two are read in step where both are far behind; the result is the same in any order.
        """
        with self._lock:
            now = self._clock()
            behind = [
                course.written
                for tp, course in self._courses.items()
                if tp.topic == "clicks"
                and course.written < now_ms - FAR_BEHIND_MS
                and (course.left > FAR_BEHIND or not course.written)
                and now - course.since < (STUCK_S if course.written else FIRST_LOOK_S)
            ]
            if not behind:
                return {}
            until = min(behind)
            return {
                tp: until if now - course.since >= STEP_S else 0
                for tp, course in self._courses.items()
                if tp.topic == "conversions"
            }

    def passed(self, tp: TopicPartition, course: Course, position: int) -> None:
        """The fetcher went on to `position` without finding a record."""
        with self._lock:
            if self._courses.get(tp) is course:
                course.reached = position

    def taken(self, tp: TopicPartition, course: Course, position: int, batch: Sequence[Record], left: int) -> bool:
        """A `batch` that ends at `position` was fetched, with so many records `left` behind it.

        False where `tp` has been released anew or held since.
        """
        with self._lock:
            if self._courses.get(tp) is not course:
                return False
            course.start = course.reached = position
            course.outstanding += 1
            course.busy = max(len(batch), left) > LARGE_BATCH
            course.left = left
            course.written = batch[-1].timestamp
            course.since = self._clock()
            return True
