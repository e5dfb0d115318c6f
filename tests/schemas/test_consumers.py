"""Whole batches and bare records are those that aiokafka would hand over by itself."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from schemas.consumers import return_batches, unwrap_records
from schemas.fetched import open_log

TP = TopicPartition("touches", 0)
ABORTED, OTHER = 7, 8


def builder_of(producer):
    """A builder of batches of a producer's transactions."""
    return DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=True,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 20,
    )


def packed(base, values, *, producer=OTHER):
    """A batch of a transaction, as it comes over the wire, from offset `base` on."""
    builder = builder_of(producer)
    for place, value in enumerate(values):
        builder.append(place, timestamp=base + place, key=None, value=value, headers=[("k", value)])
    batch = bytearray(builder.build())
    batch[:8] = base.to_bytes(8, "big")
    return bytes(batch)


def marker(base, producer, *, committed):
    """The end of a transaction."""
    builder = builder_of(producer)
    builder.append(0, timestamp=0, key=bytes([0, 0, 0, committed]), value=bytes(6), headers=[])
    batch = bytearray(builder.build())
    batch[:8] = base.to_bytes(8, "big")
    batch[22] |= 0x20  # a control batch
    return bytes(batch)


class Assigned:
    """Where the consumer stands in the partition."""

    paused = False
    has_valid_position = True

    def __init__(self, position):
        self.position = position

    def consumed_to(self, position):
        self.position = position


def fetched(log, position, aborted=(), read=open_log):
    """What aiokafka has of a `log` that was fetched from `position` on, and where its consumer stands."""
    decoder = PartitionRecords(TP, read(log), list(aborted), position, None, None, False, READ_COMMITTED)
    state = Assigned(position)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    return FetchResult(TP, assignment=assignment, partition_records=decoder, backoff=0), state


def taken(log, position, aborted=()):
    """What a consumer that returns batches has of a fetched `log`: values by batch, and the position after each."""
    consumer = SimpleNamespace(_fetcher=SimpleNamespace(_records=OrderedDict()))
    return_batches(consumer)
    found, state = fetched(log, position, aborted)
    consumer._fetcher._records[TP] = found
    taken = []
    while batches := found.getall(1):
        (records,) = batches
        taken.append(([(record.offset, record.value, record.headers) for record in records], state.position))
    return taken, state.position


def test_whole_batches_are_returned():
    """Each a list of its records, header and all; the position is behind each, and behind the marker at the end."""
    log = packed(0, [b"a", b"b"]) + packed(2, [b"c"]) + marker(3, OTHER, committed=True)
    a, b, c = ((offset, value, [("k", value)]) for offset, value in enumerate((b"a", b"b", b"c")))
    assert taken(log, 0) == ([([a, b], 2), ([c], 3)], 4)


def test_aborted_batches_and_markers_are_passed_over():
    """As aiokafka does for single records."""
    log = (
        packed(0, [b"no"], producer=ABORTED)
        + packed(1, [b"yes"])
        + marker(2, ABORTED, committed=False)
        + packed(3, [b"again"], producer=ABORTED)
        + marker(4, ABORTED, committed=True)
    )
    found, position = taken(log, 0, aborted=[(ABORTED, 0)])
    assert [value for records, _ in found for _, value, _ in records] == [b"yes", b"again"]
    assert position == 5


def test_a_batch_that_begins_before_the_position_comes_whole():
    """Who takes batches must not mind what comes twice."""
    found, position = taken(packed(0, [b"a", b"b"]), 1)
    assert [value for records, _ in found for _, value, _ in records] == [b"a", b"b"]
    assert position == 2


@given(data=st.data())
def test_single_records_come_as_from_aiokafka(data):
    """Whatever is asked for at a time, and wherever it begins: the same ones, and the position where it has it."""
    first = data.draw(st.integers(1, 5))
    log, base, aborted = packed(0, [b"%d" % at for at in range(first)]), first, []
    for count, kind in data.draw(st.lists(st.tuples(st.integers(1, 5), st.sampled_from("rrram")), max_size=8)):
        if kind == "m":
            log += marker(base, OTHER, committed=True)
            base += 1
            continue
        log += packed(base, [b"%d" % (base + at) for at in range(count)], producer=ABORTED if kind == "a" else OTHER)
        if kind == "a":
            aborted.append((ABORTED, base))
            log += marker(base + count, ABORTED, committed=False)
            base += 1
        base += count
    # Kafka begins with the batch that holds the place that was asked for.
    position = data.draw(st.integers(0, first - 1))
    consumer = SimpleNamespace(_fetcher=SimpleNamespace(_records=OrderedDict()))
    unwrap_records(consumer)
    theirs, expected = fetched(log, position, aborted, MemoryRecords)
    ours, found = fetched(log, position, aborted, data.draw(st.sampled_from((open_log, MemoryRecords))))
    consumer._fetcher._records[TP] = ours
    while theirs.has_more():
        most = data.draw(st.none() | st.integers(1, 7))
        wanted = [(record.offset, record.value) for record in theirs.getall(most)]
        assert [(record.offset, record.value) for record in ours.getall(most)] == wanted
        if wanted and most == len(wanted):
            assert found.position == expected.position
    assert (ours.has_more(), found.position) == (False, expected.position)


def test_nothing_is_returned_after_a_seek():
    """What was fetched before it is of no more use."""
    consumer = SimpleNamespace(_fetcher=SimpleNamespace(_records=OrderedDict()))
    unwrap_records(consumer)
    found, state = fetched(packed(0, [b"a", b"b", b"c"]), 0)
    consumer._fetcher._records[TP] = found
    assert [record.value for record in found.getall(1)] == [b"a"]
    state.position = 0
    assert not found.getall(1)
    assert not found.has_more()


def test_records_that_must_wait_are_kept_until_they_need_not():
    """Also those that were taken out of a batch already; the position is before the first of them."""
    consumer = SimpleNamespace(_fetcher=SimpleNamespace(_records=OrderedDict()))
    until = unwrap_records(consumer)
    found, state = fetched(packed(0, [b"a", b"b", b"c"]) + packed(3, [b"d"]), 0)
    consumer._fetcher._records[TP] = found
    until[TP] = 1
    assert [record.value for record in found.getall(9)] == [b"a", b"b"]
    for most in (1, None):
        assert (list(found.getall(most)), found.has_more(), state.position) == ([], True, 2)
    until[TP] = 2
    assert [record.value for record in found.getall(9)] == [b"c"]
    assert (list(found.getall(9)), found.has_more(), state.position) == ([], True, 3)
    until.clear()
    assert [record.value for record in found.getall(9)] == [b"d"]
    assert (found.has_more(), state.position) == (False, 4)
