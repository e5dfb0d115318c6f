"""Reasons: they say why, and what they say agrees with what candidates and models decided."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.reasons import MODELS
from schemas.registry import SiteEntry
from streams.core.explain import NO_CANDIDATE, NO_CREDIT, TEXTS, Why, judge, weightless
from streams.core.ids import mint_click_id
from streams.core.journeys import Journey
from streams.core.models import WEIGHTS
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.crowds import Crowd
from tests.reference.events import DAY, HOUR, MINUTE, T0
from tests.reference.shop import SITE, click, consent, impression, landing, verdict

CLICK_ID = mint_click_id("v", "spring", b"1", [("k", b"secret")])


def journeys(events, entries):
    """Site and touches of every visitor, as the core classified and judged them; and the registry."""
    registry = Registry(entries)
    cluster = Cluster(registry, chaos=False, most=1000)
    cluster.run(events)
    latest = {}
    for (topic, _), log in cluster.logs.items():
        for written in log if topic == "touches" else ():
            record = orjson.loads(written.value)
            if record["type"] not in {"consent", "verdict"}:
                latest[record["site"], record["visitor_id"], record["event_id"]] = record
    found = {}
    for (site, visitor, _), record in latest.items():
        found.setdefault((site, visitor), []).append(record)
    return found, registry


def judged(*events, entries=(), time=T0 + DAY):
    """Event id -> reasons, for a conversion of visitor `v` at that time."""
    found, registry = journeys(events, entries)
    journey = Journey(SITE, found[SITE, "v"], registry)
    return {one.touch["event_id"]: [tuple(why) for why in one.reasons] for one in judge(journey, time)}


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 2**32 - 1))
def test_a_touch_has_a_reason_exactly_where_it_is_no_candidate(seed):
    """Over dense random journeys, for a conversion at any touch's moment or lookback's edge; places are the order."""
    crowd = Crowd(seed, 60)
    found, registry = journeys(crowd.events, crowd.entries)
    for (site, _), touches in found.items():
        journey = Journey(site, touches, registry)
        for time in {touch["time"] + after for touch in touches[:12] for after in (0, 1, DAY, DAY + 1, 30 * DAY)}:
            named_at = time + seed % 3 * 61 * DAY
            candidates = [id(touch) for touch in journey.candidates(time, named_at)]
            told = judge(journey, time, named_at)
            assert [id(one.touch) for one in told] == [id(touch) for touch in journey.touches]
            assert {id(one.touch): one.place for one in told if one.place is not None} == {
                name: place for place, name in enumerate(candidates)
            }
            for one in told:
                assert bool(one.reasons) == (one.place is None)
                assert all(why.reason in NO_CANDIDATE for why in one.reasons)


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_a_candidate_has_a_reason_exactly_where_a_model_gives_it_no_weight(direct):
    """For every model and every pattern of Direct touches."""
    candidates = [{"channel": "Direct" if is_direct else "Email"} for is_direct in direct]
    for model in MODELS:
        weights = WEIGHTS[model](list(range(len(direct), 0, -1)), direct)
        reasons = weightless(model, candidates)
        assert [reason is None for reason in reasons] == [weight > 0 for weight in weights]
        assert {reason for reason in reasons if reason} <= set(NO_CREDIT)
    assert all(weightless(model, []) == [] for model in MODELS)


def test_each_reason_of_a_touch_by_itself():
    """Validity, role, time and lookback each say so, with what they know."""
    found = judged(
        impression("old", T0 - HOUR),
        click("beyond", T0 - 29 * DAY - 1),
        click("ours", T0, click_id=CLICK_ID),
        landing("arrived", T0 + MINUTE, url=f"https://{SITE}/?hw_cid={CLICK_ID}"),
        landing("goes on", T0 + 2 * MINUTE, url=f"https://{SITE}/basket"),
        landing("returns", T0 + 3 * MINUTE, url=f"https://{SITE}/thanks", referrer=f"https://{SITE}/pay"),
        click("bot", T0 + 4 * MINUTE),
        verdict("said", "bot", T0 + HOUR, reasons=["flood", "datacentre"]),
        impression("beside", T0 + 5 * MINUTE),
        click("late", T0 + DAY + 1),
    )
    assert found == {
        "old": [("lookback", str(DAY), "")],
        "beyond": [("lookback", str(30 * DAY), "")],
        "ours": [],
        "arrived": [("arrival", "", "ours")],
        "goes on": [("continuation", "", "arrived")],
        "returns": [("internal", "", "")],
        "bot": [("invalid", "flood, datacentre", "")],
        "beside": [("impression_beside_click", "", "")],
        "late": [("after_conversion", "", "")],
    }


def test_a_visitor_who_is_named_late():
    """What is more than 90 days older than the event that names the visitor is no candidate, whatever its lookback."""
    wide = SiteEntry(site=SITE, lookbacks={"click": 90})
    found, registry = journeys([click("a", T0), click("b", T0 + 1)], [wide])
    told = judge(Journey(SITE, found[SITE, "v"], registry), T0 + DAY, T0 + 90 * DAY + 1)
    assert [(one.touch["event_id"], one.place, one.reasons) for one in told] == [
        ("a", None, [Why("visitor_named_late")]),
        ("b", 0, []),
    ]


def test_several_reasons_are_all_told():
    """Each would be enough."""
    found = judged(consent("no", "denied", T0), landing("a", T0 + 2 * DAY, referrer=f"https://{SITE}/pay"))
    assert [reason for reason, _, _ in found["a"]] == ["internal", "invalid", "after_conversion"]


def test_a_kind_that_is_switched_off():
    """A lookback of nothing is told as such."""
    off = SiteEntry(site=SITE, lookbacks={"click": 0})
    assert judged(click("a", T0), entries=[off], time=T0)["a"] == [("lookback", "0", "")]


@pytest.mark.parametrize("kind", [click, landing])
def test_of_too_many_the_middle_is_left_out(kind):
    """The first and the latest 499 stay; where all are Direct, impressions among them are no less left out."""
    touches = [kind(f"{number:04}", T0 + number * HOUR) for number in range(510)]
    shown = [impression("seen", T0 + 3 * HOUR + 1)] if kind is landing else []
    found = judged(*touches, *shown, time=T0 + 510 * HOUR)
    left_out = {name for name, reasons in found.items() if reasons == [("beyond_500", "", "")]}
    assert left_out == {f"{number:04}" for number in range(1, 11)}
    if shown:
        assert found["seen"] == [("lookback", str(DAY), "")]


def test_an_impression_beyond_500_stands_beside_nothing():
    """Among Direct landings it is a candidate like them, and left out for their number."""
    wide = SiteEntry(site=SITE, lookbacks={"impression": 90})
    touches = [landing(f"{number:04}", T0 + number * HOUR) for number in range(510)]
    found = judged(*touches, impression("seen", T0 + 3 * HOUR + 1), entries=[wide], time=T0 + 510 * HOUR)
    assert found["seen"] == [("beyond_500", "", "")]


def test_every_reason_has_words():
    """For people."""
    assert set(TEXTS) == {*NO_CANDIDATE, *NO_CREDIT}
