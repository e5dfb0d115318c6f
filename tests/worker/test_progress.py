"""A restore says how far it is, how fast, and when it will be done; one that stalls fails."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from schemas.errors import RestoreError
from streams.worker.progress import STALLED_S, Progress


def gauge(name):
    """Of partition 3."""
    return REGISTRY.get_sample_value(f"headwater_restore_{name}", {"partition": "3"})


def test_it_tells_in_the_log_and_in_metrics():
    """Every five seconds; the rate is that since the beginning."""
    with capture_logs() as logs:
        progress = Progress(3, 1_000_000, 100.0)
        assert gauge("left_records") == 1_000_000
        for second in range(1, 11):
            progress.reached(1_000_000 - 50_000 * second, 100.0 + second)
    assert [(line["left"], line["rate"], line["eta_seconds"]) for line in logs] == [
        (750_000, 50_000, 15.0),
        (500_000, 50_000, 10.0),
    ]
    assert (gauge("left_records"), gauge("eta_seconds")) == (500_000, 10.0)
    progress.reached(0, 130.0)
    assert (gauge("left_records"), gauge("eta_seconds")) == (0, 0)


def test_one_that_stalls_fails():
    """A minute without a record is too long; slow is not stalled."""
    progress = Progress(3, 10, 0.0)
    for step in range(1, 6):
        progress.reached(10 - step, step * STALLED_S)
    progress.reached(5, 6 * STALLED_S)
    with pytest.raises(RestoreError, match="partition 3: the restore has stalled, 5 left"):
        progress.reached(5, 6 * STALLED_S + 1)


def test_nothing_to_do_is_done():
    """A warm store."""
    Progress(3, 0, 0.0)
    assert (gauge("left_records"), gauge("eta_seconds")) == (0, 0)
