"""The log says once that a worker cannot work, again each minute, and once that it can."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from streams.worker.readiness import AGAIN_S, GRACE_S, Readiness

WAITING = (False, "topics are missing")
READY = (True, "ready")


def told(steps, *, at_once=False):
    """What is said of (what is found, when)."""
    readiness = Readiness()
    with capture_logs() as logs:
        for found, now in steps:
            readiness.watch(found, now, at_once=at_once)
    return [(line["event"], line.get("reason"), line.get("seconds"), line.get("not_ready_seconds")) for line in logs]


def test_a_rebalance_is_nothing_to_tell_of():
    """Neither that it began nor that it is over."""
    assert (
        told([(READY, 0), (WAITING, 1), (WAITING, GRACE_S), (READY, GRACE_S + 0.5), (WAITING, 20), (READY, 21)]) == []
    )


def test_what_goes_on_is_told_once_a_minute():
    """And its end, with how long it was."""
    steps = [(WAITING, second) for second in range(101)] + [(READY, 101), (READY, 102)]
    assert told(steps) == [
        ("worker_not_ready", "topics are missing", GRACE_S, None),
        ("worker_not_ready", "topics are missing", GRACE_S + AGAIN_S, None),
        ("worker_ready", None, None, 101),
    ]


@pytest.mark.parametrize("seconds", [0, 5])
def test_what_does_not_go_away_is_told_at_once(seconds):
    """Still once."""
    assert told([(WAITING, seconds), (WAITING, seconds + 2)], at_once=True) == [
        ("worker_not_ready", "topics are missing", 0, None)
    ]
