"""Results of attribution: exact money, statuses, duplicate policies (contract, section 3, rules 5 and 8)."""

from __future__ import annotations

import pytest

from schemas.reasons import MODELS
from schemas.registry import SiteEntry
from tests.reference.events import DAY, T0
from tests.reference.shop import (
    SITE,
    adjustment,
    click,
    credits_of,
    impression,
    in_every_order,
    landing,
    only,
    purchase,
    run,
    verdict,
)


def policy(name, action="purchase"):
    """A site with a duplicate policy."""
    return [SiteEntry(site=SITE, duplicate_policy={action: name})]


def statuses(cluster):
    """Status by order id."""
    return {row["order_id"]: (row["status"], row["value_micros"]) for row in cluster.attributions().values()}


@pytest.mark.parametrize("value", ["100", "0.01", "0.000001", "0", "-0.01", "-100", "999999999.999999"])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_rule_5_credits_sum_to_the_value_and_weights_to_one(value, count):
    """To the micro, under every model, negative values too."""
    touches = [click(f"t{number}", T0 + number * DAY) for number in range(count)]
    found = only(run(*touches, purchase(time=T0 + 10 * DAY, value=value)))
    for model in MODELS:
        listed = credits_of(found, model)
        assert sum(weight for _, weight, _ in listed) == 1_000_000
        assert sum(micros for _, _, micros in listed) == found["value_micros"]


@pytest.mark.parametrize(
    ("value", "micros"),
    [("0.0000005", 0), ("0.0000015", 2), ("0.0000025", 2), ("-0.0000015", -2), (19.99, 19_990_000), (7, 7_000_000)],
)
def test_rule_5_money_is_micros_half_even(value, micros):
    """Numbers are read as written, never as binary fractions."""
    assert only(run(purchase(value=value)))["value_micros"] == micros


def test_rule_5_touches_of_weight_0_are_not_listed():
    """`last_touch` lists one."""
    found = only(run(click("a"), click("b", T0 + 1), purchase(time=T0 + 2)))
    assert credits_of(found, "last_touch") == [("b", 1_000_000, 100_000_000)]
    assert len(credits_of(found, "linear")) == 2


def test_rule_5_thirds_of_a_hundred():
    """The micro left over goes to the earliest touch; a refund of the same takes the same away."""
    touches = [click(name, T0 + number) for number, name in enumerate("abc")]
    plus = only(run(*touches, purchase(time=T0 + 9, value="100")))
    minus = only(run(*touches, purchase(time=T0 + 9, value="-100")))
    assert [micros for _, _, micros in credits_of(plus, "linear")] == [33_333_334, 33_333_333, 33_333_333]
    assert [micros for _, _, micros in credits_of(minus, "linear")] == [-33_333_334, -33_333_333, -33_333_333]


def test_a_late_touch_changes_the_credit_and_raises_the_version():
    """Attributed again, version + 1, as first reported and as now known."""
    first, late = click("a"), click("b", T0 + DAY, received_at=T0 + 5 * DAY)
    cluster = run(first, purchase(time=T0 + 2 * DAY), late)
    versions = [
        (record["version"], record["cause"], record["first_reported_at"], record["last_changed_at"])
        for _, record, _ in cluster.outputs("attributions")
    ]
    assert versions == [
        (1, "first", T0 + 2 * DAY, T0 + 2 * DAY),
        (2, "late_touch", T0 + 2 * DAY, T0 + 5 * DAY),
    ]


def test_a_touch_that_changes_nothing_raises_no_version():
    """After the conversion, or before its lookback."""
    late = [click("b", T0 + 1), click("c", T0 - 31 * DAY)]
    assert only(run(click("a"), purchase(), *late))["version"] == 1


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (adjustment("x", "reject", T0 + 1), "adjustment"),
        (verdict("x", "a", T0 + 1), "verdict"),
        (purchase("b", T0 - 1, visitor_id="w"), "moved"),
    ],
)
def test_causes(event, cause):
    """Each re-attribution says why."""
    assert only(run(click("a"), purchase(), event))["cause"] == cause


def test_a_batch_with_touches_far_apart_changes_a_conversion_beyond_the_first_one_s_reach():
    """Touches of day 0 and day 200 in one batch, after the conversion of day 201."""
    sale = purchase(time=T0 + 201 * DAY)
    cluster = run(sale)
    cluster.most, cluster.chance.randint = 2, lambda least, most: most
    for event in (click("a"), click("b", T0 + 200 * DAY)):
        cluster.send(event)
    cluster.run()
    assert [touch["touch_id"] for touch in only(cluster)["touches"]] == ["b"]


# ---- rule 8


def sales():
    """Three orders of one visitor, an hour apart; the second click lies before the third."""
    return [
        click("a", T0),
        purchase("c1", T0 + 1, order_id="o1"),
        purchase("c2", T0 + 2, order_id="o2"),
        click("b", T0 + 3),
        purchase("c3", T0 + 4, order_id="o3"),
    ]


@pytest.mark.parametrize(
    ("name", "stay"),
    [
        ("once_per_order", {"o1", "o2", "o3"}),
        ("once_per_visitor", {"o1"}),
        ("once_per_click", {"o1", "o3"}),
    ],
)
def test_rule_8_the_earliest_stays_in_whatever_order_they_arrive(name, stay):
    """The others have status `duplicate` and value 0."""
    expected = {order: ("approved", 100_000_000) if order in stay else ("duplicate", 0) for order in ("o1", "o2", "o3")}
    for events in (sales(), sales()[::-1], sales()[2:] + sales()[:2]):
        assert statuses(run(*events, entries=policy(name))) == expected


def test_rule_8_is_per_action():
    """A lead beside a purchase is no duplicate; `*` stands for all other actions."""
    events = [purchase("c1", order_id="o1"), purchase("c2", order_id="o2", action="lead")]
    assert set(statuses(run(*events, entries=policy("once_per_visitor"))).values()) == {("approved", 100_000_000)}
    events = [purchase(f"c{n}", order_id=f"o{n}", action="lead") for n in range(2)]
    found = statuses(run(*events, entries=policy("once_per_visitor", "*")))
    assert sorted(status for status, _ in found.values()) == ["approved", "duplicate"]


def test_rule_8_unmatched_conversions_are_nobody_s_duplicates():
    """Without a visitor there is nothing to compare."""
    events = [purchase(f"c{n}", order_id=f"o{n}", visitor_id=None) for n in range(2)]
    assert set(statuses(run(*events, entries=policy("once_per_visitor"))).values()) == {("approved", 100_000_000)}


def test_rule_8_a_rejected_conversion_still_stays():
    """The earliest stays whatever its status."""
    events = [*sales(), adjustment("x", "reject", T0 + 9, order_id="o1")]
    found = statuses(run(*events, entries=policy("once_per_visitor")))
    assert found == {"o1": ("rejected", 0), "o2": ("duplicate", 0), "o3": ("duplicate", 0)}


def test_rule_8_once_per_click_needs_a_click_or_landing():
    """Conversions after impressions alone, or after nothing, are no duplicates; a late click makes them so."""
    events = [impression("a"), purchase("c1", T0 + 1, order_id="o1"), purchase("c2", T0 + 2, order_id="o2")]
    assert {status for status, _ in statuses(run(*events, entries=policy("once_per_click"))).values()} == {"approved"}
    found = statuses(run(*events, landing("b", source="x"), entries=policy("once_per_click")))
    assert found == {"o1": ("approved", 100_000_000), "o2": ("duplicate", 0)}


def test_rule_8_a_duplicate_comes_back_when_the_first_one_moves_away():
    """An event says that the first order was another visitor's."""
    events = [*sales(), purchase("c0", T0, order_id="o1", visitor_id="w")]
    found = statuses(run(*events, entries=policy("once_per_visitor")))
    assert found == {"o1": ("approved", 100_000_000), "o2": ("approved", 100_000_000), "o3": ("duplicate", 0)}


def test_rule_8_a_late_click_between_two_conversions_parts_them():
    """Whatever lies far from it: once_per_click groups by the latest click or landing."""
    sale = T0 + 100 * DAY
    events = [
        click("a", sale - 5),
        purchase("c1", sale, order_id="o1"),
        purchase("c2", sale + 2, order_id="o2"),
        click("b", sale + 1),
    ]
    assert set(statuses(run(*events[:3], entries=policy("once_per_click"))).values()) == {
        ("approved", 100_000_000),
        ("duplicate", 0),
    }
    assert set(statuses(run(*events, entries=policy("once_per_click"))).values()) == {("approved", 100_000_000)}


def test_rule_8_keeps_what_was_reported():
    """`value_reported` keeps the amount."""
    found = run(*sales(), entries=policy("once_per_visitor")).attributions().values()
    assert {row["value_reported_micros"] for row in found} == {100_000_000}


def test_the_result_does_not_depend_on_arrival():
    """Three touches, a conversion and a refusal of it, in all orders."""
    found = in_every_order(click("a"), landing("b", T0 + 2), impression("i", T0 + 1), purchase(time=T0 + 3))
    assert [touch["touch_id"] for touch in found["touches"]] == ["a"]
