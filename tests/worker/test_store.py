"""The index of a unit's outputs: entries and positions together, and nothing that cannot be lost."""

from __future__ import annotations

import multiprocessing
import os
import re

import pytest

from schemas.errors import StateError
from streams.worker import store as module
from streams.worker.store import MAX_STORE_AGE_S, Store, open_store


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    store = Store(tmp_path / "3")
    yield store
    store.close()


def test_what_was_written_is_found(store):
    """Point look-ups keep their order; scans are in key order and end with the prefix."""
    store.write({b"va2": b"2", b"va1": b"1", b"vb": b"b", b"u": b"u"}, {"touches": 7})
    assert store.get_many([b"vb", b"no", b"va1"]) == [b"b", None, b"1"]
    assert store.get_many([]) == []
    assert store.scan(b"va") == [(b"va1", b"1"), (b"va2", b"2")]
    assert list(store.pages(b"u", b"va2", 5)) == [[(b"u", b"u"), (b"va1", b"1")]]
    assert store.positions == {"touches": 7}


def test_pages_show_one_moment(store):
    """They are of the size asked for, and what is written while they are read does not show in them."""
    store.write({b"p%d" % n: b"old" for n in range(5)}, {})
    pages = store.pages(b"p", b"q", 2)
    store.write({b"p%d" % n: b"new" for n in range(9)}, {})
    assert [[key for key, _ in page] for page in pages] == [[b"p0", b"p1"], [b"p2", b"p3"], [b"p4"]]
    assert {value for page in store.pages(b"p", b"q", 4) for _, value in page} == {b"new"}


def test_positions_of_topics_are_kept_apart(store):
    """A write names only those that it moves."""
    store.write({}, {"touches": 7, "panes": 1})
    store.write({}, {"touches": 9})
    assert store.positions == {"touches": 9, "panes": 1}


def test_a_closed_store_goes_on_where_it_was(tmp_path):
    """Entries, positions and what it belongs to."""
    first = Store(tmp_path / "3")
    first.begin("cluster", 4)
    first.write({b"k": b"v"}, {"touches": 7})
    first.close()
    again = Store(tmp_path / "3")
    assert again.get_many([b"k"]) == [b"v"]
    assert again.positions == {"touches": 7}
    assert again.fits("cluster", 4) == ""
    again.close()


def test_options_hold_for_a_store_that_is_there(store):
    """RocksDB's wrapper would go on with those that a store was created with: ready for many, and back."""

    def memtables():
        newest = max(store.path.glob("OPTIONS-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        (found,) = re.findall(r"memtable_factory=\W*(?:id=)?(\w+)", newest.read_text())
        return found, store.loading

    assert memtables() == ("SkipListFactory", False)
    store.write({b"k": b"v"}, {"touches": 7})
    store.reopen(loading=True)
    assert memtables() == ("VectorRepFactory", True)
    store.reopen(loading=False)
    assert memtables() == ("SkipListFactory", False)
    assert (store.get_many([b"k"]), store.positions) == ([b"v"], {"touches": 7})


def test_a_wiped_store_is_new(store):
    """Nothing of it is left."""
    store.begin("cluster", 4)
    store.write({b"k": b"v"}, {"touches": 7})
    store.wipe()
    assert store.get_many([b"k"]) == [None]
    assert (store.meta, store.positions) == ({}, {})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": -1}, "written in another format"),
        ({"cluster_id": "other"}, "of another Kafka cluster"),
        ({"partitions": 5}, "of another number of partitions"),
        ({"written_at": 0}, "last written too long ago"),
    ],
)
def test_a_store_of_something_else_is_not_gone_on_with(store, change, why):
    """It says why."""
    assert store.fits("cluster", 4) == "", "a new one fits everything"
    store.begin("cluster", 4)
    store.write({}, {})
    assert store.fits("cluster", 4) == ""
    store.meta |= change
    assert store.fits("cluster", 4) == why


def test_half_of_the_retention_of_deletions_is_too_long(store, monkeypatch):
    """An older store may have missed them."""
    store.begin("cluster", 4)
    store.write({}, {})
    written = store.meta["written_at"]
    monkeypatch.setattr(module.time, "time", lambda: written + MAX_STORE_AGE_S + 1)
    assert store.fits("cluster", 4)


def _die_writing(path, flushed):
    store = Store(path)
    for number in range(1000):
        store.write({b"k%04d" % number: b"v" * 100}, {"touches": number + 1})
        if number == flushed:
            store._db.flush()
    os._exit(1)


@pytest.mark.parametrize("flushed", [-1, 400])
def test_after_a_crash_positions_never_lie_ahead_of_entries(tmp_path, flushed):
    """There is no write-ahead log: what was not flushed is gone, and the position says so."""
    child = multiprocessing.get_context("spawn").Process(target=_die_writing, args=(tmp_path / "3", flushed))
    child.start()
    child.join(30)
    assert child.exitcode == 1
    store = Store(tmp_path / "3")
    reached = store.positions.get("touches", 0)
    assert reached == flushed + 1
    assert [key for key, _ in store.scan(b"k")] == [b"k%04d" % number for number in range(reached)]
    store.close()


def test_what_rocksdb_cannot_read_is_thrown_away(tmp_path):
    """The topics hold all of it."""
    path = tmp_path / "3"
    first = Store(path)
    first.write({b"k": b"v"}, {"touches": 7})
    first.close()
    (path / "CURRENT").write_text("nonsense\n")
    again = open_store(path)
    assert again.positions == {}
    again.close()


def test_a_store_in_use_is_left_alone(store):
    """Whoever uses it may be about to close it: the unit tries again."""
    store.write({b"k": b"v"}, {})
    with pytest.raises(StateError, match="in use"):
        open_store(store.path)
    assert store.get_many([b"k"]) == [b"v"]
