"""Dead letters as they lie in Kafka: a record that was refused, why, and which of them are meant.

Rule: a letter is named by its partition and offset in ``dead-letters`` (``3:1204``); its `time` is when the event was
received, as in the view `dead_letters`, not when it was refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

TOPIC: Final = "dead-letters"
HTTP: Final = "http"
"""In place of a topic: the collector refused it."""
Place = tuple[int, int]
"""Partition and offset of a letter."""
_ID: Final = re.compile(r"(\d{1,5}):(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: where it lies, the refused record's own key and value, and what its headers say.

    `topic` is where the record came from, or ``http``; `partition` and `offset` (None for ``http``) its place there.
    `time` is in milliseconds.
    """

    place: Place
    topic_id: str
    key: bytes | None
    value: bytes
    reason: str
    detail: str
    topic: str
    partition: int | None
    offset: int | None
    time: int
    letter_id: str = ""
    """What the collector called it: it may lie in the topic twice."""

    @property
    def id(self) -> str:
        """As a person names it."""
        return f"{self.place[0]}:{self.place[1]}"

    @property
    def mark(self) -> bytes:
        """Key of the record in ``replays`` that says that it was sent again."""
        return f"{self.topic_id}/{self.letter_id or f'{self.place[0]}/{self.place[1]}'}".encode()


def letter_of(record: Any, topic_id: str) -> Letter:
    """The letter in a consumed `record`; what it does not say is empty."""
    said = {name: value.decode("utf-8", "replace") for name, value in record.headers if value is not None}
    partition, offset, time = (_number(said.get(name, "")) for name in ("partition", "offset", "time"))
    return Letter(
        place=(record.partition, record.offset),
        topic_id=topic_id,
        key=record.key,
        value=record.value or b"",
        reason=said.get("reason", ""),
        detail=said.get("detail", ""),
        topic=said.get("topic", ""),
        partition=partition,
        offset=offset,
        time=record.timestamp if time is None else time,
        letter_id=said.get("id", ""),
    )


def place_of(text: str) -> Place | None:
    """The place that `text` names; None where it is no letter's name."""
    found = _ID.fullmatch(text)
    return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant; what is empty or None leaves all. Times in milliseconds, `until` excluded."""

    reasons: Collection[str] = ()
    topics: Collection[str] = ()
    since: int | None = None
    until: int | None = None
    places: Collection[Place] = ()

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.reasons or self.topics or self.places or self.since is not None or self.until is not None)

    def takes(self, letter: Letter) -> bool:
        """Whether `letter` is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.topic in self.topics)
            and (self.since is None or letter.time >= self.since)
            and (self.until is None or letter.time < self.until)
            and (not self.places or letter.place in self.places)
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
