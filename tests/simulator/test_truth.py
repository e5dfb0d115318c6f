"""The truth's own calculator, on journeys whose result is written down by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from streams.simulator.spent import count_costs
from streams.simulator.truth import (
    DAY_MS,
    MODELS,
    Credit,
    CreditKey,
    Knowledge,
    KnownConversion,
    KnownTouch,
    Traffic,
    TrafficKey,
    candidates,
    count_credits,
    count_traffic,
    divide,
    share,
)

NOW = 1_795_000_000_000


def touch(days: float, channel: str = "Email", kind: str = "landing", **more) -> KnownTouch:
    name = more.pop("event_id", f"{kind}-{days}")
    lookback = 1 if kind == "impression" else 30
    return KnownTouch("v", name, NOW - round(days * DAY_MS), kind, channel, "c", **{"lookback_days": lookback} | more)


def conversion(micros: int = 100_000_000, **more) -> KnownConversion:
    return KnownConversion(
        **{
            "visitor_id": "v",
            "time": NOW,
            "action": "purchase",
            "order_id": "o",
            "amount_micros": micros,
            "currency": "EUR",
            "status": "approved",
        }
        | more
    )


def values(touches: list[KnownTouch], model: str, micros: int = 100_000_000) -> list[tuple[str, int]]:
    order = conversion(micros)
    return [(found.channel if found else "", value) for found, _, value in share(order, touches, model)]


def test_largest_remainder_gives_what_is_left_to_the_earlier_of_equals():
    """100 in three equal parts is 34, 33, 33; 5 in two is 3, 2."""
    assert divide(100, [Fraction(1)] * 3) == [34, 33, 33]
    assert divide(5, [Fraction(1), Fraction(1)]) == [3, 2]


def test_negative_amounts_are_divided_like_positive_ones():
    """The sign comes last."""
    assert divide(-100, [Fraction(1)] * 3) == [-34, -33, -33]


def test_the_largest_remainder_wins_over_the_earlier():
    """10 by 1 : 2 is 3.33 and 6.67: the second gets the missing one."""
    assert divide(10, [Fraction(1), Fraction(2)]) == [3, 7]


@pytest.mark.parametrize(
    ("model", "result"),
    [
        ("last_touch", [("Direct", 100_000_000)]),
        ("last_non_direct", [("Email", 100_000_000)]),
        ("first_touch", [("Display", 100_000_000)]),
        ("linear", [("Display", 33_333_334), ("Email", 33_333_333), ("Direct", 33_333_333)]),
        ("position_based", [("Display", 40_000_000), ("Email", 20_000_000), ("Direct", 40_000_000)]),
    ],
)
def test_models(model, result):
    """Display, then Email, then Direct."""
    touches = [touch(3, "Display"), touch(2, "Email"), touch(1, "Direct")]
    assert values(touches, model) == result


def test_time_decay_halves_every_seven_days():
    """Touches 14, 7 and 0 days old weigh 1 : 2 : 4."""
    touches = [touch(14, "A"), touch(7, "B"), touch(0, "C")]
    assert values(touches, "time_decay", 7_000_000) == [("A", 1_000_000), ("B", 2_000_000), ("C", 4_000_000)]


def test_position_based_of_one_and_of_two():
    """One touch takes all, two take half each."""
    assert values([touch(1, "A")], "position_based") == [("A", 100_000_000)]
    assert values([touch(2, "A"), touch(1, "B")], "position_based") == [("A", 50_000_000), ("B", 50_000_000)]


def test_last_non_direct_falls_back_to_direct():
    """Where all touches are Direct, the last one has it."""
    touches = [touch(2, "Direct", event_id="a"), touch(1, "Direct", event_id="b")]
    (found,) = share(conversion(), touches, "last_non_direct")
    assert found[0] == touches[1]


def test_candidates_are_in_order_of_time_then_event_id():
    """Equal times are ordered by the bytes of the id."""
    touches = [touch(1, event_id="b"), touch(1, event_id="a"), touch(2, event_id="c")]
    assert [found.event_id for found in candidates(NOW, touches)] == ["c", "a", "b"]


def test_candidates_lie_within_the_lookback_and_not_after_the_conversion():
    """30 days to the millisecond still count; a millisecond after the conversion does not."""
    at_edge = touch(30, event_id="edge")
    over = at_edge._replace(event_id="over", time=at_edge.time - 1)
    after = touch(0, event_id="after")._replace(time=NOW + 1)
    assert candidates(NOW, [over, after, at_edge, touch(0, event_id="same")]) == [at_edge, touch(0, event_id="same")]


def test_impressions_only_where_nothing_else_but_direct_is():
    """A click silences impressions, a Direct landing does not."""
    seen, direct, click = touch(0.5, "Display", "impression"), touch(0.4, "Direct"), touch(3, "Affiliates", "click")
    assert candidates(NOW, [seen, direct]) == [seen, direct]
    assert candidates(NOW, [seen, direct, click]) == [click, direct]
    assert candidates(NOW, [touch(1.5, "Display", "impression")]) == []


@pytest.mark.parametrize("role", ["internal", "continuation", "arrival"])
def test_what_belongs_to_another_touch_is_no_candidate(role):
    """Internal landings, continuations and arrivals."""
    assert candidates(NOW, [touch(1, role=role)]) == []


def test_of_more_than_500_the_first_and_the_latest_499():
    """Rule 4's limit."""
    touches = [touch(20 - place / 100, event_id=f"{place:04d}") for place in range(600)]
    found = candidates(NOW, touches)
    assert [found[0], *found[1:3]] == [touches[0], *touches[101:103]]
    assert len(found) == 500


def test_nobody_known_is_direct():
    """Unmatched, denied or without touches: all to Direct, campaign empty."""
    known = Knowledge(touches=[touch(1)._replace(visitor_id="w")], denied={"w"})
    known.conversions += [conversion(), conversion(visitor_id=""), conversion(visitor_id="w")]
    assert count_credits(known) == {
        CreditKey(model, "Direct", "", "EUR"): Credit(3_000_000, 300_000_000) for model in MODELS
    }


def test_what_does_not_count_earns_nothing():
    """Rejected, retracted and duplicate conversions; a touch found invalid."""
    known = Knowledge(touches=[touch(1, "Email"), touch(2, "Display", event_id="bad")], invalid={"bad"})
    known.conversions += [conversion(status=status) for status in ("rejected", "retracted", "duplicate", "pending")]
    credit = count_credits(known)
    assert credit[CreditKey("first_touch", "Email", "c", "EUR")] == Credit(1_000_000, 100_000_000)
    assert {key.channel for key in credit} == {"Email"}


def test_traffic_counts_each_kind_in_the_currency_of_its_cost():
    """Internal landings are no traffic; invalid touches count apart, but what they cost was spent."""
    known = Knowledge(
        touches=[
            touch(1, "Display", "impression", cost_micros=5, cost_currency="EUR"),
            touch(1, "Display", "click", cost_micros=7, cost_currency="USD"),
            touch(1, "Display"),
            touch(1, "Display", role="continuation", event_id="x"),
            touch(1, "Display", role="internal", event_id="y"),
            touch(1, "Display", event_id="z", cost_micros=11, cost_currency="EUR"),
        ],
        invalid={"z"},
    )
    assert count_traffic(known, "EUR", count_costs(known, "EUR")) == {
        TrafficKey("Display", "c", "EUR"): Traffic(1, 0, 2, 1, 16),
        TrafficKey("Display", "c", "USD"): Traffic(0, 1, 0, 0, 7),
    }
