"""Record batches of a transaction, and the largest records that can come up."""

from __future__ import annotations

import random

import orjson
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import OffsetAndMetadata

from schemas.batches import batches_of
from schemas.errors import CommitFailed
from schemas.settings import Settings
from schemas.topics import LARGE_BYTES, TOPICS
from streams.core.replay import FileRecord, Replay
from streams.worker import transaction as module
from streams.worker.transaction import Transactions
from tests.reference.shop import T0, adjustment, click, purchase

OVERHEAD = 10_000
"""Key, headers and frames of a record, amply."""


@pytest_asyncio.fixture
async def transactions():
    """Not connected: batches are built without Kafka."""
    transactions = Transactions(Settings(), 0)
    yield transactions
    await transactions.close()


def records_in(batch):
    """What a broker would read."""
    return list(DefaultRecordBatch(bytes(batch._build())))


async def test_records_fill_batches_in_order(transactions):
    """Each is in one batch, with key, value, headers and time; no batch is over what a topic takes by default."""
    noise = random.Random(0)
    sent = [(b"k%d" % n, noise.randbytes(50_000), [("k", b"s")], 1_000 + n) for n in range(40)]
    batches = list(batches_of(sent, 0, transactions._producer.create_batch, transactional=True))
    assert len(batches) > 1
    read = []
    for batch in batches:
        found = records_in(batch)
        assert len(found) == batch.record_count()
        assert batch.size() < 1_000_000
        read += [(r.key, r.value, r.headers, r.timestamp) for r in found]
    assert read == sent


async def test_a_record_larger_than_a_batch_has_one_of_its_own(transactions):
    """7 MB pass, and so do their neighbours."""
    large = random.Random(0).randbytes(7_000_000)
    sent = [(b"a", b"1", [], None), (b"b", large, [], None), (b"c", b"3", [], None)]
    batches = batches_of(sent, 0, transactions._producer.create_batch, transactional=True)
    assert [r.value for batch in batches for r in records_in(batch)] == [b"1", large, b"3"]


async def test_closing_before_opening_does_nothing(transactions):
    """A unit that fails while it opens closes what it has."""
    await transactions.close()


def feed(replay, topic, events):
    """Take events through the core, as one batch; every output record."""
    records = [FileRecord(None, orjson.dumps(event), number, T0) for number, event in enumerate(events)]
    replay.feed(topic, records)
    return [
        (place[0], output[1])
        for outcome in replay.outcomes
        for place, listed in outcome.outputs.items()
        for output in listed
    ]


def test_the_largest_attribution_fits():
    """500 candidates, every text of 256 characters of four bytes."""
    text = "\U0001d4b3" * 256
    names = ("source", "medium", "campaign", "content", "term", "ad_group", "ad", "partner", "variant", "audience")
    touches = [
        click(f"{n:03}" + "\U0001d4b3" * 61, T0 + n, **dict.fromkeys(names, text)) | {"visitor_id": "\U0001d4b3" * 128}
        for n in range(501)
    ]
    order = purchase("c", T0 + 1000, visitor_id="\U0001d4b3" * 128, order_id="\U0001d4b3" * 128, value="999999999")
    replay = Replay()
    feed(replay, "clicks", touches)
    outputs = feed(replay, "conversions", [order])
    (size,) = {len(value) for topic, value in outputs if topic == "attributions"}
    assert size > 4_000_000
    assert size + OVERHEAD < LARGE_BYTES == int(TOPICS["attributions"].config["max.message.bytes"])
    assert not [value for topic, value in outputs if topic == "dead-letters"]


def test_an_order_takes_facts_as_long_as_it_fits():
    """The ones beyond are refused, `too_large`; the order stays as it was."""
    visitor = "\U0001d4b3" * 128
    facts = [
        purchase(f"{n:05}", T0 + n, visitor_id=visitor, user_id=visitor, click_id="\U0001d4b3" * 2048, status="pending")
        for n in range(700)
    ]
    replay = Replay()
    outputs = feed(replay, "conversions", [*facts, adjustment("late", "reject", T0 + 10_000)])
    refused = sum(outcome.reasons["too_large"] for outcome in replay.outcomes)
    assert refused
    largest = max(len(value) for topic, value in outputs if topic in {"orders", "orders-by-visitor", "attributions"})
    assert largest + OVERHEAD < LARGE_BYTES


async def test_a_producer_is_used_up_before_its_numbers_wrap(transactions, monkeypatch):
    """Then nothing is written by it any more: the unit opens anew, with another one."""
    monkeypatch.setattr(module, "RECORDS_PER_PRODUCER", 1)
    outputs = {("touches", 0): [(b"k", b"v", [], None)] * 2}
    with pytest.raises(CommitFailed, match="used up"):
        await transactions.commit(outputs, {TopicPartition("clicks", 0): OffsetAndMetadata(2, "")})
