"""The whole flow in memory: events of a file through every step, as the worker takes them, without Kafka.

Rule: the same core, one partition, and the step ``orders-by-visitor`` fed from the first step's output.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from schemas.errors import Refused
from schemas.events import TOPIC_OF, parse_json
from streams.core.apply import apply
from streams.core.events import STATEMENTS, moment
from streams.core.outcome import Outcome, Scope
from streams.core.registry import Registry
from streams.core.state import MemoryView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BATCH = 10_000


class FileRecord(NamedTuple):
    """A line of a file as an input record."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]] = ()


class Replay:
    """Feed events with `feed`, then read `attributions` and `touches`."""

    def __init__(self, registry: Registry | None = None, *, partitions: int = 1) -> None:
        self.registry = registry or Registry()
        self.views = [MemoryView() for _ in range(partitions)]
        self.outcomes: list[Outcome] = []

    def feed(self, topic: str, records: Sequence[FileRecord], partition: int = 0) -> Outcome:
        """Take one batch of one topic; what it sends to other input topics is taken at once."""
        view = self.views[partition]
        outcome = apply(topic, records, view, Scope(partition, len(self.views), self.registry))
        for key, value in outcome.puts.items():
            view.put(key, value)
        self.outcomes.append(outcome)
        for (target, place), outputs in outcome.outputs.items():
            if target in {"orders-by-visitor", topic}:
                forwarded = [
                    FileRecord(key, value, offset, timestamp or 0, headers)
                    for offset, (key, value, headers, timestamp) in enumerate(outputs)
                ]
                self.feed(target, forwarded, place)
        return outcome

    def read(self, lines: Iterable[bytes]) -> Iterator[tuple[int, Refused]]:
        """Take JSON events, one a line; yields (line number, why) of those that are refused.

        An event without ``received_at`` is taken as received when it happened, its clock as right.
        """
        batch: dict[str, list[FileRecord]] = {}
        count = 0
        for number, raw in enumerate(lines, 1):
            line = raw.strip()
            if not line:
                continue
            try:
                data = parse_json(line)
                topic = _topic_of(data)
                timestamp = 0
                if not data.get("received_at"):
                    data.pop("sent_at", None)
                    data["received_at"] = data.get("time")
                    line = orjson.dumps(data)
            except Refused as error:
                yield number, error
                continue
            except TypeError:
                yield number, Refused("schema", "type: not a text")
                continue
            batch.setdefault(topic, []).append(FileRecord(None, line, number, timestamp))
            count += 1
            if count % BATCH == 0:
                yield from self._flush(batch)
        yield from self._flush(batch)

    def _flush(self, batch: dict[str, list[FileRecord]]) -> Iterator[tuple[int, Refused]]:
        for topic, records in batch.items():
            outcome = self.feed(topic, records)
            for _, _, stated, _ in outcome.outputs.get(("dead-letters", 0), ()):
                headers = dict(stated)
                reason: Any = headers["reason"].decode()
                yield int(headers["offset"]), Refused(reason, headers["detail"].decode())
        batch.clear()

    def attributions(self) -> list[dict[str, Any]]:
        """The attributions in force, by conversion time, then id.

        `version` counts all of a conversion's, those too that it had with an earlier visitor or without one.
        """
        found = []
        versions: Counter[str] = Counter()
        for view in self.views:
            for key, value in view.scan(b""):
                if key[:1] == b"u" or (key[:1] == b"v" and key[17:18] == b"c"):
                    attribution = orjson.loads(value)
                    versions[attribution["conversion_id"]] += attribution["version"]
                    if not attribution["withdrawn"]:
                        found.append(attribution)
        for attribution in found:
            attribution["version"] = versions[attribution["conversion_id"]]
        return sorted(found, key=lambda a: (a["conversion_time"], a["conversion_id"]))

    def touches(self) -> list[dict[str, Any]]:
        """The touches, by time, then event id."""
        found = []
        for view in self.views:
            for key, value in view.scan(b"v"):
                if key[17:18] == b"t":
                    record = orjson.loads(value)
                    if record["type"] not in STATEMENTS:
                        found.append(record)
        return sorted(found, key=moment)


def _topic_of(data: dict[str, Any]) -> str:
    kind = data.get("type", "cost")
    topic = TOPIC_OF.get(kind)
    if topic is None:
        raise Refused("schema", f"type: {str(kind)[:40]!r} is no event type")
    return topic
