"""Results of attribution: exact money, statuses, duplicate policies (contract, section 3, rules 5 and 8)."""

from __future__ import annotations

import itertools
from decimal import Decimal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iso4217 import Currency

from schemas.events import read_event
from schemas.reasons import MODELS
from schemas.registry import SiteEntry
from schemas.topics import LARGE_BYTES
from streams.core.attribution import attribute
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.events import DAY, T0
from tests.reference.money import shares, weights_of
from tests.reference.shop import (
    SITE,
    adjustment,
    candidates,
    click,
    consent,
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


CURRENCIES = [currency for currency in Currency if currency.exponent is not None]


def test_rule_5_every_currency_s_smallest_unit_is_a_whole_number_of_micros():
    """Yen have no decimals, Bahraini dinars three, Chilean units of account four; none has more than six."""
    assert {currency.code: currency.exponent for currency in CURRENCIES}.items() >= {
        "JPY": 0, "EUR": 2, "BHD": 3, "CLF": 4,
    }.items()  # fmt: skip
    for currency in CURRENCIES:
        amount = Decimal(12_345_679).scaleb(-currency.exponent)
        event = read_event(purchase(value=f"{amount:f}", currency=currency.code))
        assert event["value_micros"] == amount * 1_000_000


@settings(deadline=None, max_examples=200)
@given(
    currency=st.sampled_from(CURRENCIES),
    units=st.one_of(st.sampled_from([0, 1, -1, 2, -2, 10, -10]), st.integers(-(10**11), 10**11)),
    touches=st.lists(st.tuples(st.integers(0, 90 * DAY), st.booleans()), max_size=30),
    status=st.sampled_from(["approved", "pending", "rejected", "retracted"]),
)
def test_rule_5_money_is_exact_over_any_journey(currency, units, touches, status):
    """Whatever the precision, the sign and the status: to the micro the reference's shares, and nothing is lost."""
    amount = Decimal(units).scaleb(-currency.exponent)
    event = read_event(purchase(time=T0, value=f"{amount:f}", currency=currency.code))
    order = event | {"conversion_id": "c", "status": status, "revision": 1}
    journey = [
        {"event_id": f"{place:02}", "type": "click", "time": T0 - age, "channel": "Direct" if direct else "Email"}
        for place, (age, direct) in enumerate(sorted(touches, reverse=True))
    ]
    found = attribute(order, journey)
    reported = int(amount * 1_000_000)
    counted = reported if status in {"approved", "pending"} else 0
    assert (found["value_micros"], found["value_reported_micros"]) == (counted, reported)
    for model in MODELS:
        exact = weights_of(model, journey or [{"time": T0, "channel": "Direct"}], T0)
        listed = found["credits"][model]
        assert [index for index, _, _ in listed] == [index for index, weight in enumerate(exact) if weight]
        exact = [weight for weight in exact if weight]
        assert [micros for _, _, micros in listed] == shares(counted, exact)
        assert sum(micros for _, _, micros in listed) == counted
        assert sum(weight for _, weight, _ in listed) == 1_000_000
        if status == "rejected":
            assert found["rejected_micros"][model] == shares(reported, exact)


@pytest.mark.parametrize("letter", ["\x01", "\U0001d4b3", '"'])
def test_the_largest_attribution_fits_its_topic(letter):
    """500 touches with every text as long as may be, of the letters that take most as JSON; addresses say no more."""
    text = letter * 256
    names = ("medium", "content", "ad_group", "ad", "partner", "variant", "audience")
    stated = f"utm_source={letter * 2000}&utm_campaign={letter * 2000}&utm_term={letter * 2000}"
    fields = dict.fromkeys(names, text) | {"source": None, "url": f"https://{SITE}/?{stated}"}
    touches = [click(f"{number:03}" + letter * 61, T0 + number, **fields) for number in range(501)]
    order = purchase("c", T0 + DAY, order_id=letter * 128, user_id=letter * 128, click_id=letter * 2048)
    cluster = Cluster(Registry(), chaos=False, most=1000).run([*touches, order])
    size = max(len(output.value) for _, _, output in cluster.outputs("attributions"))
    assert size > 500 * 10 * 256 * (len(orjson.dumps(letter)) - 2)
    assert size + 100_000 < LARGE_BYTES
    assert [len(shown["source"]) for shown in only(cluster)["touches"]] == [256] * 500


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


def test_what_is_said_of_a_touch_back_and_forth():
    """Each verdict and each consent that changes the credit is a version of its own; in the end the latest holds."""
    said = [
        verdict("d1", "b", T0 + 10, reasons=["flood"]),
        verdict("d2", "b", T0 + 20, valid=True),
        consent("d3", "denied", T0 + 30),
        verdict("d4", "b", T0 + 40, reasons=["bot"]),
        consent("d5", "granted", T0 + 50),
    ]
    touches = [click("a"), click("b", T0 + 1), purchase(time=T0 + 2)]
    cluster = run(*touches, *said)
    told = [
        (record["version"], record["cause"], candidates(record)) for _, record, _ in cluster.outputs("attributions")
    ]
    assert told == [
        (1, "first", ["a", "b"]),
        (2, "verdict", ["a"]),
        (3, "verdict", ["a", "b"]),
        (4, "verdict", [""]),
    ]
    assert cluster.touches()[SITE, "v", "b"]["invalid_reasons"] == ["no_consent", "bot"]
    for order in itertools.islice(itertools.permutations(said), 0, 120, 11):
        assert candidates(only(run(*order[:2], *touches, *order[2:]))) == [""]


def test_consent_withdrawn_later_takes_the_credit_away_and_leaves_the_traffic():
    """The panes are corrected: the conversion is Direct's, the click still a visit."""
    cluster = run(click("a"), purchase(time=T0 + 1), consent("s", "denied", T0 + DAY))
    assert (only(cluster)["version"], candidates(only(cluster))) == (2, [""])
    traffic, kpis = cluster.panes()
    assert {key[2]: row for key, row in traffic.items()} == {"Paid Search": {"clicks": 1}}
    assert {(key[3], row["conversions"], row["revenue"]) for key, row in kpis.items()} == {
        ("Direct", 1_000_000, 100_000_000)
    }


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


def test_rule_8_a_late_word_changes_which_one_is_the_first():
    """An earlier telling of the third order, and one that makes the first another visitor's: both ways round."""
    told = [purchase("c9", T0, order_id="o3"), purchase("c8", T0, order_id="o1", visitor_id="w")]
    stay = [{"o3"}, {"o1", "o3"}]
    for number in range(2):
        found = statuses(run(*sales(), *told[: number + 1], entries=policy("once_per_visitor")))
        assert {order for order, (status, _) in found.items() if status == "approved"} == stay[number]


@pytest.mark.parametrize(
    ("late", "stay"),
    [
        ([], {"o1", "o3"}),
        ([verdict("x", "b", T0 + 9)], {"o1"}),
        ([verdict("x", "b", T0 + 9), verdict("y", "b", T0 + 10, valid=True)], {"o1", "o3"}),
        ([consent("x", "denied", T0 + 9)], {"o1", "o2", "o3"}),
        ([consent("x", "denied", T0 + 9), consent("y", "granted", T0 + 10)], {"o1", "o2", "o3"}),
        ([landing("c", T0 + 1, source="news")], {"o1", "o3"}),
        ([landing("Z", T0 + 2, source="news")], {"o1", "o2", "o3"}),
        ([purchase("c9", T0 + 2, order_id="o3")], {"o1"}),
    ],
)
def test_rule_8_once_per_click_follows_what_is_learnt_of_the_clicks(late, stay):
    """Verdicts, consents, late landings and earlier tellings part and join conversions, whenever they arrive."""
    found = statuses(run(*sales(), *late, entries=policy("once_per_click")))
    assert {order for order, (status, _) in found.items() if status == "approved"} == stay


def test_rule_8_keeps_what_was_reported():
    """`value_reported` keeps the amount."""
    found = run(*sales(), entries=policy("once_per_visitor")).attributions().values()
    assert {row["value_reported_micros"] for row in found} == {100_000_000}


def test_the_result_does_not_depend_on_arrival():
    """Three touches, a conversion and a refusal of it, in all orders."""
    found = in_every_order(click("a"), landing("b", T0 + 2), impression("i", T0 + 1), purchase(time=T0 + 3))
    assert [touch["touch_id"] for touch in found["touches"]] == ["a"]
