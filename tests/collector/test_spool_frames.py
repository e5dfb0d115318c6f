"""Frames among damage: cut anywhere, changed anywhere, and made by someone else."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.collector.eventlog import Record
from streams.collector.spool_frames import HEADER, mark_of, read_frames, read_record, write_frames, write_record

seeds = st.integers(0, 2**64 - 1)
bodies = st.lists(st.binary(max_size=60), max_size=12)
headers = st.none() | st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=3)
records = st.builds(
    Record, st.text(max_size=12), st.none() | st.text(max_size=20), st.binary(), st.integers(0, 2**53), headers
)


def found(data: bytes, seed: int) -> list[bytes]:
    """The bodies of whole frames in `data`."""
    return [piece.body for piece in read_frames(data, seed) if piece.body is not None]


def ends(written: list[bytes]) -> list[int]:
    """Where each frame ends."""
    total, all_of_them = 0, []
    for body in written:
        total += HEADER.size + len(body)
        all_of_them.append(total)
    return all_of_them


@given(records)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    """With its key or none, any bytes, and its headers."""
    assert read_record(write_record(record)) == record


def test_another_format_is_no_record() -> None:
    """It raises, and is treated as damage by who reads."""
    with pytest.raises(msgspec.DecodeError):
        read_record(b"\xc1 nothing")


@given(bodies, seeds)
def test_pieces_cover_all(written: list[bytes], seed: int) -> None:
    """Without damage: frame after frame, from the first byte to the last."""
    data = write_frames(written, seed)
    pieces = list(read_frames(data, seed))
    assert [piece.body for piece in pieces] == written
    assert [piece.end for piece in pieces] == ends(written)


@given(bodies, seeds, st.data())
def test_a_cut_takes_only_what_it_cuts(written: list[bytes], seed: int, draw: st.DataObject) -> None:
    """Of a file cut at any byte, what was whole before the cut is there, and nothing else is."""
    data = write_frames(written, seed)
    cut = draw.draw(st.integers(0, len(data)))
    whole = [body for body, end in zip(written, ends(written), strict=True) if end <= cut]
    assert found(data[:cut], seed) == whole


@given(bodies.filter(len), seeds, st.data())
def test_a_change_takes_only_what_it_changes(written: list[bytes], seed: int, draw: st.DataObject) -> None:
    """Whatever bytes change, in lengths and marks too: every frame beside them is found, and nothing else."""
    data = bytearray(write_frames(written, seed))
    places = draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4, unique=True))
    for place in places:
        data[place] ^= draw.draw(st.integers(1, 255))
    last = ends(written)
    first = [0, *last[:-1]]
    beside = [
        body
        for body, start, end in zip(written, first, last, strict=True)
        if not any(start <= place < end for place in places)
    ]
    assert found(bytes(data), seed) == beside
    pieces = list(read_frames(bytes(data), seed))
    assert [pieces[0].start, *[piece.end for piece in pieces]] == [0, *[piece.start for piece in pieces[1:]], len(data)]


@given(bodies.filter(len), seeds, seeds)
def test_frames_inside_an_event_stay_part_of_it(smuggled: list[bytes], seed: int, guess: int) -> None:
    """Who sends bytes that look like frames has them taken for none, even where the frame around them is damaged."""
    if guess == seed:
        return
    inner = write_frames(smuggled, guess)
    data = bytearray(write_frames([inner, b"neighbour"], seed))
    data[0] ^= 1
    assert found(bytes(data), seed) == [b"neighbour"]


@given(bodies, seeds)
def test_marks_alone_are_no_frames(between: list[bytes], seed: int) -> None:
    """A mark that happens to stand in the bytes does not stop the search."""
    noise = mark_of(seed).join([b"", *between, b""])
    data = b"\1" + noise + write_frames([b"after"], seed)
    assert found(data, seed)[-1:] == [b"after"]
