"""A Kafka in memory, as one unit sees it, that fails when it is told to.

Rule: it keeps what a broker keeps (logs with gaps of markers and aborted records, their last stable offset, producers'
epochs, committed offsets) and checks each transaction that it commits: its source goes on where the group stood, and
what it writes is, byte for byte, what `apply` makes of exactly the records in between. What is wrong is kept in
`broken`; an exception would be taken for a failure that is survived.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import NamedTuple

import orjson
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from schemas.topics import INPUTS, STATE
from streams.core.apply import apply
from streams.core.outcome import Scope
from streams.core.registry import Registry
from streams.core.state import MemoryView, mark_key

PARTITION = 0


class Record(NamedTuple):
    """A record as the client hands it over."""

    offset: int
    value: bytes | None
    key: bytes | None
    timestamp: int
    headers: tuple = ()


class Log:
    """A partition: records, None where a marker or an aborted record lies; those of an open transaction are pending."""

    def __init__(self):
        self.start = 0
        self.records = []
        self.pending = 0

    @property
    def end(self):
        """The last stable offset."""
        return len(self.records) - self.pending

    def append(self, value, key=b"v", timestamp=0, headers=()):
        self.records.append(Record(len(self.records), value, key, timestamp, tuple(headers)))

    def read(self, position, most, until=None):
        """At most so many records from `position` on, and the position after them."""
        found = []
        while position < (self.end if until is None else until) and len(found) < most:
            if self.records[position] is not None:
                found.append(self.records[position])
            position += 1
        return found, position

    def resolve(self, *, committed):
        """The open transaction ends; a marker says how."""
        if self.pending:
            if not committed:
                self.records[-self.pending :] = [None] * self.pending
            self.pending = 0
            self.records.append(None)


class Kafka:
    """The broker; `fault` is what the next transaction meets."""

    def __init__(self, registry=None):
        self.logs = {topic: Log() for topic in (*INPUTS, *STATE, "dead-letters")}
        self.committed = {}
        self.stated = {}
        """What was committed with each offset: the incarnation that it was an offset of."""
        self.lives = dict.fromkeys(self.logs, 1)
        self.epoch = 0
        self.away = False
        self.fault = ""
        self.meanwhile = 0
        """Batches that the former owner still takes, just before it is fenced."""
        self.registry = registry or Registry(())
        self.view = MemoryView()
        """The state, as `apply` has made it of what was committed."""
        self.entries = {}
        self.broken = []
        self.commits = 0

    def answer(self):
        """Every request asks for this first."""
        if self.away:
            raise KafkaConnectionError("away")

    async def incarnations(self):
        """Topic -> which of its lives this is."""
        await asyncio.sleep(0)
        self.answer()
        return {topic: f"c/{life}" for topic, life in self.lives.items()}

    def make_anew(self, topic):
        """Delete a topic and create it again, with as many records; the group's offsets stay."""
        self.lives[topic] += 1
        self.logs[topic] = Log()

    def position(self, topic):
        """Where the group goes on."""
        return max(self.committed.get(topic, 0), self.logs[topic].start)

    def put(self, puts):
        for key, value in puts.items():
            self.view.put(key, value)
            self.entries[key] = value

    def fence(self):
        """Another owner starts its producer: what an earlier one has not finished is aborted."""
        self.epoch += 1
        for log in self.logs.values():
            log.resolve(committed=False)
        return self.epoch

    def commit(self, sent, offsets):
        """End a transaction: `sent` by (topic, partition), `offsets` by topic."""
        if offsets:
            made = {}
            for topic, end in offsets.items():
                start = self.position(topic)
                records, _ = self.logs[topic].read(start, end - start, end)
                if not records or end > self.logs[topic].end:
                    self.broken.append(f"{topic} was committed from {start} to {end}")
                    return
                outcome = apply(topic, records, self.view, Scope(PARTITION, 1, self.registry))
                for place, outputs in outcome.outputs.items():
                    made.setdefault(place, []).extend(outputs)
                self.put(outcome.puts)
                self.committed[topic] = end
            if _written(made) != _written(sent):
                self.broken.append(f"what was made up to {offsets} is not what it comes to")
        else:
            for outputs in sent.values():
                for _, value, headers, _ in outputs:
                    key = headers[0][1]
                    self.put({key: value} | {mark_key(key): mark for _, mark in headers[1:]})
        for log in self.logs.values():
            log.resolve(committed=True)
        self.commits += 1

    def step(self):
        """Another worker owns the partition for a moment: it takes what comes next of the first topic that has some."""
        self.fence()
        for topic in INPUTS:
            records, end = self.logs[topic].read(self.position(topic), 3)
            if records:
                outcome = apply(topic, records, self.view, Scope(PARTITION, 1, self.registry))
                for (name, _), outputs in outcome.outputs.items():
                    for key, value, headers, _ in outputs:
                        self.logs[name].append(value, key, 0, headers)
                        self.logs[name].pending += 1
                self.commit(outcome.outputs, {topic: end})
                self.stated[topic] = f"c/{self.lives[topic]}"
                return


class Batch:
    """Records on their way."""

    def __init__(self, records):
        self.records = records

    def record_count(self):
        return len(self.records)


def batches_of(records, _now, _builder, *, transactional):
    """In the place of `schemas.batches.batches_of`: all in one, as they are."""
    assert transactional
    return [Batch(records)]


class Producer:
    """In the place of `AIOKafkaProducer`."""

    def __init__(self, kafka):
        self._kafka = kafka
        self._epoch = -1
        self._sent = {}
        self._offsets = {}
        self._sender = SimpleNamespace(sender_task=None)
        self.client = SimpleNamespace(close=self._close)
        self._closed = False

    async def _close(self):
        await asyncio.sleep(0)

    async def start(self):
        await self._ask()
        for _ in range(self._kafka.meanwhile):
            self._kafka.step()
        self._kafka.meanwhile = 0
        self._epoch = self._kafka.fence()

    async def _ask(self):
        await asyncio.sleep(0)
        self._kafka.answer()
        if self._epoch not in (-1, self._kafka.epoch):
            raise ProducerFenced

    async def begin_transaction(self):
        self._sent, self._offsets, self._stated = {}, {}, {}

    create_batch = None

    async def send_batch(self, batch, topic, *, partition):
        await self._ask()
        log = self._kafka.logs[topic]
        start = len(log.records)
        for key, value, headers, timestamp in batch.records:
            log.append(value, key, timestamp or 0, headers)
        log.pending += len(batch.records)
        self._sent.setdefault((topic, partition), []).extend(batch.records)
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(SimpleNamespace(offset=start))
        return sent

    async def send_offsets_to_transaction(self, offsets, group):
        await self._ask()
        assert group == "headwater"
        self._offsets = {tp.topic: found.offset for tp, found in offsets.items()}
        self._stated = {tp.topic: found.metadata for tp, found in offsets.items()}

    async def commit_transaction(self):
        fault, self._kafka.fault = self._kafka.fault, ""
        if fault == "fence":
            self._kafka.fence()
        await self._ask()
        if fault == "abort":
            raise KafkaError("aborted")
        if fault == "time-out":
            await asyncio.Event().wait()
        self._kafka.commit(self._sent, self._offsets)
        self._kafka.stated |= self._stated
        await asyncio.sleep(0)
        if fault == "unknown":
            raise KafkaError("the answer was lost")
        if fault == "late":
            await asyncio.Event().wait()


class Consumer:
    """In the place of `AIOKafkaConsumer`, as the restore uses it: batches of records, as lists."""

    def __init__(self, kafka):
        self._kafka = kafka
        self._tps = []
        self._positions = {}
        self._coordinator = SimpleNamespace(fetch_committed_offsets=self._committed)

    async def start(self):
        await self._ask()

    async def stop(self):
        await asyncio.sleep(0)

    async def _ask(self):
        await asyncio.sleep(0)
        self._kafka.answer()

    def assign(self, tps):
        self._tps = list(tps)

    def seek(self, tp, offset):
        self._positions[tp] = offset

    async def position(self, tp):
        return self._positions[tp]

    async def beginning_offsets(self, tps):
        await self._ask()
        return {tp: self._kafka.logs[tp.topic].start for tp in tps}

    async def end_offsets(self, tps):
        await self._ask()
        return {tp: self._kafka.logs[tp.topic].end for tp in tps}

    async def getmany(self, *, timeout_ms, max_records):
        assert timeout_ms
        await self._ask()
        found = {}
        for tp in self._tps:
            records, self._positions[tp] = self._kafka.logs[tp.topic].read(self._positions[tp], max_records)
            if records:
                found[tp] = [records]
        return found

    async def _committed(self, tps):
        await self._ask()
        return {
            tp: OffsetAndMetadata(self._kafka.committed[tp.topic], self._kafka.stated[tp.topic])
            for tp in tps
            if tp.topic in self._kafka.committed
        }


def _written(outputs):
    """By what they are about: where a restored mark has more touches looked at, they are written after the others."""
    found = {}
    for place, records in outputs.items():
        for key, value, headers, time in records:
            written = found.setdefault((place, key, dict(headers).get("k")), [])
            written.append((orjson.loads(value) if place[0] in STATE else value, headers, time))
    return found


def at(topic):
    """The unit's partition of a topic."""
    return TopicPartition(topic, PARTITION)
