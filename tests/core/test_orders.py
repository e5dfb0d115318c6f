"""One conversion told by several events, and adjusted: rules 6 and 7 of the contract's section 3."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.registry import SiteEntry
from streams.core.ids import mint_click_id
from streams.core.orders import merge
from streams.core.registry import Registry
from tests.reference.events import DAY, T0
from tests.reference.shop import SITE, adjustment, candidates, click, in_every_order, only, purchase, run, taken


def told(*events, entries=()):
    """(status, value, value reported) that events come to in every order of arrival, in micros."""
    found = in_every_order(*events, entries=entries)
    return found["status"], found["value_micros"], found["value_reported_micros"]


def conversion(event_id, time=T0, **fields):
    """A telling of order `o` that states nothing but `fields`."""
    return purchase(event_id, time, **{"visitor_id": None, "value": None, "currency": None} | fields)


# ---- rule 6


def test_rule_6_value_and_currency_come_together_from_the_earliest_that_states_a_value():
    """Not the value of one and the currency of another."""
    found = in_every_order(
        conversion("a", T0), conversion("b", T0 + 1, value="10"), conversion("c", T0 + 2, value="20", currency="JPY")
    )
    assert (found["value_micros"], found["currency"]) == (10_000_000, "USD")


def test_rule_6_visitor_from_the_earliest_that_states_one():
    """Pixel without, server with, another one later: one conversion, credited to the right journey."""
    found = in_every_order(
        click("t"),
        conversion("a", T0 + 1),
        conversion("b", T0 + 2, visitor_id="v"),
        conversion("c", T0 + 3, visitor_id="w"),
    )
    assert (found["visitor_id"], candidates(found)) == ("v", ["t"])


def test_rule_6_our_own_click_id_names_the_visitor():
    """Where `visitor_id` is not stated by that event; another's click id names nobody."""
    ours = mint_click_id("v", "spring", b"1", [("k", b"secret")])
    assert in_every_order(conversion("a", click_id=ours))["visitor_id"] == "v"
    assert in_every_order(conversion("a", click_id=ours, visitor_id="w"))["visitor_id"] == "w"
    assert in_every_order(conversion("a", click_id="theirs"), conversion("b", click_id=ours))["visitor_id"] == "v"


def test_rule_6_time_is_the_earliest_and_ties_go_by_event_id():
    """Byte order."""
    found = in_every_order(
        conversion("b", T0, value="2"), conversion("Z", T0, value="1"), conversion("a", T0 + 5, value="3")
    )
    assert (found["conversion_time"], found["value_micros"]) == (T0, 1_000_000)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([None], "approved"),
        (["pending"], "pending"),
        ([None, "pending"], "pending"),
        (["pending", "approved"], "approved"),
        (["approved", "rejected"], "rejected"),
        (["rejected", "pending"], "pending"),
        (["pending", None, "rejected"], "rejected"),
    ],
)
def test_rule_6_a_later_status_acts_as_an_adjustment(statuses, expected):
    """`approved` if none states one."""
    events = [
        conversion(f"e{number}", T0 + number, value="7", **({"status": status} if status else {}))
        for number, status in enumerate(statuses)
    ]
    counted = 0 if expected == "rejected" else 7_000_000
    assert told(*events) == (expected, counted, 7_000_000)


def test_rule_6_a_later_value_is_no_restatement():
    """Only `restate` sets the value anew."""
    assert told(conversion("a", value="7"), conversion("b", T0 + 1, value="9")) == ("approved", 7_000_000, 7_000_000)


def test_rule_6_the_currency_of_the_site_where_none_is_stated():
    """As it was at the event's time; USD where the site is not registered."""
    entries = [SiteEntry(site=SITE, currency="EUR"), SiteEntry(site=SITE, currency="JPY", valid_from=T0 + 1)]
    assert in_every_order(conversion("a", value="1"), entries=entries)["currency"] == "EUR"
    assert in_every_order(conversion("a", T0 + 1, value="1"), entries=entries)["currency"] == "JPY"
    assert in_every_order(conversion("a"))["currency"] == "USD"


def test_rule_6_without_a_value_the_currency_is_still_the_earliest_stated():
    """A restatement is in the conversion's currency."""
    found = in_every_order(
        conversion("a"), conversion("b", T0 + 1, currency="JPY"), adjustment("x", "restate", value="5")
    )
    assert (found["value_micros"], found["currency"]) == (5_000_000, "JPY")


def test_rule_6_without_a_visitor_it_is_unmatched():
    """Credited to Direct until an event names one; then the credit moves."""
    cluster = run(click("t"), conversion("a", value="7"))
    assert (only(cluster)["visitor_id"], candidates(only(cluster))) == ("", [""])
    cluster = run(click("t"), conversion("a", value="7"), conversion("b", T0 + 9, visitor_id="v"))
    assert (only(cluster)["visitor_id"], candidates(only(cluster))) == ("v", ["t"])
    rows = {output.key.decode().split("|")[1]: record for _, record, output in cluster.outputs("attributions")}
    assert rows[""]["withdrawn"]
    assert [touch["touch_id"] for touch in rows[""]["touches"]] == [""]


def test_rule_6_a_conversion_that_moves_leaves_its_first_visitor():
    """An earlier event names another visitor: the old row is withdrawn, the new one in force, panes follow."""
    late = purchase("b", T0 + 10, visitor_id="w", value=None, currency=None)
    early = purchase("a", T0 + 5, visitor_id="v")
    cluster = run(click("t"), click("s", visitor_id="w"), late, early)
    assert (only(cluster)["visitor_id"], candidates(only(cluster))) == ("v", ["t"])


@pytest.mark.parametrize("pixel", ["v", "w", None])
@pytest.mark.parametrize("postback", ["v", "w", None])
@pytest.mark.parametrize("imported", ["v", "w", None])
def test_rule_6_one_order_told_by_pixel_postback_import_and_refund(pixel, postback, imported):
    """With the visitor, with another or with none, in every order: one conversion, credited to the right journey."""
    voices = [
        conversion("postback", T0 + 10, visitor_id=postback, status="pending"),
        conversion("pixel", T0 + 20, visitor_id=pixel, value="80", currency="EUR"),
        conversion("import", T0 + 30, visitor_id=imported, value="90", currency="USD", status="approved"),
        adjustment("refund", "restate", T0 + 40, value="20"),
    ]
    visitor = next(filter(None, (postback, pixel, imported)), "")
    journeys = [click("tv"), click("tw", visitor_id="w")]
    for order in itertools.permutations(voices):
        cluster = taken(*journeys, *order)
        found = only(cluster)
        assert (found["visitor_id"], candidates(found)) == (visitor, [f"t{visitor}" if visitor else ""])
        assert (found["conversion_time"], found["status"]) == (T0 + 10, "approved")
        assert (found["value_micros"], found["currency"]) == (20_000_000, "EUR")
        _, kpis = cluster.panes()
        assert sum(row["revenue"] for key, row in kpis.items() if key[0] == "linear") == 20_000_000


def test_rule_6_actions_and_sites_tell_orders_apart():
    """A conversion is (site, action, order id); without order id it is (site, event id)."""
    others = [
        purchase("a"),
        purchase("a", action="lead"),
        purchase("a", site="other.example"),
        purchase("a", order_id=None),
        purchase("b", order_id=None),
    ]
    assert len(run(*others).attributions()) == 5


# ---- rule 7


@pytest.mark.parametrize(
    ("adjustments", "expected"),
    [
        ([("restate", "5")], ("approved", 5, 5)),
        ([("restate", "5"), ("restate", "6")], ("approved", 6, 6)),
        ([("restate", "-5")], ("approved", -5, -5)),
        ([("restate", "0")], ("approved", 0, 0)),
        ([("reject", None)], ("rejected", 0, 7)),
        ([("reject", None), ("approve", None)], ("approved", 7, 7)),
        ([("reject", None), ("restate", "5")], ("rejected", 0, 5)),
        ([("reject", None), ("restate", "5"), ("approve", None)], ("approved", 5, 5)),
        ([("retract", None)], ("retracted", 0, 7)),
        ([("retract", None), ("approve", None), ("restate", "9")], ("retracted", 0, 7)),
        ([("restate", "5"), ("retract", None), ("restate", "9")], ("retracted", 0, 5)),
        ([("retract", None), ("retract", None)], ("retracted", 0, 7)),
        ([("reject", None), ("retract", None)], ("retracted", 0, 7)),
    ],
)
def test_rule_7_adjustments_apply_in_order_of_time(adjustments, expected):
    """Also before their conversion; after `retract` nothing applies; `value_reported` keeps the amount."""
    events = [
        adjustment(f"x{number}", what, T0 + number, **({"value": value} if value else {}))
        for number, (what, value) in enumerate(adjustments)
    ]
    status, value, reported = expected
    assert told(purchase(value="7"), *events) == (status, value * 1_000_000, reported * 1_000_000)


def test_rule_7_adjustments_of_one_moment_go_by_event_id():
    """Byte order."""
    events = [adjustment("x", "restate", value="1"), adjustment("Y", "restate", value="2")]
    assert told(purchase(value="7"), *events)[1] == 1_000_000


def test_rule_7_a_later_status_takes_its_place_among_the_adjustments():
    """A status stated by a later event acts at that event's time."""
    events = [
        purchase("c", status="pending"),
        adjustment("x", "reject", T0 + 1),
        purchase("d", T0 + 2, status="approved"),
    ]
    assert told(*events)[0] == "approved"
    events = [
        purchase("c", status="pending"),
        adjustment("x", "reject", T0 + 3),
        purchase("d", T0 + 2, status="approved"),
    ]
    assert told(*events)[0] == "rejected"


words = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["restate"]), st.integers(0, 6), st.sampled_from(["5", "0", "-3.5", "0.000001"])),
        st.tuples(st.sampled_from(["approve", "reject", "reject", "retract"]), st.integers(0, 6), st.none()),
        st.tuples(st.sampled_from(["approved", "pending", "rejected"]), st.integers(0, 6), st.none()),
    ),
    max_size=9,
)


@settings(deadline=None, max_examples=60)
@given(words, st.randoms(use_true_random=False), st.integers(0, 3))
def test_rule_7_statuses_and_adjustments_in_any_number_and_arrival(said, chance, valued):
    """Restated, approved, rejected, retracted and told again: the order of time alone decides."""
    events = [
        purchase(f"s{place}", T0 + at, status=word, value=str(valued))
        if word in {"approved", "pending", "rejected"}
        else adjustment(f"x{place}", word, T0 + at, **({"value": value} if value else {}))
        for place, (word, at, value) in enumerate(said)
    ]
    events.append(purchase("c", T0 + valued, value="7"))
    expected = _folded(events)
    for _ in range(3):
        chance.shuffle(events)
        found = only(taken(*events))
        assert (found["status"], found["value_reported_micros"]) == expected
        assert found["value_micros"] == (expected[1] if expected[0] in {"approved", "pending"} else 0)


def _folded(events):
    """Status and micros as rules 6 and 7 read, one word after the other."""
    in_order = sorted(events, key=lambda event: (event["time"], event["event_id"]))
    tellings = [event for event in in_order if event["type"] == "conversion"]
    first = next((event for event in tellings if "status" in event), None)
    status, value = first["status"] if first else "approved", tellings[0]["value"]
    for event in in_order:
        if status != "retracted" and event is not first:
            value = event["value"] if event.get("adjustment") == "restate" else value
            status = {"approve": "approved", "reject": "rejected", "retract": "retracted"}.get(
                event.get("adjustment"), event.get("status", status)
            )
    return status, round(float(value) * 1_000_000)


def test_rule_7_a_conversion_without_order_id_is_adjusted_by_its_event_id():
    """The adjustment may name an action or not; the conversion's own stands."""
    about = {"order_id": None, "conversion_event_id": "c"}
    for action in (None, "purchase", "other"):
        found = in_every_order(purchase(order_id=None), adjustment("x", "reject", action=action, **about))
        assert (found["status"], found["action"]) == ("rejected", "purchase")


def test_rule_7_an_adjustment_alone_is_no_conversion():
    """It waits."""
    assert run(adjustment("x", "restate", value="5")).attributions() == {}


def test_rule_7_credits_of_a_rejected_conversion_stay_listed_with_value_0():
    """The candidates and their weights do not change."""
    found = in_every_order(click("a"), purchase(time=T0 + 1), adjustment("x", "reject", T0 + 2))
    assert (found["counted"], candidates(found)) == (False, ["a"])
    assert found["credits"]["linear"] == [[0, 1_000_000, 0]]


def test_an_adjustment_more_than_180_days_after_its_conversion_says_nothing():
    """Exactly 180 days do; whichever of the two arrives first (it is refused where the conversion is known)."""
    edge, beyond = T0 + 180 * DAY, T0 + 180 * DAY + 1
    facts = [
        {"event_id": "c", "type": "conversion", "time": T0, "value_micros": 7},
        {"event_id": "x", "type": "adjustment", "adjustment": "restate", "time": edge, "value_micros": 8},
        {"event_id": "y", "type": "adjustment", "adjustment": "restate", "time": beyond, "value_micros": 9},
    ]
    facts = [fact | {"received_at": fact["time"]} for fact in facts]
    facts.append(facts[1] | {"event_id": "z", "time": edge - 1, "received_at": beyond, "value_micros": 10})
    for order in (facts, facts[::-1]):
        assert merge(order, SITE, Registry())["value_micros"] == 8
