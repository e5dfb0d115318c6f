"""What a batch changes: output records, state entries, counts.

Rule: an outcome is data; the worker's unit commits it in one transaction. Conservation: every record read is counted
once, as accepted, duplicate, dead letter or moved.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from streams.core.ids import partition_of
from streams.core.state import mark_key, write_mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.batches import Headers, Unsent
    from schemas.errors import Refused
    from streams.core.registry import Registry


class Record(Protocol):
    """An input record as Kafka's client hands it over; times in ms."""

    @property
    def key(self) -> bytes | None:
        """What it was partitioned by."""

    @property
    def value(self) -> bytes | None:
        """The event's bytes; None: a tombstone."""

    @property
    def offset(self) -> int:
        """Its place in its partition."""

    @property
    def timestamp(self) -> int:
        """When it was written, in ms since the epoch."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Headers in order; a name may come twice."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a batch stands: its partition, how many there are, and the registry in force."""

    partition: int
    partitions: int
    registry: Registry


@dataclass(slots=True)
class Outcome:
    """All that a batch changes.

    `outputs` is by (topic, partition); `puts` are state entries; `counts` is by outcome; the other counters are by
    reason or cause.
    """

    topic: str
    scope: Scope
    outputs: dict[tuple[str, int], list[Unsent]] = field(default_factory=dict)
    puts: dict[bytes, bytes] = field(default_factory=dict)
    read: int = 0
    accepted: int = 0
    duplicate: int = 0
    dead_letter: int = 0
    moved: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    unmatched: int = 0
    pane_changes: dict[Any, list[int]] = field(default_factory=dict)
    latest: int = 0

    def state(self, topic: str, key: bytes, state_key: bytes, value: bytes, *, until: int | None = None) -> None:
        """Emit a record that is state too, into the unit's own partition.

        `until` (ms), where it marks its visitor: touches up to then can change what is known of them, this included.
        """
        headers: Headers = [("k", state_key)]
        self.puts[state_key] = value
        if until is not None:
            headers.append(("m", b""))
            self.puts[mark_key(state_key)] = write_mark(until)
        self._put(topic, self.scope.partition, (key, value, headers, None))

    def send(self, topic: str, key: str, value: bytes) -> None:
        """Emit a record to the partition of its key."""
        self._put(topic, partition_of(key, self.scope.partitions), (key.encode(), value, [], None))

    def move(self, record: Record, partition: int) -> None:
        """Pass a record that lies in the wrong partition on to the right one, as it is."""
        self.moved += 1
        headers = list(record.headers)
        self._put(self.topic, partition, (record.key, record.value or b"", headers, record.timestamp))

    def refuse(self, record: Record, error: Refused) -> None:
        """Send a record to ``dead-letters`` with its original bytes."""
        self.dead_letter += 1
        self.reasons[error.reason] += 1
        headers: Headers = [
            ("reason", error.reason.encode()),
            ("detail", error.detail[:1000].encode("utf-8", "replace")),
            ("topic", self.topic.encode()),
            ("partition", str(self.scope.partition).encode()),
            ("offset", str(record.offset).encode()),
            ("time", str(record.timestamp).encode()),
        ]
        self._put("dead-letters", self.scope.partition, (record.key, record.value or b"", headers, None))

    def into(self, topic: str, partition: int) -> list[Unsent]:
        """The outputs of one topic and partition, to append to."""
        place = (topic, partition)
        outputs = self.outputs.get(place)
        if outputs is None:
            outputs = self.outputs[place] = []
        return outputs

    def _put(self, topic: str, partition: int, output: Unsent) -> None:
        self.into(topic, partition).append(output)


def dumps(record: dict[str, object]) -> bytes:
    """A record as JSON."""
    return orjson.dumps(record)
