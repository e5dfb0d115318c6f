"""Exact money (contract, section 3, rule 5)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.money import split
from tests.reference.money import shares


@pytest.mark.parametrize(
    ("amount", "weights", "expected"),
    [
        (100, [1], [100]),
        (100, [1, 1, 1], [34, 33, 33]),
        (200, [1, 1, 1], [67, 67, 66]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (0, [1, 2, 3], [0, 0, 0]),
        (1, [1, 1], [1, 0]),
        (-1, [1, 1], [-1, 0]),
        (1, [1, 2], [0, 1]),
        (2, [4, 1, 1], [2, 0, 0]),
        (10, [0, 1, 0], [0, 10, 0]),
        (10**18 - 1, [1, 1], [5 * 10**17, 5 * 10**17 - 1]),
    ],
)
def test_largest_remainder_on_the_absolute_value(amount, weights, expected):
    """Equal remainders go to the earlier touch; the sign comes last."""
    assert split(amount, weights) == expected


def test_equal_remainders_of_different_weights_go_to_the_earlier():
    """4:1:1 of 2 leaves a third with each: the first one gets what is left."""
    assert split(2, [1, 4, 1]) == [1, 1, 0]


@settings(deadline=None)
@given(
    st.integers(-(10**18), 10**18),
    st.lists(st.integers(0, 10**70), min_size=1, max_size=30).filter(any),
)
def test_shares_sum_to_the_amount_and_lie_within_one_of_the_exact_share(amount, weights):
    """Nothing is lost, nothing is further than a micro from its due; and the reference says the same."""
    found = split(amount, weights)
    assert sum(found) == amount
    for share, weight in zip(found, weights, strict=True):
        assert abs(share - Fraction(amount * weight, sum(weights))) < 1
        assert share == 0 or (share > 0) == (amount > 0)
    assert found == shares(amount, weights)


@settings(deadline=None)
@given(st.integers(-(10**18), 10**18), st.lists(st.integers(1, 1000), min_size=1, max_size=30))
def test_a_negative_amount_splits_as_the_positive_one(amount, weights):
    """A refund takes back exactly what was credited."""
    assert split(-amount, weights) == [-share for share in split(amount, weights)]
