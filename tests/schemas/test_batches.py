"""Batches made of all their records at once are those that aiokafka makes one record at a time."""

from __future__ import annotations

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from schemas import batches
from schemas.batches import BATCH_BYTES, batches_of

ZSTD = 4
NOW = 1_764_000_000_000

pytestmark = pytest.mark.skipif(batches.compiled is None, reason="there is no compiler")
names = st.text(max_size=5)
values = st.binary(max_size=300)
times = st.none() | st.integers(0, 2**41)
records = st.tuples(st.none() | values, values, st.lists(st.tuples(names, st.none() | values), max_size=3), times)


def builder(transactional: int = 0) -> BatchBuilder:
    return BatchBuilder(BATCH_BYTES, ZSTD, is_transactional=transactional)


def read(made: bytes) -> list[tuple[object, ...]]:
    batch = DefaultRecordBatch(bytearray(made))
    assert batch.validate_crc()
    return [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in batch]


@given(st.lists(records, min_size=1, max_size=200), st.booleans())
def test_the_same_records_come_out_as_of_aiokafkas_builder(found: list[batches.Unsent], transactional: bool) -> None:
    (packed,) = batches_of(found, NOW, builder, transactional=transactional)
    theirs = builder(int(transactional))
    for key, value, headers, time in found:
        theirs.append(key=key, value=value, timestamp=NOW if time is None else time, headers=headers)
    for batch in (packed, theirs):
        batch._set_producer_state(7, 3, 11)
    ours, expected = (DefaultRecordBatch(bytearray(batch._build())) for batch in (packed, theirs))
    assert read(packed._build()) == read(theirs._build())
    for name in (
        "base_offset", "magic", "is_transactional", "is_control_batch", "last_offset_delta", "first_timestamp",
        "max_timestamp", "producer_id", "producer_epoch", "base_sequence",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(expected, name), name
    assert packed.record_count() == theirs.record_count() == len(found)
    assert packed.size() == len(packed._build())


@given(st.lists(records, min_size=1, max_size=50))
def test_the_bytes_before_compression_are_the_same(found: list[batches.Unsent]) -> None:
    theirs = DefaultRecordBatchBuilder(2, 0, False, -1, -1, 0, BATCH_BYTES)
    for offset, (key, value, headers, time) in enumerate(found):
        theirs.append(offset, NOW if time is None else time, key, value, headers)
    packed, end, *_ = batches.compiled.pack(found, 0, BATCH_BYTES, NOW)
    assert (packed, end) == (bytes(theirs.build()[61:]), len(found))


@given(st.lists(st.tuples(values, values, values), min_size=1, max_size=50))
def test_a_keyed_record_stands_for_the_tuple_of_it(found: list[tuple[bytes, bytes, bytes]]) -> None:
    keyed = [batches.compiled.Keyed(*each) for each in found]
    tuples = [(key, value, [("k", state_key)], None) for key, value, state_key in found]
    assert keyed == tuples
    assert tuples == keyed
    assert [tuple(each) for each in keyed] == tuples
    mixed = [pair[place % 2] for place, pair in enumerate(zip(keyed, tuples, strict=True))]
    expected = batches.compiled.pack(tuples, 0, BATCH_BYTES, NOW)
    assert batches.compiled.pack(keyed, 0, BATCH_BYTES, NOW) == expected
    assert batches.compiled.pack(mixed, 0, BATCH_BYTES, NOW) == expected


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=40), st.integers(100, 4_000))
def test_no_batch_of_several_records_is_larger_than_it_may_be_and_none_is_lost(sizes: list[int], most: int) -> None:
    found: list[batches.Unsent] = [(b"k", bytes(size), [("h", b"v")], None) for size in sizes]
    at, seen = 0, []
    while at < len(found):
        packed, end, first, latest = batches.compiled.pack(found, at, most, NOW)
        assert end > at
        assert len(packed) <= most or end == at + 1
        assert (first, latest) == (NOW, NOW)
        one = batches.PackedBatch(packed, end - at, first, latest, transactional=False)
        seen += [value for _, _, _, value, _ in read(one._build())]
        at = end
    assert seen == [value for _, value, _, _ in found]


def test_a_batch_sent_again_has_the_same_bytes() -> None:
    (packed,) = batches_of([(b"k", b"v", [], None)], NOW, builder, transactional=True)
    packed._set_producer_state(1, 2, 3)
    assert packed._build() is packed._build()


def test_without_a_compiler_aiokafkas_builder_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "compiled", None)
    found: list[batches.Unsent] = [(b"k", bytes([number]) * 400_000, [], None) for number in range(5)]
    made = list(batches_of(found, NOW, builder))
    assert [batch.record_count() for batch in made] == [2, 2, 1]
    assert [value for batch in made for *_, value, _ in read(batch._build())] == [value for _, value, _, _ in found]


@pytest.mark.parametrize("odd", [(b"k", "text", [], None), ("k", b"v", [], None), (b"k", b"v", [(b"n", b"v")], None)])
def test_what_is_no_record_is_not_written(odd: batches.Unsent) -> None:
    with pytest.raises(TypeError):
        batches.compiled.pack([odd], 0, BATCH_BYTES, NOW)
