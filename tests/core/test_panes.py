"""Panes: absolute totals that always equal a recount (contract, section 4)."""

from __future__ import annotations

import orjson
import pytest

from schemas.reasons import MODELS
from streams.core.panes import KPIS, TRAFFIC, WIDTH, add, add_attribution, add_touch, read_pane, texts_of, write_value
from tests.reference.events import T0
from tests.reference.shop import adjustment, click, only, purchase, run

DIMENSIONS = (29_333_333, "s", "Direct", "", "", "", "", "EUR")


def written(numbers, old=None):
    """The record of a pane."""
    return orjson.loads(write_value(DIMENSIONS[0], texts_of(DIMENSIONS[1:])[1], numbers, old))


def kpis_of(cluster, model="linear"):
    """KPIs of one model, of the only set of dimensions."""
    _, kpis = cluster.panes()
    (row,) = [row for key, row in kpis.items() if key[0] == model]
    return row


def test_a_pane_is_read_as_it_was_written():
    """Models with nothing are left out; without any, a pane is its traffic alone."""
    numbers = list(range(WIDTH))
    assert read_pane(written(numbers)) == numbers
    for numbers in ([5, 0, 0, 0, 0], [5] + [0] * (WIDTH - 1)):
        record = written(numbers)
        assert (record["models"], record["impressions"]) == ({}, 5)
        assert read_pane(record) == [5, 0, 0, 0, 0]
    numbers[len(TRAFFIC) + len(KPIS) + 1] = -7
    assert written(numbers)["models"] == {MODELS[1]: [0, -7, 0, 0, 0, 0]}
    assert read_pane(written(numbers)) == numbers


@pytest.mark.parametrize("sign", [1, -1])
def test_panes_with_models_and_without_add_up(sign):
    """The shorter one has zeros for the rest."""
    short, long = [1, 2, 3, 4, 5], list(range(WIDTH))
    assert add(short, short, sign) == [number + sign * number for number in short]
    assert add(long, short, sign) == [long[n] + sign * short[n] for n in range(5)] + long[5:]
    assert add(short, long, sign) == [short[n] + sign * long[n] for n in range(5)] + [sign * n for n in long[5:]]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([purchase()], {"conversions": 1_000_000, "revenue": 100_000_000}),
        (
            [purchase(status="pending")],
            {
                "conversions": 1_000_000,
                "revenue": 100_000_000,
                "conversions_pending": 1_000_000,
                "revenue_pending": 100_000_000,
            },
        ),
        ([purchase(status="rejected")], {"conversions_rejected": 1_000_000, "revenue_rejected": 100_000_000}),
        (
            [purchase(), adjustment("x", "reject"), adjustment("y", "restate", T0 + 1, value="5")],
            {"conversions_rejected": 1_000_000, "revenue_rejected": 5_000_000},
        ),
        ([purchase(value="-5")], {"conversions": 1_000_000, "revenue": -5_000_000}),
    ],
)
def test_what_a_status_counts(events, expected):
    """Pending ones count, and are shown apart; rejected ones only as rejected, with the reported value."""
    assert kpis_of(run(click("a"), *events)) == expected


def test_a_retracted_conversion_counts_nowhere():
    """Old credit out, nothing in."""
    _, kpis = run(click("a"), purchase(), adjustment("x", "retract")).panes()
    assert kpis == {}


def test_a_pane_is_corrected_when_the_credit_moves():
    """What the first touch earned is taken out again."""
    cluster = run(click("a", source="bing"), purchase(time=T0 + 2), click("b", T0 + 1, campaign="x"))
    _, kpis = cluster.panes()
    assert {(key[0], key[4]): row["revenue"] for key, row in kpis.items() if key[0] != "time_decay"} == {
        ("last_touch", "x"): 100_000_000,
        ("last_non_direct", "x"): 100_000_000,
        ("first_touch", ""): 100_000_000,
        ("linear", ""): 50_000_000,
        ("linear", "x"): 50_000_000,
        ("position_based", ""): 50_000_000,
        ("position_based", "x"): 50_000_000,
    }


def test_a_conversion_counts_at_its_own_minute_under_its_credited_touch_s_dimensions():
    """And in its own currency."""
    cluster = run(click("a", partner="p", variant="b", audience="new"), purchase(time=T0 + 60_000))
    _, kpis = cluster.panes()
    assert {key[1:] for key in kpis} == {
        ((T0 + 60_000) // 60_000, "shop.example", "Paid Search", "", "p", "b", "new", "EUR")
    }


def test_what_is_taken_out_was_put_in():
    """A contribution and its withdrawal come to nothing."""
    cluster = run(click("a", cost="3"), purchase(status="rejected"))
    changes = {}
    (touch,) = cluster.touches().values()
    for sign in (1, -1):
        add_touch(changes, touch, sign)
        add_attribution(changes, only(cluster), sign)
    assert changes
    assert not any(any(numbers) for numbers in changes.values())
