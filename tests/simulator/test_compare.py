"""Comparing ClickHouse with the truth: nothing that differs goes unseen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.simulator import simulate
from streams.simulator.compare import Measured, differences

TRUTH = simulate(2_000, 1, 1_795_000_000_000, costs=True).truth
FOUND = Measured(
    credits=TRUTH.credits,
    kpis=TRUTH.credits,
    traffic=TRUTH.traffic,
    costs=TRUTH.costs,
    ratios=TRUTH.ratios,
    statuses=TRUTH.statuses,
    touches=TRUTH.touches,
    unmatched=TRUTH.unmatched,
    dead_letters=TRUTH.dead_letters,
)


def test_equal_is_equal():
    """No difference where there is none."""
    assert differences(TRUTH, FOUND) == []


@pytest.mark.parametrize("part", ["credits", "kpis", "traffic", "costs", "ratios"])
def test_a_millionth_is_a_difference(part):
    """In credits, kpis, traffic, costs and what is divided from them alike."""
    rows = dict(getattr(FOUND, part))
    key, row = next(iter(rows.items()))
    rows[key] = row + 1 if isinstance(row, int) else type(row)(*row[:-1], row[-1] + 1)
    (found,) = differences(TRUTH, replace(FOUND, **{part: rows}))
    assert found.what.startswith(f"{part} {key[0]}")


@pytest.mark.parametrize("part", ["credits", "kpis", "traffic", "costs", "ratios", "statuses", "dead_letters"])
def test_a_missing_row_and_one_too_many_are_differences(part):
    """Whatever the row says."""
    rows = dict(getattr(FOUND, part))
    key = next(iter(rows))
    value = rows.pop(key)
    assert len(differences(TRUTH, replace(FOUND, **{part: rows}))) == 1
    other = key._replace(currency="XXX") if isinstance(key, tuple) else "other"
    assert len(differences(TRUTH, replace(FOUND, **{part: getattr(FOUND, part) | {other: value}}))) == 1


@pytest.mark.parametrize("part", ["touches", "unmatched"])
def test_a_count_that_is_off_is_a_difference(part):
    """One touch or conversion too many."""
    (found,) = differences(TRUTH, replace(FOUND, **{part: getattr(FOUND, part) + 1}))
    assert found.what == f"{part} all"


def test_what_was_sent_twice_may_be_refused_twice():
    """As many more dead letters as lines were repeated, and no more."""
    letters = TRUTH.dead_letters | {"schema": TRUTH.dead_letters["schema"] + 2}
    found = replace(FOUND, dead_letters=letters)
    assert differences(TRUTH, found, {"schema": 2}) == []
    assert len(differences(TRUTH, found, {"schema": 1})) == 1
    assert len(differences(TRUTH, found)) == 1
