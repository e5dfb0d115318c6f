"""Conversions on their two steps: identity, duplicates, moves (contract, sections 1 and 2; design, section 3)."""

from __future__ import annotations

import orjson
import pytest

from schemas.registry import SiteEntry
from streams.core import conversions as module
from streams.core.conversions import order_partition_key
from streams.core.ids import partition_of
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.events import DAY, T0
from tests.reference.shop import SITE, adjustment, click, only, purchase, refusals, run


def outcome_counts(cluster):
    """accepted, duplicate, dead letters of `conversions`."""
    return tuple(cluster.counts["conversions", name] for name in ("accepted", "duplicate", "dead_letter"))


@pytest.mark.parametrize("one_by_one", [True, False])
def test_the_same_event_again_is_a_duplicate_and_another_one_a_collision(one_by_one):
    """An event about a conversion is (conversion, event id)."""
    cluster = run(purchase("a"), purchase("a", ip="::1"), purchase("a", value="9"), one_by_one=one_by_one)
    assert outcome_counts(cluster) == (1, 1, 1)
    assert only(cluster)["value_micros"] == 100_000_000


def test_one_event_id_in_two_orders_is_two_events():
    """An importer may number its lines anew each day."""
    assert outcome_counts(run(purchase("a"), purchase("a", order_id="o2"))) == (2, 0, 0)


def test_what_partitions_the_topic():
    """Order id, else the conversion's event id, for its adjustments too."""
    assert order_partition_key(purchase("a")) == "o"
    assert order_partition_key(purchase("a", order_id=None)) == "a"
    assert order_partition_key(adjustment("x", "reject", order_id=None, conversion_event_id="a")) == "a"


def test_an_adjustment_too_long_after_its_known_conversion_is_refused():
    """More than 180 d; exactly 180 d is taken."""
    cluster = run(purchase(), adjustment("x", "restate", T0 + 180 * DAY, value="1"))
    assert only(cluster)["value_micros"] == 1_000_000
    cluster = Cluster(Registry(), chaos=False, most=1)
    cluster.run([purchase()])
    cluster.run([adjustment("x", "restate", T0 + 180 * DAY + 1, value="1")])
    assert only(cluster)["value_micros"] == 100_000_000
    assert [reason for reason, _ in refusals(cluster)] == ["too_old"]


@pytest.mark.parametrize("visitor", ["v", None])
def test_what_the_registry_changes_in_an_order_has_the_registry_for_its_cause(visitor):
    """A currency that comes late, with a visitor and without."""
    cluster = run(click("a"), purchase(currency=None, visitor_id=visitor))
    cluster.run(entries=[SiteEntry(site=SITE, currency="CHF")])
    found = only(cluster)
    assert (found["cause"], found["currency"], found["version"]) == ("registry", "CHF", 2)


def test_an_order_and_its_visitor_lie_in_different_partitions():
    """The order's unit passes the merged conversion on; attributions and panes lie with the visitor."""
    cluster = Cluster(Registry(), 4, chaos=False)
    cluster.run([click("a"), purchase()])
    order_place, visitor_place = partition_of("o", 4), partition_of("v", 4)
    assert order_place != visitor_place
    assert [place for place, _, _ in cluster.outputs("orders")] == [order_place]
    assert {place for place, _, _ in cluster.outputs("attributions")} == {visitor_place}
    assert [output.key for _, _, output in cluster.outputs("attributions")] == [
        f"{only(cluster)['conversion_id']}|v".encode()
    ]


def test_an_unmatched_conversion_lies_with_its_order_until_it_has_a_visitor():
    """And is counted as unmatched."""
    cluster = Cluster(Registry(), 4, chaos=False)
    cluster.run([purchase(visitor_id=None)])
    assert {place for place, _, _ in cluster.outputs("attributions")} == {partition_of("o", 4)}
    assert sum(outcome.unmatched for outcome in cluster.outcomes) == 1


def test_a_conversion_that_comes_back_to_a_visitor_is_in_force_there_again():
    """v, then w by an earlier event, then v by a yet earlier one."""
    cluster = run(purchase("c"), purchase("b", T0 - 1, visitor_id="w"), purchase("a", T0 - 2))
    found = only(cluster)
    assert (found["visitor_id"], found["version"], found["withdrawn"]) == ("v", 3, False)


def test_an_event_that_changes_nothing_sends_nothing_on():
    """The order remembers it, its visitor's unit hears nothing."""
    cluster = run(purchase("a"), purchase("b", T0 + 1, value="9"))
    assert len(list(cluster.outputs("orders"))) == 2
    assert len(list(cluster.outputs("orders-by-visitor"))) == 1


def test_garbage_between_the_steps_is_refused():
    """`orders-by-visitor` is ours, but anybody may write to Kafka."""
    cluster = Cluster(Registry(), chaos=False)
    for raw in (b"", b"{", b"[]", b"{}"):
        cluster.put("orders-by-visitor", 0, raw)
    cluster.put("orders-by-visitor", 0, None)
    cluster.run()
    assert [reason for reason, _ in refusals(cluster)] == ["malformed"] * 5


def test_an_order_that_is_full_takes_no_further_event(monkeypatch):
    """`too_large`, and the order stays as it is."""
    monkeypatch.setattr(module, "MAX_ORDER_BYTES", 20_000)
    cluster = Cluster(Registry(), chaos=False)
    for number in range(200):
        cluster.put(
            "conversions", 0, orjson.dumps(adjustment(f"x{number:03}", "restate", T0 + number, value=str(number)))
        )
    cluster.put("conversions", 0, orjson.dumps(purchase()))
    cluster.run()
    assert {reason for reason, _ in refusals(cluster)} == {"too_large"}
    assert cluster.counts["conversions", "accepted"] > module.MANY_FACTS


def test_an_event_that_names_the_visitor_too_is_no_change():
    """Not a new version: nothing that is shown differs."""
    untold = {name: value for name, value in purchase().items() if name != "visitor_id"}
    told = run(untold, purchase(event_id="p2", time=T0 + 10))
    told.run([purchase(event_id="p3", time=T0 + 5)])
    versions = [record["version"] for _, record, _ in told.outputs("attributions") if not record["withdrawn"]]
    named = [record["order"]["named_at"] - T0 for _, record, _ in told.outputs("attributions")]
    assert (versions[-2:], named[-2:]) == ([1, 1], [10, 5])


@pytest.mark.parametrize(
    "change",
    [{"cause": {}}, {"cause": "whim"}, {"at": "now"}, {"gone": 0}, {"order": []}, {"order": {"time": "1"}}],
    ids=str,
)
def test_what_is_not_our_own_record_is_refused(change):
    """Anybody can write to the topic between the two steps; a neighbour counts."""
    order = dict.fromkeys(("site", "action", "order_id", "visitor_id", "currency"), "x")
    order |= {"conversion_id": "0" * 32, "status": "approved", "time": T0, "value_micros": 1, "revision": 1}
    told = {"order": order, "gone": False, "cause": "adjustment", "at": T0}
    odd = told | change if not isinstance(change.get("order"), dict) else told | {"order": order | change["order"]}
    cluster = Cluster(Registry(), 1, chaos=False)
    for value in (odd, told):
        cluster.put("orders-by-visitor", 0, orjson.dumps(value), b"x")
    cluster.run()
    assert [reason for reason, _ in refusals(cluster)] == ["malformed"]
    assert len(cluster.attributions()) == 1
