"""Clicks that are led on and postbacks: what was answered for is recorded once, what was not, at most once a try."""

from __future__ import annotations

from tests.faults.crowds import WALKED, Group
from tests.faults.walks import Walk, look_up


def _walk(**fields) -> Walk:
    return Walk(Group(1, frozenset(WALKED[:1]), 0, []), "walker~1", WALKED[0], **fields)


def _click(event_id, click_id, time=1):
    named = {"type": "click", "event_id": event_id, "site": WALKED[0], "visitor_id": "walker~1"}
    return named | {"click_id": click_id, "time": time, "received_at": time}


def _postback(event_id, time=2):
    named = {"type": "conversion", "event_id": event_id, "site": WALKED[0], "visitor_id": "walker~1"}
    return named | {"action": "purchase", "order_id": "click-1", "time": time, "received_at": time}


def test_what_was_answered_for_is_recorded_once():
    """An acknowledged click or postback that is missing, or there under two ids, is told; a copy is none of these."""
    walk = _walk(clicks_sent=2, clicks=["k2"], postbacks_sent=1, postback=True)
    records = [_click("a", "k1"), _click("b", "k2"), _click("b", "k2"), _postback("p")]
    assert look_up([walk], {"walker~1": records}) == ([], [])
    assert [event["event_id"] for event in walk.group.told] == ["a", "b", "p"]
    lost, _ = look_up([_walk(clicks_sent=1, clicks=["k1"], postbacks_sent=1, postback=True)], {})
    assert len(lost) == 2
    walk = _walk(clicks_sent=2, clicks=["k1"], postbacks_sent=2, postback=True)
    records = [_click("a", "k1"), _click("b", "k1"), _postback("p"), _postback("q")]
    assert len(look_up([walk], {"walker~1": records})[1]) == 2
    assert look_up([_walk(clicks_sent=1)], {"walker~1": [_click("a", "k1"), _click("b", "k2")]})[1]


def test_a_copy_that_says_something_else_must_be_refused():
    """A postback that came again where the first one was forgotten has another time: it is refused, and counts once."""
    walk = _walk(postbacks_sent=3, postback=True)
    look_up([walk], {"walker~1": [_postback("p"), _postback("p", 5), _postback("p")]})
    assert sorted(walk.group.collisions.values()) == [1]
    assert [event["time"] for event in walk.group.told] == [2]
