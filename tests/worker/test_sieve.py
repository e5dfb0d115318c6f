"""The sieve never hides what is there, and keeps look-ups away from a store that has nothing; both twins alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.compiled import bulk
from streams.core.state import mark_key
from streams.worker import sieve, store
from streams.worker.sieve import SIEVE_BYTES
from streams.worker.store import Store

TWINS = [sieve] if bulk is None else [sieve, bulk]
keys = st.one_of(
    st.binary(min_size=16, max_size=16).map(lambda visitor: b"m" + visitor),
    st.binary(min_size=16, max_size=16).map(lambda visitor: b"v" + visitor + b"t"),
    st.binary(max_size=9).map(lambda rest: b"m" + rest),
    st.binary(max_size=3),
)


def marks(count: int, start: int = 0) -> list[bytes]:
    """Keys of so many marks."""
    return [mark_key(b"v" + number.to_bytes(2, "big") * 8) for number in range(start, start + count)]


@given(there=st.dictionaries(keys, st.binary(max_size=2), max_size=20), others=st.lists(keys, max_size=20))
def test_what_is_there_is_found(there, others):
    """Marks and anything else, asked for twice too; what is not is None, and values are unpacked."""
    asked = [*others, *there, *there]
    for twin in TWINS:
        bits = bytearray(SIEVE_BYTES)
        twin.note(bits, there)
        found = twin.look_up(asked, lambda wanted: [there.get(key) for key in wanted], lambda value: value + b"!", bits)
        assert found == [there[key] + b"!" if key in there else None for key in asked]


@given(noted=st.lists(keys, max_size=20))
def test_twins_set_the_same_bits(noted):
    """So that either reads what the other wrote."""
    found = []
    for twin in TWINS:
        bits = bytearray(SIEVE_BYTES)
        twin.note(bits, noted)
        found.append(bits)
    assert all(bits == found[0] for bits in found)


@pytest.mark.parametrize("twin", TWINS)
def test_marks_that_are_not_there_are_not_asked_for(twin):
    """Of a thousand others hardly one; what is no mark always is."""
    asked = []

    def get(wanted: list[bytes]) -> list[bytes | None]:
        asked.extend(wanted)
        return [None] * len(wanted)

    bits = bytearray(SIEVE_BYTES)
    twin.note(bits, marks(1_000))
    assert twin.look_up([*marks(1_000, 1_000), b"vx"], get, bytes, bits) == [None] * 1_001
    assert b"vx" in asked
    assert len(asked) <= 3
    assert twin.look_up([], get, bytes, bits) == []


def test_a_store_knows_its_marks_again(tmp_path, monkeypatch):
    """Those that it had when it was closed, written in one step or restored, until it is wiped; or it asks for all."""
    first = Store(tmp_path / "0")
    first.write(dict.fromkeys(marks(3), b""), {})
    first.close()
    again = Store(tmp_path / "0")
    assert again.get_many(marks(4)) == [b"", b"", b"", None]
    again.reopen(loading=True)
    again.write(dict.fromkeys(marks(1, 3), b""), {})
    again.reopen(loading=False)
    assert again.get_many(marks(4)) == [b""] * 4
    again.close()
    monkeypatch.setattr(store, "MARKS_AT_MOST", 3)
    full = Store(tmp_path / "0")
    assert full.get_many(marks(5)) == [b"", b"", b"", b"", None]
    full.wipe()
    assert full.get_many(marks(5)) == [None] * 5
    full.close()
