"""The whole flow over a file, in memory (contract, section 7)."""

from __future__ import annotations

import random

import orjson
import pytest

from schemas.registry import SiteEntry
from streams.core import replay as module
from streams.core.registry import Registry
from streams.core.replay import Replay
from tests.reference.compare import core_conversion, core_touch, expected_conversions, expected_touches
from tests.reference.crowds import Crowd
from tests.reference.events import DAY, T0
from tests.reference.model import reference
from tests.reference.shop import SITE, click, purchase


def lines(*events):
    """A file's lines."""
    return [event if isinstance(event, bytes) else orjson.dumps(event) for event in events]


def read(*events, entries=()):
    """A replay that has read them, and what was refused: (line, reason)."""
    replay = Replay(Registry(entries))
    return replay, [(number, refused.reason) for number, refused in replay.read(lines(*events))]


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_a_file_comes_to_what_the_reference_says(monkeypatch, batch):
    """Whatever the size of its batches."""
    monkeypatch.setattr(module, "BATCH", batch)
    for seed in range(8):
        crowd = Crowd(seed, 40)
        result = reference(crowd.events, Registry(crowd.entries))
        replay, refused = read(*crowd.events, entries=crowd.entries)
        found = {row["conversion_id"]: core_conversion(row) for row in replay.attributions()}
        assert found == expected_conversions(result)
        touches = {(row["site"], row["visitor_id"], row["event_id"]): core_touch(row) for row in replay.touches()}
        assert touches == expected_touches(result)
        assert len(refused) == len(result.refused)


def test_without_received_at_an_event_was_received_when_it_happened():
    """However long ago; its clock is taken as right."""
    old = {name: value for name, value in click("a", 1_000).items() if name != "received_at"}
    replay, refused = read(old | {"sent_at": T0})
    assert refused == []
    assert [(touch["time"], touch["received_at"]) for touch in replay.touches()] == [(1_000, 1_000)]


def test_refusals_name_their_line_and_empty_lines_are_passed_over():
    """The others count."""
    _, refused = read(
        b"", click("a"), b"{", b"  ", {"type": "tick"}, click("b", received_at=T0 + 8 * DAY), {"type": []}, b"[1]"
    )
    assert sorted(refused) == [(3, "malformed"), (5, "schema"), (6, "too_old"), (7, "schema"), (8, "malformed")]


def test_conversions_come_in_order_of_time():
    """Then by id; touches by time, then event id."""
    sales = [purchase(f"c{number}", T0 + number // 2, order_id=f"o{number}") for number in range(6)]
    touches = [click(f"t{number}", T0 + number // 2) for number in range(6)]
    events = sales + touches
    random.Random(1).shuffle(events)
    replay, _ = read(*events)
    rows = [(row["conversion_time"], row["conversion_id"]) for row in replay.attributions()]
    assert rows == sorted(rows)
    assert [touch["event_id"] for touch in replay.touches()] == [touch["event_id"] for touch in touches]


def test_a_moved_conversion_is_listed_once():
    """Withdrawn rows are history."""
    replay, _ = read(purchase("b"), purchase("a", T0 - 1, visitor_id="w"))
    assert [row["visitor_id"] for row in replay.attributions()] == ["w"]


def test_versions_go_on_when_a_conversion_moves(monkeypatch):
    """First nobody's, then one visitor's, then another's: each withdrawal and each new credit is a version."""
    monkeypatch.setattr(module, "BATCH", 1)
    sales = [purchase("c", visitor_id=None), purchase("b", T0 + 1), purchase("a", T0 - 1, visitor_id="w")]
    versions = []
    for count in (1, 2, 3):
        replay, _ = read(*sales[:count])
        versions += [(row["visitor_id"], row["version"]) for row in replay.attributions()]
    assert versions == [("", 1), ("v", 3), ("w", 5)]


def test_the_registry_counts():
    """As everywhere."""
    replay, _ = read(purchase(currency=None), entries=[SiteEntry(site=SITE, currency="EUR")])
    assert [row["currency"] for row in replay.attributions()] == ["EUR"]
