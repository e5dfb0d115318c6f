"""Candidates: rules 1 to 4 of the contract's section 3, each edge by itself; the reference agrees."""

from __future__ import annotations

import itertools

import pytest

from schemas.registry import CampaignEntry, SiteEntry
from streams.core.ids import mint_click_id
from tests.reference.events import DAY, MINUTE, T0
from tests.reference.shop import (
    SITE,
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
    taken,
    verdict,
)

HW_CID = mint_click_id("v", "spring", b"1", [("k", b"secret")])
ARRIVAL = f"https://{SITE}/?hw_cid={HW_CID}"


# ---- rule 1: order, validity, lookback


def test_rule_1_order_is_time_then_event_id_by_bytes():
    """Capitals before small letters before accents, as bytes have it."""
    touches = [click(name) for name in ("b", "a", "Z", "é", "\U0001d4b3", "\uffff")]
    assert candidates(only(run(*touches, purchase()))) == ["Z", "a", "b", "é", "\uffff", "\U0001d4b3"]


@pytest.mark.parametrize(("late", "counts"), [(-1, True), (0, True), (1, False)])
def test_rule_1_a_touch_is_not_after_the_conversion(late, counts):
    """A touch of the same millisecond counts."""
    found = only(run(click("a", T0 + late), purchase(time=T0)))
    assert candidates(found) == (["a"] if counts else [""])


@pytest.mark.parametrize(
    ("make", "lookback"),
    [(click, 30 * DAY), (landing, 30 * DAY), (impression, DAY)],
    ids=["click", "landing", "impression"],
)
def test_rule_1_lookback_to_the_millisecond(make, lookback):
    """Exactly the lookback counts, a millisecond more does not."""
    assert candidates(only(run(make("a", T0), purchase(time=T0 + lookback)))) == ["a"]
    assert candidates(only(run(make("a", T0), purchase(time=T0 + lookback + 1)))) == [""]


def test_rule_1_a_site_states_its_own_lookbacks():
    """Per kind; the others keep the defaults."""
    site = SiteEntry(site=SITE, lookbacks={"click": 7})
    assert candidates(only(run(click("a"), purchase(time=T0 + 7 * DAY), entries=[site]))) == ["a"]
    assert candidates(only(run(click("a"), purchase(time=T0 + 7 * DAY + 1), entries=[site]))) == [""]
    assert candidates(only(run(landing("a"), purchase(time=T0 + 30 * DAY), entries=[site]))) == ["a"]


def test_rule_1_a_campaign_s_lookback_beats_the_site_s():
    """For that campaign alone, at that site alone."""
    entries = [
        SiteEntry(site=SITE, lookbacks={"click": 7}),
        CampaignEntry(campaign="long", site=SITE, lookbacks={"click": 90}),
        CampaignEntry(campaign="elsewhere", site="other.example", lookbacks={"click": 90}),
    ]
    touches = [click("a", campaign="long"), click("b", campaign="elsewhere"), click("c")]
    assert candidates(only(run(*touches, purchase(time=T0 + 90 * DAY), entries=entries))) == ["a"]
    assert candidates(only(run(*touches, purchase(time=T0 + 90 * DAY + 1), entries=entries))) == [""]


def test_rule_1_a_lookback_of_nothing_switches_the_kind_off():
    """Even for a touch of the conversion's own millisecond."""
    entries = [SiteEntry(site=SITE, lookbacks={"click": 0})]
    assert candidates(only(run(click("a"), landing("b", T0 - DAY), purchase(), entries=entries))) == ["b"]


def test_rule_1_settings_are_those_of_the_touch_s_time():
    """The registry is selected by event time: an old touch keeps the lookback it happened under."""
    entries = [
        SiteEntry(site=SITE, lookbacks={"click": 90}),
        SiteEntry(site=SITE, lookbacks={"click": 7}, valid_from=T0 + 1),
    ]
    found = only(run(click("a", T0), click("b", T0 + 1), purchase(time=T0 + 20 * DAY), entries=entries))
    assert candidates(found) == ["a"]


def test_rule_1_touches_of_another_visitor_or_site_do_not_count():
    """A journey is a visitor's at one site."""
    others = [click("a", visitor_id="w"), click("b", site="other.example")]
    assert candidates(only(run(*others, purchase()))) == [""]


# ---- rule 2: internal


@pytest.mark.parametrize(
    "referrer",
    [
        f"https://www.{SITE}/cart",
        "https://own.example/x",
        "https://sub.own.example/x",
        "https://www.paypal.com/checkout",
    ],
)
def test_rule_2_a_return_from_the_site_itself_or_a_provider_is_internal(referrer):
    """The earlier click keeps the credit; the landing is kept and marked."""
    entries = [SiteEntry(site=SITE, domains=("own.example",))]
    cluster = run(
        click("a"),
        landing("b", T0 + 2 * DAY, url=f"https://{SITE}/thanks", referrer=referrer),
        purchase(time=T0 + 2 * DAY),
        entries=entries,
    )
    assert candidates(only(cluster)) == ["a"]
    assert cluster.touches()[SITE, "v", "b"]["internal"] is True


@pytest.mark.parametrize("query", ["utm_source=x", "gclid=1"])
def test_rule_2_a_tagged_landing_is_never_internal(query):
    """Its address carries a UTM parameter or a click id."""
    back = landing("b", T0 + DAY, url=f"https://{SITE}/?{query}", referrer="https://www.paypal.com/")
    assert candidates(only(run(back, purchase(time=T0 + DAY)))) == ["b"]


def test_rule_2_a_site_may_change_the_providers():
    """One added, one taken off the shipped list."""
    entries = [SiteEntry(site=SITE, providers={"added": ["pay.test"], "removed": ["paypal.com"]})]
    touches = [
        landing("a", T0, referrer="https://www.paypal.com/"),
        landing("b", T0 + DAY, referrer="https://secure.pay.test/"),
    ]
    assert candidates(only(run(*touches, purchase(time=T0 + DAY), entries=entries))) == ["a"]


# ---- rule 2: continuation


@pytest.mark.parametrize(("gap", "counts"), [(1, False), (30 * MINUTE, False), (30 * MINUTE + 1, True)])
def test_rule_2_a_continuation_within_30_minutes(gap, counts):
    """A landing that says nothing, after a click or landing; exactly 30 minutes is within."""
    found = only(run(click("a"), landing("b", T0 + gap), purchase(time=T0 + DAY)))
    assert candidates(found) == (["a", "b"] if counts else ["a"])


def test_rule_2_the_session_is_a_setting_of_the_site():
    """In minutes, 30 by default."""
    entries = [SiteEntry(site=SITE, session_minutes=5)]
    touches = [click("a"), landing("b", T0 + 5 * MINUTE), landing("c", T0 + 10 * MINUTE + 1)]
    assert candidates(only(run(*touches, purchase(time=T0 + DAY), entries=entries))) == ["a", "c"]


def test_rule_2_continuations_and_internal_landings_carry_the_session_on():
    """The latest click or landing counts, whatever it is."""
    touches = [
        click("a"),
        landing("b", T0 + 25 * MINUTE),
        landing("c", T0 + 50 * MINUTE, referrer="https://www.paypal.com/"),
        landing("d", T0 + 75 * MINUTE),
    ]
    assert candidates(only(run(*touches, purchase(time=T0 + DAY)))) == ["a"]


def test_rule_2_an_impression_carries_no_session_on():
    """Only a click or a landing does."""
    assert candidates(only(run(impression("a"), landing("b", T0 + 1), purchase(time=T0 + 2)))) == ["a", "b"]


@pytest.mark.parametrize(
    "fields",
    [
        {"url": f"https://{SITE}/?utm_medium=email"},
        {"url": f"https://{SITE}/?gclid=1"},
        {"source": "partner"},
        {"medium": "email"},
        {"campaign": "spring"},
        {"referrer": "https://blog.example.org/"},
    ],
)
def test_rule_2_a_landing_that_says_where_it_comes_from_is_no_continuation(fields):
    """UTM, click id, explicit source, or a foreign referrer."""
    assert candidates(only(run(click("a"), landing("b", T0 + 1, **fields), purchase(time=T0 + 2)))) == ["a", "b"]


def test_rule_2_a_reload_is_a_continuation():
    """The same address evidence and referrer as the latest one; page and order of parameters change nothing."""
    google = "https://www.google.com/"
    touches = [
        landing("a", T0, url=f"https://{SITE}/?gclid=1&utm_campaign=x", referrer=google),
        landing("b", T0 + 1, url=f"https://{SITE}/other?utm_campaign=x&gclid=1", referrer=google),
        landing("c", T0 + 2, url=f"https://{SITE}/?gclid=2&utm_campaign=x", referrer=google),
        landing("d", T0 + 3, url=f"https://{SITE}/?gclid=2&utm_campaign=x"),
    ]
    assert candidates(only(run(*touches, purchase(time=T0 + 4)))) == ["a", "c", "d"]


def test_rule_2_a_reload_is_measured_at_the_latest_one_alone():
    """What lay before it does not count."""
    touches = [
        landing("a", T0, url=f"https://{SITE}/?gclid=1"),
        landing("b", T0 + 1, url=f"https://{SITE}/?gclid=2"),
        landing("c", T0 + 2, url=f"https://{SITE}/?gclid=1"),
    ]
    assert candidates(only(run(*touches, purchase(time=T0 + 3)))) == ["a", "b", "c"]


def test_rule_2_a_reload_of_nothing_is_the_same_fields_again():
    """Without address and referrer the explicit fields tell two landings apart."""
    touches = [landing("a", source="x"), landing("b", T0 + 1, source="y"), landing("c", T0 + 2, source="y")]
    assert candidates(only(run(*touches, purchase(time=T0 + 3)))) == ["a", "b"]


def test_rule_2_a_click_is_never_a_continuation():
    """Only landings are."""
    assert candidates(only(run(click("a"), click("b", T0 + 1), purchase(time=T0 + 2)))) == ["a", "b"]


def test_rule_2_is_decided_over_the_set():
    """A late click makes a landing its continuation, in whatever order they arrive."""
    found = in_every_order(landing("b", T0 + 10 * MINUTE), click("a"), purchase(time=T0 + DAY))
    assert candidates(found) == ["a"]


# ---- rule 2: arrivals


def test_rule_2_a_landing_with_a_known_click_s_id_is_its_arrival():
    """Not a candidate, in whatever order they come, days later too."""
    found = in_every_order(
        click("a", click_id=HW_CID, campaign="spring"),
        landing("b", T0 + 2 * DAY, url=ARRIVAL),
        purchase(time=T0 + 3 * DAY),
    )
    assert candidates(found) == ["a"]


def test_rule_2_a_click_recorded_after_its_arrival_and_the_conversion_is_known_all_the_same():
    """Decided over the set: two clocks may differ."""
    found = in_every_order(
        landing("b", url=ARRIVAL), purchase(time=T0 + 1), click("a", T0 + 2, click_id=HW_CID, campaign="spring")
    )
    assert candidates(found) == [""]


def test_rule_2_a_landing_stands_in_for_an_unknown_click_with_its_campaign():
    """Where the click is unknown, the landing is the candidate."""
    found = only(run(landing("b", url=ARRIVAL), purchase()))
    assert candidates(found) == ["b"]
    assert found["touches"][0]["campaign"] == "spring"


def test_rule_2_the_click_of_another_visitor_is_not_known():
    """Arrival of a click of the SAME visitor."""
    found = only(run(click("a", click_id=HW_CID, visitor_id="w"), landing("b", url=ARRIVAL), purchase()))
    assert candidates(found) == ["b"]


def test_rule_2_an_impression_with_that_id_is_no_click():
    """Only a click has an arrival."""
    found = only(run(impression("a", click_id=HW_CID), landing("b", url=ARRIVAL), purchase()))
    assert candidates(found) == ["b"]


# ---- rule 3: impressions


def test_rule_3_impressions_count_only_where_nobody_came_by_themselves():
    """A click, or a landing other than a Direct one, puts all impressions out."""
    assert candidates(only(run(impression("a"), click("b", T0 - DAY), purchase()))) == ["b"]
    assert candidates(only(run(impression("a"), landing("b", source="x"), purchase()))) == ["b"]
    assert candidates(only(run(impression("a"), impression("b"), purchase()))) == ["a", "b"]


def test_rule_3_direct_landings_stay_beside_impressions():
    """View-through beside Direct, in order of time."""
    touches = [landing("a", T0 - 2), impression("b", T0 - 1), landing("c", T0 + 40 * MINUTE)]
    assert candidates(only(run(*touches, purchase(time=T0 + DAY - 1)))) == ["a", "b", "c"]


def test_rule_3_a_click_that_is_no_candidate_puts_nothing_out():
    """Invalid, or older than its lookback."""
    assert candidates(only(run(click("a"), impression("b"), verdict("x", "a"), purchase()))) == ["b"]
    old = T0 - 30 * DAY - 1
    assert candidates(only(run(click("a", old), impression("b"), purchase()))) == ["b"]


# ---- rule 4


def test_rule_4_only_last_non_direct_passes_direct_over():
    """A Direct touch is a touch like any other."""
    found = only(run(click("a"), landing("b", T0 + DAY), purchase(time=T0 + DAY)))
    assert candidates(found) == ["a", "b"]
    assert credits_of(found, "last_non_direct") == [("a", 1_000_000, 100_000_000)]
    assert credits_of(found, "last_touch") == [("b", 1_000_000, 100_000_000)]
    assert credits_of(found, "linear") == [("a", 500_000, 50_000_000), ("b", 500_000, 50_000_000)]


def test_rule_4_without_candidates_all_goes_to_direct():
    """Credited whole, `touch_id` empty, under every model."""
    found = only(run(purchase()))
    (shown,) = found["touches"]
    assert (shown["channel"], shown["source"], shown["medium"], shown["touch_id"]) == (
        "Direct",
        "(direct)",
        "(none)",
        "",
    )
    assert all(listed == [[0, 1_000_000, 100_000_000]] for listed in found["credits"].values())


@pytest.mark.parametrize("count", [499, 500, 501, 520])
def test_rule_4_of_more_than_500_the_first_and_the_latest_499_count(count):
    """The first keeps its credit under first_touch."""
    touches = [click(f"t{number:04}", T0 + number) for number in range(count)]
    found = only(taken(*touches, purchase(time=T0 + DAY), one_by_one=False))
    names = [touch["event_id"] for touch in touches]
    assert candidates(found) == ([names[0], *names[-499:]] if count > 500 else names)
    assert credits_of(found, "first_touch") == [(names[0], 1_000_000, 100_000_000)]


# ---- validity


@pytest.mark.parametrize(
    ("statements", "valid"),
    [
        ([], True),
        ([("denied", 5)], False),
        ([("unknown", -5)], True),
        ([("granted", -5)], True),
        ([("denied", -5), ("granted", 0)], True),
        ([("denied", -5), ("granted", 1)], False),
        ([("granted", -5), ("denied", 5)], False),
        ([("denied", -9), ("granted", -8), ("denied", -7), ("granted", -6)], True),
        ([("denied", -9), ("granted", -8), ("denied", 7), ("granted", 9)], False),
    ],
)
def test_consent_reaches_back_from_the_latest_denial(statements, valid):
    """Valid from the first grant after the latest denial on, not before; `unknown` states nothing."""
    said = [consent(f"s{n}", word, T0 + at) for n, (word, at) in enumerate(statements)]
    for order in itertools.islice(itertools.permutations([click("a"), *said, purchase(time=T0 + DAY)]), 0, 120, 7):
        cluster = run(*order)
        assert candidates(only(cluster)) == (["a"] if valid else [""])
        assert cluster.touches()[SITE, "v", "a"]["invalid_reasons"] == ([] if valid else ["no_consent"])


def test_consent_statements_of_one_moment_go_by_event_id():
    """The latest is decided by (time, event id)."""
    assert candidates(only(run(click("a"), consent("x", "denied"), consent("y", "granted"), purchase()))) == ["a"]
    assert candidates(only(run(click("a"), consent("y", "denied"), consent("x", "granted"), purchase()))) == [""]


@pytest.mark.parametrize(
    ("default", "own", "valid"),
    [
        ("granted", None, True),
        ("granted", "unknown", True),
        ("granted", "denied", False),
        ("denied", None, False),
        ("denied", "unknown", False),
        ("denied", "granted", True),
    ],
)
def test_a_touch_s_own_consent_and_the_site_s_default(default, own, valid):
    """A touch's own `denied` invalidates it; its own `granted` overrides the default."""
    site = SiteEntry(site=SITE, consent_default=default)
    fields = {"consent": own} if own else {}
    assert candidates(only(run(click("a", **fields), purchase(), entries=[site]))) == (["a"] if valid else [""])


def test_a_touch_s_own_consent_does_not_undo_a_denial():
    """It overrides the site's default only."""
    assert candidates(only(run(click("a", consent="granted"), consent("s", "denied"), purchase()))) == [""]


def test_a_grant_counts_where_the_default_is_denied():
    """From its time on."""
    site = SiteEntry(site=SITE, consent_default="denied")
    touches = [click("a", T0 - 1), click("b", T0), consent("s", "granted", T0)]
    assert candidates(only(run(*touches, purchase(), entries=[site]))) == ["b"]


def test_the_latest_verdict_holds():
    """By (time, event id), whichever arrives first; its reasons are shown, or `verdict`."""
    first, second = verdict("x", "a", T0, reasons=["flood"]), verdict("y", "a", T0, valid=True)
    assert candidates(in_every_order(click("a"), first, second, purchase())) == ["a"]
    cluster = run(click("a"), first, purchase())
    assert cluster.touches()[SITE, "v", "a"]["invalid_reasons"] == ["flood"]
    cluster = run(verdict("x", "a"), click("a"), purchase())
    assert cluster.touches()[SITE, "v", "a"]["invalid_reasons"] == ["verdict"]


def test_a_verdict_of_valid_does_not_stand_for_consent():
    """Both must be there."""
    assert candidates(only(run(click("a", consent="denied"), verdict("x", "a", valid=True), purchase()))) == [""]
