"""Which life of a topic a record belongs to: a number that orders a re-created topic after its predecessor.

Rule: offsets mean something only within one incarnation of a topic (cluster id and topic id). Each incarnation gets the
next number of its topic, kept in the table ``sink_generations``; it stands above the offset in every row's version, so
a re-created topic, or another cluster's, wins over what was there. Two sinks that meet a new incarnation at once take
the same number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.errors import ConfigurationError
from sinks.clickhouse.server import QUERY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient

    from sinks.clickhouse.server import Server

MAX_GENERATION: Final = (1 << 16) - 1
OFFSET_BITS: Final = 48
"""Of a row's version, below the generation."""


async def committed_offsets(
    admin: AIOKafkaAdminClient, group: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    """Each partition's committed offset and the incarnation it was written for; "" where nothing says so."""
    found = await admin.list_consumer_group_offsets(group, partitions=list(partitions))
    return {part: (offset.offset, offset.metadata or "") for part, offset in found.items() if offset.offset >= 0}


async def generation(server: Server, topic: str, incarnation: str) -> int:
    """The number of `incarnation`, a new one where it has none; raises `Unavailable`."""
    rows = await server.query(
        "SELECT toUInt32(max(generation)) AS last,"
        " toUInt32(minIf(generation, incarnation = {incarnation:String})) AS own"
        " FROM sink_generations WHERE topic = {topic:String}",
        seconds=QUERY_SECONDS,
        topic=topic,
        incarnation=incarnation,
    )
    last, own = int(rows[0]["last"]), int(rows[0]["own"])
    if own:
        return own
    if last >= MAX_GENERATION:
        raise ConfigurationError(f"topic {topic} was created more than {MAX_GENERATION:,} times")
    await server.command(
        "INSERT INTO sink_generations (topic, incarnation, generation)"
        " SELECT {topic:String}, {incarnation:String}, {number:UInt16}",
        seconds=QUERY_SECONDS,
        topic=topic,
        incarnation=incarnation,
        number=last + 1,
    )
    return last + 1
