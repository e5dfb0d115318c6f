"""Records read from a batch's bytes are those that aiokafka reads there; what is no batch is said to be none."""

from __future__ import annotations

import struct

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from schemas import fetched
from schemas.fetched import RecordBatch, RecordLog, join, open_log

pytestmark = pytest.mark.skipif(fetched.compiled is None, reason="there is no compiler")
NOW = 1_764_000_000_000
HEAD = 61
values = st.none() | st.binary(max_size=300)
headers = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=20)), max_size=3)
records = st.lists(st.tuples(st.integers(0, 2**41), values, values, headers), min_size=1, max_size=40)
CODECS = st.sampled_from((0, 1, 2, 3, 4))


def built(found, *, codec=0, base=0, attributes=0, producer=-1) -> bytes:
    """A batch of (time, key, value, headers), as Kafka hands it out; `attributes` are added to its own."""
    builder = DefaultRecordBatchBuilder(2, codec, False, producer, 0, 0, 1 << 24)
    for offset, (time, key, value, stated) in enumerate(found):
        builder.append(offset, time, key, value, stated)
    made = bytearray(builder.build())
    made[:8] = base.to_bytes(8, "big")
    made[22] |= attributes
    made[17:21] = struct.pack(">I", calc_crc32c(bytes(made[21:])))
    return bytes(made)


def told(found) -> list[tuple[object, ...]]:
    return [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in found]


@given(records, CODECS, st.integers(0, 2**40), st.sampled_from((0, 8)))
def test_the_records_are_those_that_aiokafka_reads(found, codec, base, appended) -> None:
    """By each codec; also where Kafka, not the producer, says what time it was."""
    made = built(found, codec=codec, base=base, attributes=appended)
    ours, theirs = RecordBatch(memoryview(made)), DefaultRecordBatch(bytearray(made))
    assert ours.validate_crc()
    for name in (
        "base_offset", "magic", "is_transactional", "is_control_batch", "next_offset", "last_offset_delta", "crc",
        "first_timestamp", "max_timestamp", "producer_id", "producer_epoch", "base_sequence", "attributes",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    expected = told(theirs)
    assert told(ours) == expected
    assert told(ours.records()) == expected
    assert [next(ours).offset for _ in found] == [offset for offset, *_ in expected]


@given(records, st.data())
def test_parts_of_records_are_sequences_like_any_other(found, data) -> None:
    """Cut, cut again and put together; from the end too."""
    whole = RecordBatch(memoryview(built(found))).records()
    expected = told(whole)
    start, end = (data.draw(st.none() | st.integers(-len(found) - 2, len(found) + 2)) for _ in range(2))
    part = whole[start:end]
    assert told(part) == expected[start:end]
    assert told(part[1:]) == expected[start:end][1:]
    assert told(join([part, (), whole])) == expected[start:end] + expected
    assert told(join([list(part), whole])) == expected[start:end] + expected
    assert len(whole) == len(expected)
    for at in (-1, 0, len(found) - 1):
        assert told([whole[at]]) == [expected[at]]
    for at in (len(found), -len(found) - 1):
        with pytest.raises(IndexError):
            whole[at]


def test_a_part_holds_the_bytes_of_its_own_batches_and_no_others() -> None:
    """A reader that always has a few left over would else keep all that it ever read."""
    batches = [RecordBatch(memoryview(built([(NOW, b"k", bytes(100_000), [])] * 3))).records() for _ in range(4)]
    whole = join(batches)
    size = 3 * 100_000
    assert size * 4 < whole.held_bytes() < size * 4.1
    for part, count in ((whole[4:5], 1), (whole[2:4], 2), (whole[3:], 3), (whole[3:9], 2), (whole[:0], 0)):
        assert size * count <= part.held_bytes() <= size * count * 1.1
    left = whole[11:]
    for batch in batches:
        left = join([left, batch])[3:]
    assert left.held_bytes() < size * 1.1


@given(st.lists(records, min_size=1, max_size=4), st.integers(0, 400))
def test_a_log_is_read_up_to_where_it_is_cut_off(batches, cut) -> None:
    """As by aiokafka: batch by batch, and what is cut off counts for its size."""
    data = b"".join(built(found, base=1_000 * place) for place, found in enumerate(batches))
    data = data[: len(data) - cut] if cut < len(data) else data
    ours, theirs = open_log(data), MemoryRecords(data)
    assert isinstance(ours, RecordLog)
    while theirs.has_next():
        assert ours.has_next()
        assert told(ours.next_batch()) == told(theirs.next_batch())
    assert (ours.has_next(), ours.next_batch()) == (False, None)
    assert ours.size_in_bytes() == theirs.size_in_bytes()


def test_batches_of_old_formats_are_left_to_aiokafka() -> None:
    """Kafka keeps what was written before 2017 as it was, also between newer ones."""
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 16)
    builder.append(0, NOW, b"k", b"v")
    old = bytes(builder.build())
    for data in (old, built([(NOW, b"k", b"v", [])]) + old):
        assert isinstance(open_log(data), MemoryRecords)


@given(records, CODECS, st.data())
def test_what_is_broken_is_said_to_be(found, codec, data) -> None:
    """By its checksum; where that was not looked at, it is refused, or comes out as something, and nothing worse."""
    made = bytearray(built(found, codec=codec))
    at = data.draw(st.integers(21, len(made) - 1))
    made[at] ^= data.draw(st.integers(1, 255))
    broken = RecordBatch(memoryview(bytes(made)))
    assert not broken.validate_crc()
    if at < HEAD:
        return
    try:
        read = broken.records()
    except CorruptRecordException:
        return
    for place in range(len(read)):
        try:
            told([read[place]])
        except ValueError:
            continue


@pytest.mark.parametrize("length", [-1, 0, 48])
def test_a_batch_cannot_be_shorter_than_its_head(length) -> None:
    """Or a reader would go round for ever."""
    made = bytearray(built([(NOW, b"k", b"v", [])]))
    made[8:12] = struct.pack(">i", length)
    with pytest.raises(CorruptRecordException):
        open_log(bytes(made))


def test_as_many_records_as_it_says() -> None:
    """No more, no fewer, and none beyond its end."""
    made = bytearray(built([(NOW, b"k", b"v", [])]))
    for count in (-1, 2, 2**31 - 1):
        made[57:61] = struct.pack(">i", count)
        with pytest.raises(CorruptRecordException):
            RecordBatch(memoryview(bytes(made))).records()
    made[22] |= 7  # a codec that does not exist
    with pytest.raises(CorruptRecordException):
        RecordBatch(memoryview(bytes(made))).records()
