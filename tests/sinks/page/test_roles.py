"""What roles say of themselves: read, parsed, and turned into rates."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from deploy.local.ports import free_port
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from sinks.page.roles import Rates, Scraper, parse, targets
from sinks.prometheus import MetricsServer


async def test_a_role_tells_its_figures_and_one_that_is_gone_is_away():
    """Only what the page needs is asked for; a role that is not ready says why."""
    registry = CollectorRegistry()
    Counter("headwater_events", "", ["topic", "outcome"], registry=registry).labels("clicks", "accepted").inc(3)
    Gauge("headwater_window_visits", "", registry=registry).set(1)
    server = MetricsServer("127.0.0.1", 0, lambda: (False, "restoring\npartition 2"), registry)
    await server.start()
    scraper = Scraper({"worker-1": f"http://127.0.0.1:{server.port}", "sink": f"http://127.0.0.1:{free_port()}"})
    try:
        worker, sink = await scraper.read()
    finally:
        await scraper.close()
        await server.stop()
    assert (worker.name, worker.state, worker.reason) == ("worker-1", "waiting", "restoring partition 2")
    assert worker.find("headwater_events_total", outcome="accepted") == [3.0]
    assert worker.find("headwater_events_total", outcome="duplicate") == []
    assert {name for name, _ in worker.values} == {"headwater_events_total"}
    assert (sink.state, sink.reason) == ("away", "does not answer")


def test_labels_may_hold_anything():
    """Commas, quotes and backslashes in a label's value."""
    text = '# TYPE x counter\nx 1\nheadwater_consumer_lag{topic="a,\\"b\\\\",partition="0"} 7\n'
    assert parse(text) == {("headwater_consumer_lag", (("partition", "0"), ("topic", 'a,"b\\'))): 7.0}


def test_rates_are_differences_over_the_last_minute():
    """A counter that went down began anew; a process that was not there before has risen by nothing yet."""
    rates = Rates()
    assert rates.take(0.0, {"worker": {"accepted": 1_000.0}}) is None
    assert rates.take(10.0, {"worker": {"accepted": 1_050.0}}) == {"accepted": 5.0}
    again = rates.take(20.0, {"worker": {"accepted": 30.0}, "worker-2": {"accepted": 9_000.0}})
    assert again == {"accepted": 4.0}
    later = rates.take(100.0, {"worker": {"accepted": 30.0}, "worker-2": {"accepted": 9_080.0}})
    assert later == {"accepted": 1.0}


def test_roles_are_those_that_are_set():
    """Else the three of this machine."""
    found = targets(Settings(page_roles="collector=http://c:1/, worker-7=https://w:2"))
    assert found == {"collector": "http://c:1", "worker-7": "https://w:2"}
    assert list(targets(Settings(sink_metrics_port=77)).values())[-1] == "http://127.0.0.1:77"
    with pytest.raises(ConfigurationError, match="page_roles: 'worker'"):
        targets(Settings(page_roles="worker"))
