"""How far ClickHouse itself has what Kafka holds: a position for each partition, in the same database as the rows.

Rule: a position is written after the rows that it vouches for, and only where it goes on from what the database has:
each batch says from where to where it reaches, and where the database's own position is before that, something is
missing below (it was put back from a backup, or is another one), the position is not written, and the sink rewinds. So
offsets committed to Kafka never stand for rows that are not there. What the database has is asked for while the rows go
in: were it exchanged meanwhile, an insert would fail, and all would begin anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sinks.clickhouse.native import Block
from sinks.clickhouse.server import QUERY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinks.clickhouse.server import Server

Held = dict[tuple[str, int, int], int]
"""(topic, generation, partition) -> the offset below which the database has everything; it has nothing of others."""
_READ: Final = """
SELECT topic, generation, partition, toString(max(next)) AS next FROM sink_positions
GROUP BY topic, generation, partition
"""
_BEGIN: Final = """
INSERT INTO sink_positions (topic, generation, partition, next)
SELECT {topic:String}, {generation:UInt16}, {partition:UInt16}, {next:UInt64}
"""


class Span(NamedTuple):
    """What a batch holds of one partition: everything from `start` up to, not including, `next`."""

    topic: str
    generation: int
    partition: int
    start: int
    next: int


class Behind(Exception):  # noqa: N818 - a state, which the sink mends by itself
    """The database does not have what lies below a batch; `held` is what it has."""

    def __init__(self, spans: Sequence[Span], held: Held) -> None:
        super().__init__(f"{len(spans)} partitions")
        self.spans = spans
        self.held = held


class Start(NamedTuple):
    """Where a partition is to be read from, and why."""

    offset: int
    rewound: int
    """Offsets that Kafka takes for done, and the database does not have."""
    gone: int
    """Offsets that the database does not have, and Kafka no more."""
    begins: bool
    """The database's position must be set here first: what lies below does not come any more."""


def start_of(first: int, committed: int | None, held: int | None) -> Start:
    """Where to read from: `first` is where the log starts, `committed` and `held` how far Kafka and the database are.

    Where nothing is committed, all is read (again): so a group's offsets are reset, and harmless.
    """
    has = held or 0
    if committed is None:
        return Start(first, 0, first - has if held is not None and has < first else 0, has < first)
    offset = max(first, min(committed, has))
    return Start(offset, max(0, committed - offset) if has < committed else 0, max(0, first - has), has < offset)


async def read(server: Server) -> Held:
    """The database's positions; raises `Unavailable`."""
    rows = await server.query(_READ, seconds=QUERY_SECONDS)
    return {(row["topic"], int(row["generation"]), int(row["partition"])): int(row["next"]) for row in rows}


async def begin(server: Server, topic: str, generation: int, partition: int, offset: int) -> None:
    """Have a partition begin at `offset`: what lay below it is gone from Kafka. Raises `Unavailable`."""
    await server.command(
        _BEGIN, seconds=QUERY_SECONDS, topic=topic, generation=generation, partition=partition, next=offset
    )


def check(held: Held, spans: Sequence[Span]) -> None:
    """Raise `Behind` where the database, which has `held`, lacks what lies below one of `spans`."""
    lacking = [span for span in spans if held.get(span[:3], 0) < span.start]
    if lacking:
        raise Behind(lacking, held)


async def write(server: Server, spans: Sequence[Span]) -> None:
    """Write that the rows of `spans` are in; only after `check`. Raises `Unavailable`."""
    block = Block("sink_positions", len(spans))
    block.low("topic", [span.topic for span in spans])
    block.number("generation", "UInt16", [span.generation for span in spans])
    block.number("partition", "UInt16", [span.partition for span in spans])
    block.number("next", "UInt64", [span.next for span in spans])
    encoded = block.encoded()
    await server.insert(encoded.table, encoded.columns, [encoded.body])
