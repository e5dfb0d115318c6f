"""The models, case by case (contract, section 3)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.reasons import MODELS
from streams.core.models import HALF_LIFE_MS, WEIGHTS
from streams.core.money import MILLION, split
from tests.reference.money import shares, weights_of

DAY = 86_400_000
NONE = [False] * 500


def shown(model, ages, direct=None):
    """Weights in millionths."""
    return split(MILLION, WEIGHTS[model](ages, direct or [False] * len(ages)))


def test_every_model_of_the_contract_is_there():
    """Models, always all of them, by these names."""
    assert tuple(WEIGHTS) == MODELS
    assert set(MODELS) == {"last_touch", "last_non_direct", "first_touch", "linear", "time_decay", "position_based"}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("direct", [True, False])
def test_one_touch_earns_all(model, direct):
    """Whatever it is, also a Direct one."""
    assert shown(model, [5 * DAY], [direct]) == [MILLION]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("last_touch", [0, 1_000_000]),
        ("first_touch", [1_000_000, 0]),
        ("linear", [500_000, 500_000]),
        ("position_based", [500_000, 500_000]),
        ("time_decay", [333_333, 666_667]),
    ],
)
def test_two_touches(model, expected):
    """Two touches 7 days apart."""
    assert shown(model, [7 * DAY, 0]) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("last_touch", [0, 0, 1_000_000]),
        ("first_touch", [1_000_000, 0, 0]),
        ("linear", [333_334, 333_333, 333_333]),
        ("position_based", [400_000, 200_000, 400_000]),
        ("time_decay", [142_857, 285_714, 571_429]),
    ],
)
def test_three_touches(model, expected):
    """Three touches, each 7 days after the last: 1:2:4 by decay."""
    assert shown(model, [14 * DAY, 7 * DAY, 0]) == expected


def test_position_based_shares_the_middle_equally():
    """40/20/40: 20 among three."""
    assert shown("position_based", [4, 3, 2, 1, 0]) == [400_000, 66_667, 66_667, 66_666, 400_000]


@pytest.mark.parametrize(
    ("direct", "earns"),
    [
        ([False, False, False], 2),
        ([False, False, True], 1),
        ([False, True, True], 0),
        ([True, True, True], 2),
        ([True, False, True], 1),
    ],
)
def test_last_non_direct_looks_back_over_direct_touches(direct, earns):
    """Only `last_non_direct` passes Direct over, unless there is nothing else (rule 4)."""
    weights = shown("last_non_direct", [2, 1, 0], direct)
    assert weights == [MILLION if index == earns else 0 for index in range(3)]
    assert shown("last_touch", [2, 1, 0], direct) == [0, 0, MILLION]


def test_decay_is_by_the_millisecond():
    """One millisecond of age is worth less than none, by the half-life's own root."""
    ages = [1, 0]
    older, newer = WEIGHTS["time_decay"](ages, NONE)
    assert older < newer
    assert pytest.approx(older / newer, rel=1e-15) == 2 ** (-1 / HALF_LIFE_MS)


def test_decay_counts_from_the_youngest():
    """Only differences of age matter."""
    assert shown("time_decay", [10 * DAY, 3 * DAY]) == shown("time_decay", [87 * DAY, 80 * DAY])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 90 * DAY), st.booleans()), min_size=1, max_size=12),
    st.integers(-(10**12), 10**12),
)
def test_weights_and_money_are_the_reference_s(touches, amount):
    """Fractions and decimals of the reference come to the same millionths and micros."""
    touches = sorted(touches, reverse=True)
    now = 200 * DAY
    journey = [{"time": now - age, "channel": "Direct" if direct else "Email"} for age, direct in touches]
    for model in MODELS:
        weights = WEIGHTS[model]([age for age, _ in touches], [direct for _, direct in touches])
        exact = weights_of(model, journey, now)
        assert split(MILLION, weights) == shares(MILLION, exact)
        assert split(amount, weights) == shares(amount, exact)
