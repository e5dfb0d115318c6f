"""Logs that begin later than they did: what may be deleted without loss, and what is lost and must be reported.

Of input topics, whatever is committed may go; the rest is lost for good, and the worker counts it. Of output topics,
nothing may go that is in force: they are the state. So all of it is written anew first, in a transaction, as compaction
would keep it (twice, so that the log begins beyond every saved position); records are absolute, so it changes nothing.
"""

from __future__ import annotations

import asyncio
import random
import time

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from schemas.topics import INPUTS, LARGE_BYTES, STATE
from tests.faults.clients import admin, committed, opened
from tests.faults.field import PARTITIONS, Field
from tests.faults.observed import parsed
from tests.reference.events import identity

UNREAD = 12
"""Records that must be waiting before some of them are deleted."""
WAIT_S = 30.0


async def _delete(field: Field, before: dict[TopicPartition, int]) -> None:
    await field.observed.look()  # what is about to go
    async with admin(field.settings.kafka) as client:
        await client.delete_records({tp: RecordsToDelete(n) for tp, n in before.items()}, timeout_ms=10_000)


async def truncate_read_inputs(field: Field, chance: random.Random) -> str:
    """Delete of every input partition what is committed, or a part of it."""
    done = await committed(field.settings.kafka, field.settings.app)
    share = chance.choice([1.0, 0.5])
    before = {tp: int(offset * share) for tp, offset in done.items() if tp.topic in INPUTS and offset > 0}
    await _delete(field, before)
    return f"{len(before)} partitions"


async def truncate_unread_inputs(field: Field, chance: random.Random) -> str:
    """Delete records that no worker has read, all but the last few, and note which events these were."""
    tps = [TopicPartition("clicks", place) for place in range(PARTITIONS)]
    deadline = time.monotonic() + WAIT_S
    async with field.observed.consumer() as consumer:
        consumer.assign(tps)
        while True:
            done = await committed(field.settings.kafka, field.settings.app)
            starts = await consumer.beginning_offsets(tps)
            ends = await consumer.end_offsets(tps)
            waiting = {tp: ends[tp] - max(done.get(tp, 0), starts[tp]) for tp in tps}
            tp = max(waiting, key=waiting.get)
            if waiting[tp] >= UNREAD:
                break
            if time.monotonic() > deadline:
                return f"no partition had {UNREAD} records waiting"
            await asyncio.sleep(0.2)
        position = max(done.get(tp, 0), starts[tp])
        for other in tps:
            if other != tp:
                consumer.pause(other)
        consumer.seek(tp, position)
        records = []
        while await consumer.position(tp) < ends[tp]:
            for found in (await consumer.getmany(tp, timeout_ms=200)).values():
                records += found
    kept = records[-chance.choice([1, 3, 5]) :]
    begins = kept[0].offset
    await _delete(field, {tp: begins})
    for record in records[: -len(kept)]:
        event = parsed(record.value)
        if event is None:
            field.deleted.garbage.add(record.value)
        else:
            field.deleted.events.add(identity(event))
    field.deleted.ranges.append((tp.topic, tp.partition, position, begins))
    return f"clicks[{tp.partition}] from {position} to {begins}: {len(records) - len(kept)} records"


async def truncate_outputs(field: Field, chance: random.Random) -> str:
    """Write one partition's state anew, twice, and delete all before the second time."""
    place = chance.randrange(PARTITIONS)
    topics = chance.sample(STATE, chance.choice([1, len(STATE)]))
    told = []
    # With the unit's own transactional id: that ends whatever a worker has left open.
    producer = AIOKafkaProducer(
        bootstrap_servers=field.settings.kafka,
        transactional_id=f"{field.settings.app}-{place}",
        max_request_size=LARGE_BYTES + (1 << 20),
    )
    async with opened(producer):
        for topic in topics:
            tp = TopicPartition(topic, place)
            records = await _in_force(field, tp)
            if not records:
                continue
            for _ in range(2):
                async with producer.transaction():
                    written = [
                        await producer.send(topic, r.value, key=r.key, partition=place, headers=list(r.headers))
                        for r in records
                    ]
                    first = (await asyncio.gather(*written))[0].offset
            await _delete(field, {tp: first})
            told.append(f"{topic}[{place}] to {first}")
    return ", ".join(told)


async def _in_force(field: Field, tp: TopicPartition) -> list:
    """The records that must be kept: the latest of each key, of `touches` (keyed by visitor) all."""
    async with field.observed.consumer() as consumer:
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        consumer.seek(tp, (await consumer.beginning_offsets([tp]))[tp])
        records = []
        while await consumer.position(tp) < end:
            for found in (await consumer.getmany(tp, timeout_ms=200)).values():
                records += found
    if tp.topic == "touches":
        return records
    return list({record.key: record for record in records}.values())
