"""The compiled code for whole batches does what the Python lines beside its calls do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import panes
from streams.core.compiled import bulk
from streams.worker import windows
from streams.worker.windows import UnitWindows

pytestmark = pytest.mark.skipif(bulk is None, reason="not compiled: no C compiler here")

names = st.text(max_size=3)
numbers = st.lists(st.integers(-(2**70), 2**70), min_size=5, max_size=9)
dimensions = st.tuples(st.integers(0, 2**32 - 1), *[names] * 7)


class NoStore:
    """Windows that were never anything."""

    def pages(self, _start: bytes, _end: bytes, _size: int) -> list[list[tuple[bytes, bytes]]]:
        """None."""
        return []


@given(entries=st.dictionaries(st.binary(max_size=20), st.binary(max_size=3)))
def test_entries_are_put_in_the_order_of_their_keys(entries):
    """Those too that begin alike, or that are each other's beginning."""
    found = []
    bulk.put_in_order(lambda key, value: found.append((key, value)), entries, lambda value: value + b"!")
    assert found == sorted((key, value + b"!") for key, value in entries.items())


def test_what_putting_raises_is_raised():
    """And nothing is put after it."""
    found = []

    def put(key, _value):
        found.append(key)
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - the same one
        bulk.put_in_order(put, {b"b": b"", b"a": b""}, bytes)
    assert found == [b"a"]


@given(changed=st.lists(st.tuples(dimensions, numbers)))
def test_panes_have_the_same_keys(changed):
    """Minutes of any size, names of any letters."""
    assert bulk.pane_keys(changed, panes.texts_of) == panes._places(changed)


@given(batches=st.lists(st.dictionaries(dimensions, numbers, max_size=6), max_size=6), minute=st.integers(0, 3000))
def test_windows_come_to_the_same(batches, minute):
    """Whatever the numbers are; a series that comes to nothing is not there."""
    batches = [{(minute + place[0] % 1500 - 1490, *place[1:]): one for place, one in b.items()} for b in batches]
    found = []
    for module in (bulk, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(windows, "bulk", module)
            unit = UnitWindows(NoStore(), minute)
            for sign in (1, -1):
                for batch in batches[sign < 0 :]:
                    unit.change({place: [sign * number for number in one] for place, one in batch.items()})
                    for _ in unit.pieces(minute):
                        pass
            found.append(unit.totals)
    assert found[0] == found[1]
