"""The pause of a rebalance: from the revocation until records are taken again."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from streams.worker import rebalance as module
from streams.worker.rebalance import Rebalance


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def measured():
    """How many pauses were measured, and their seconds."""
    name = "headwater_rebalance_seconds"
    return tuple(REGISTRY.get_sample_value(f"{name}_{part}") or 0 for part in ("count", "sum"))


def test_a_pause_is_measured_once(clock):
    """Up to the first look at Kafka after it; a second revocation in between belongs to it."""
    count, total = measured()
    rebalance = Rebalance()
    rebalance.resumed()
    rebalance.revoked()
    clock[0] += 1.5
    rebalance.revoked()
    clock[0] += 0.5
    rebalance.resumed()
    clock[0] += 7
    rebalance.resumed()
    assert measured() == (count + 1, pytest.approx(total + 2.0))


def test_a_worker_without_partitions_has_no_pause(clock):
    """There are more workers than partitions; when it gets one again, it had nothing to do in between."""
    before = measured()
    rebalance = Rebalance()
    rebalance.revoked()
    rebalance.idle()
    clock[0] += 500
    rebalance.resumed()
    assert measured() == before
