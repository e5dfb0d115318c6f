"""Health of tracking: figures judged, and what it means said in words."""

from __future__ import annotations

import pytest

from sinks.page.health import counters, judge
from sinks.page.roles import Role

FLOWING = {"accepted": 99.0, "duplicate": 0.5, "dead_letter": 0.5, "moved": 0.0}


def role(name: str, state: str = "up", reason: str = "", **values: float) -> Role:
    """A role whose metrics are written as ``metric__label_value__label_value=number``."""
    series = {}
    for written, number in values.items():
        metric, *labels = written.split("__")
        pairs = tuple(sorted((key, value) for key, _, value in (label.partition("_") for label in labels)))
        series[f"headwater_{metric}", pairs] = number
    return Role(name, f"http://{name}", state, reason, series)


WELL = (
    role("collector"),
    role("worker-1", consumer_lag__topic_clicks__partition_0=3.0, commit_age_seconds__partition_0=0.4),
    role("worker-2", consumer_lag__topic_clicks__partition_1=4.0, consumer_lag__topic_conversions__partition_1=1.0),
    role("sink", sink_lag_seconds=0.8, consumer_lag__topic_panes__partition_0=50.0),
)


def test_all_is_well():
    """Lag is the worker's, summed over its processes; the sink's own is not events."""
    found = judge(WELL, FLOWING)
    assert (found["verdict"], found["problems"]) == ("good", [])
    assert found["figures"]["lag"] == {"value": 8.0, "state": "good"}
    assert found["figures"]["refused"] == {"value": 0.005, "state": "good"}
    assert found["rates"]["accepted"] == 99.0


@pytest.mark.parametrize(
    ("bad", "rates", "verdict", "text"),
    [
        (role("worker-1", "away"), FLOWING, "bad", "worker-1 does not answer. Events wait in Kafka"),
        (role("sink", "waiting", "no partitions assigned"), FLOWING, "attention", "sink is not ready: no partitions"),
        (role("w", commit_age_seconds__partition_3=90.0), FLOWING, "bad", "has not moved on for 90 s"),
        (role("w", commit_age_seconds__partition_3=20.0), FLOWING, "attention", "has not moved on for 20 s"),
        (role("w", consumer_lag__topic_costs__partition_3=2e5), FLOWING, "attention", "200,008 events wait"),
        (role("s", sink_lag_seconds=61.0), FLOWING, "bad", "61 s late"),
        (role("w", lost_records_total=5.0), FLOWING, "bad", "deleted 5 events before they were read"),
        (role("w"), {"accepted": 1.0, "dead_letter": 1.0}, "attention", "50 % of the events of the last minute"),
    ],
)
def test_what_is_wrong_is_said(bad, rates, verdict, text):
    found = judge([*WELL, bad], rates)
    assert found["verdict"] == verdict
    assert [problem for problem in found["problems"] if text in problem["text"]], found["problems"]


def test_what_nobody_says_is_not_known():
    """No role read yet, no rates: no figure is made up."""
    found = judge([], None)
    assert found["verdict"] == "unknown"
    assert {figure["state"] for figure in found["figures"].values()} == {"unknown"}
    assert found["rates"] is None


def test_events_are_counted_once():
    """At the sources and at the collector's door, not again between the worker's two steps."""
    worker = role(
        "worker",
        events_total__topic_clicks__outcome_accepted=10.0,
        **{"events_total__topic_orders-by-visitor__outcome_accepted": 4.0},
    )
    door = role("collector", collector_events_total__topic_http__outcome_dead_letter=2.0)
    assert counters([worker, door, role("sink", "away")]) == {
        "worker": {"accepted": 10, "duplicate": 0, "dead_letter": 0, "moved": 0},
        "collector": {"accepted": 0, "duplicate": 0, "dead_letter": 2.0, "moved": 0},
    }
