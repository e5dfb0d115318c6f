"""Cost statements of the simulated shop: all kinds of them, and exactly as many lines as asked for."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from streams.simulator.journeys import DAY, HOUR
from streams.simulator.shop import WAYS
from streams.simulator.spending import midnight, state_costs
from streams.simulator.truth import Knowledge

END = 1_795_000_000_000


@pytest.mark.parametrize("count", [1, 2, 19, 20, 150])
def test_exactly_as_many_lines_as_asked_for(count):
    """Those that come last included; what is restated is known once."""
    known = Knowledge()
    lines, last = state_costs(Random(count), count, 6 * DAY, END, known)
    assert len(lines) + len(last) == count
    accepted = [event for outcome, event in lines if outcome == "accepted"]
    assert len({event["event_id"] for event in accepted}) == len(accepted)
    assert 0 < len(known.statements) <= len(accepted)


def test_every_kind_of_statement_is_there():
    """By day and by hours, in two currencies or none, told by source, by channel or not at all; restated; refused."""
    known = Knowledge()
    lines, last = state_costs(Random(1), 200, 6 * DAY, END, known)
    accepted = [event for outcome, event in lines if outcome == "accepted"]
    assert {"date" in event for event in accepted} == {True, False}
    assert {event.get("currency") for event in accepted} == {None, "EUR", "USD"}
    assert {("channel" in event, "source" in event) for event in accepted} == {
        (True, False),
        (False, True),
        (False, False),
    }
    assert len(known.statements) < len(accepted)
    assert {statement.micros == 0 for statement in known.statements} == {True, False}
    assert any((statement.end - statement.start) % HOUR for statement in known.statements)
    assert set(Counter(outcome for outcome, _ in lines)) == {"accepted", "duplicate", "schema", "too_old"}
    assert {event["cost"] for event in last} == {"999999"}
    assert {way.campaign for way in WAYS if way.cost} - {statement.campaign for statement in known.statements}


def test_a_day_is_the_shops():
    """In its time zone: 25 hours where the clocks go back."""
    from datetime import date

    assert midnight(date(2026, 10, 26)) - midnight(date(2026, 10, 25)) == 25 * HOUR
