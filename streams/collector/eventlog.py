"""Where the collector keeps events: the `EventLog` protocol, and the records it takes.

Rule: ``append`` returns when every record is kept, and raises `Unavailable` where one may not be. `SpooledLog` is the
one in use: Kafka, and a disk while Kafka is away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from schemas.batches import Headers  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Sequence


class Record(NamedTuple):
    """One Kafka record; ``time`` is its time stamp in milliseconds. Without a key it goes to the partitions in turn."""

    topic: str
    key: str | None
    value: bytes
    time: int
    headers: Headers | None = None


class EventLog(Protocol):
    """Where the collector keeps events."""

    @property
    def ready(self) -> bool:
        """Whether events can be kept at the moment."""

    @property
    def state(self) -> str:
        """What an operator should know of it, in a line; '' where all is as always."""

    async def append(self, records: Sequence[Record]) -> None:
        """Keep `records`; returns when all of them are kept, raises `Unavailable` where one may not be."""
