"""What the worker counts is there before it counts, and ages grow by themselves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from schemas.reasons import CAUSES, OUTCOMES, REASONS
from schemas.topics import INPUTS
from streams.core.outcome import Outcome, Scope
from streams.core.registry import Registry
from streams.worker import metrics
from streams.worker import units as module
from streams.worker.life import State
from streams.worker.units import Units


def value(name, **labels):
    """A metric's value; None where the series is not there."""
    return REGISTRY.get_sample_value(name, labels)


def test_counters_are_there_before_they_count():
    """Prometheus sees no increase in a series that begins with 1."""
    for topic in INPUTS:
        assert value("headwater_records_read_total", topic=topic) is not None
        for outcome in OUTCOMES:
            assert value("headwater_events_total", topic=topic, outcome=outcome) is not None
    assert None not in [value("headwater_dead_letters_total", reason=reason) for reason in REASONS]
    assert None not in [value("headwater_attributions_total", cause=cause) for cause in CAUSES]
    assert None not in [value("headwater_invalid_touches_total", reason=reason) for reason in ("no_consent", "verdict")]


def test_records_are_counted_apart_from_their_outcomes():
    """A core that loses a record is found out: the one count goes on without the other."""

    def counts():
        read = value("headwater_records_read_total", topic="clicks")
        return read, sum(value("headwater_events_total", topic="clicks", outcome=name) for name in OUTCOMES)

    read, outcomes = counts()
    lossy = Outcome("clicks", Scope(0, 1, Registry(())), read=3, accepted=1, duplicate=1)
    metrics.count(lossy, 3)
    assert counts() == (read + 3, outcomes + 2)


@pytest.fixture
def units(monkeypatch):
    """Units of a worker that is not connected; the clock is `units.now`."""
    units = object.__new__(Units)
    units._units, units._not_open, units._behind, units.now = {}, {}, set(), 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: units.now)
    return units


def test_a_unit_that_does_not_open_grows_older(units):
    """Through failures and new attempts, until it is open; what is known of its state is shown."""
    unit = SimpleNamespace(state=State.OPENING, last_commit=0.0, store=None)
    units._units[7] = unit
    shown = []
    for state in (State.OPENING, State.FAILED, State.OPENING, State.OPEN, State.FAILED, State.FAILED):
        unit.state = state
        unit.store = SimpleNamespace(size=lambda: 5) if state == State.OPEN else None
        units._measure()
        shown.append(value("headwater_unit_opening_seconds", partition="7"))
        units.now += 10
    assert shown == [0, 10, 20, 0, 0, 10]
    assert value("headwater_partition_state_bytes", partition="7") == 5
    assert value("headwater_state_bytes") == 0


def test_the_commit_age_grows_while_something_waits(units):
    """Also where Kafka cannot be asked how much it is; 0 where nothing waits."""
    units._units[8] = SimpleNamespace(state=State.OPEN, last_commit=1000.0, store=None)
    units.now = 1042.0
    units._measure()
    assert value("headwater_commit_age_seconds", partition="8") == 0
    units._behind.add(8)
    units._measure()
    assert value("headwater_commit_age_seconds", partition="8") == 42
