"""State keys, and the state in memory."""

from __future__ import annotations

from streams.core.ids import visitor_hash
from streams.core.state import (
    ALWAYS,
    SPEND_PREFIX,
    VISITOR_PREFIX,
    Ahead,
    MemoryView,
    attribution_key,
    mark_key,
    order_key,
    pane_key,
    read_mark,
    spend_key,
    spend_prefix,
    visitor_key,
    write_mark,
)

CONVERSION = "0123456789abcdef" * 2
VISITOR = visitor_hash("s", "v")
NOW = 1_800_000_000_000


def test_all_of_a_visitor_lies_under_one_prefix():
    """And nothing else does."""
    assert len(visitor_key(VISITOR)) == VISITOR_PREFIX
    assert attribution_key(VISITOR, CONVERSION) == visitor_key(VISITOR) + b"c" + bytes.fromhex(CONVERSION)
    assert mark_key(attribution_key(VISITOR, CONVERSION)) == mark_key(visitor_key(VISITOR)) == b"m" + VISITOR
    others = [attribution_key(b"", CONVERSION), order_key(CONVERSION), spend_key(1, b"g", b"x"), pane_key(1, b"[]")]
    assert [key[:1] for key in others] == [b"u", b"o", b"s", b"p"]


def test_statements_of_a_group_and_day_lie_under_one_prefix():
    """And others do not."""
    prefix = spend_prefix(20_370, b"g")
    assert len(prefix) == SPEND_PREFIX
    assert spend_key(20_370, b"g", b"x").startswith(prefix)
    assert spend_key(20_370, b"g", b"x") != spend_key(20_370, b"g", b"y")
    assert not any(spend_key(*place, b"x").startswith(prefix) for place in ((20_371, b"g"), (20_370, b"h")))


def test_panes_lie_in_order_of_minutes():
    """Expiry deletes ranges."""
    minutes = [0, 1, 255, 256, 29_333_333, 2**31]
    assert sorted(pane_key(minute, b"[]") for minute in reversed(minutes)) == [pane_key(m, b"[]") for m in minutes]


def test_a_memory_view_scans_by_prefix_in_key_order():
    """Of a visitor, or of everything."""
    view = MemoryView()
    mine = visitor_key(VISITOR)
    entries = {mine + b"t2": b"2", mine + b"t1": b"1", visitor_key(bytes(16)) + b"t1": b"3", b"o1": b"4"}
    for key, value in entries.items():
        view.put(key, value)
    assert view.scan(mine) == [(mine + b"t1", b"1"), (mine + b"t2", b"2")]
    assert view.scan(mine + b"t2") == [(mine + b"t2", b"2")]
    assert view.scan(b"") == sorted(entries.items())
    assert view.get_many([b"o1", b"nothing"]) == [b"4", None]


def test_a_mark_says_until_when():
    """Without a time it says always, as those did that were written before marks had one."""
    for until in (0, 7, NOW, ALWAYS):
        assert read_mark(write_mark(until)) == until
    assert write_mark(ALWAYS) == b""


def test_a_view_ahead_is_as_if_it_had_been_written():
    """What is put anew holds, and lies in key order among the rest."""
    mine = visitor_key(VISITOR)
    before, after = MemoryView(), MemoryView()
    known = {mine + b"t1": b"1", mine + b"t3": b"3", b"o1": b"4"}
    puts = {mine + b"t3": b"new", mine + b"t2": b"2", b"o2": b"5"}
    for view, entries in ((before, known), (after, known | puts)):
        for key, value in entries.items():
            view.put(key, value)
    ahead = Ahead(before, puts)
    keys = [*known, *puts, b"o3"]
    assert ahead.get_many(keys) == after.get_many(keys)
    for prefix in (mine, mine + b"t3", b"o", b"x"):
        assert ahead.scan(prefix) == after.scan(prefix)
    assert Ahead(ahead, {b"o2": b"6"}).get_many([b"o1", b"o2", mine + b"t2"]) == [b"4", b"6", b"2"]
