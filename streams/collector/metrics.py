"""The collector's figures for Prometheus (contract, section 8).

Rule: labels come from closed sets (routes, statuses, topics, reasons), never from a request. What can fail is there at
0 before it does, so that the first failure is an increase too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from schemas.reasons import REASONS
from schemas.topics import TOPICS
from sinks.prometheus.standard import build_gauge, ready_gauge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one collector in `registry`; children are kept at hand, since looking one up costs a microsecond."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._requests = Counter(
            "headwater_collector_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "headwater_collector_request_seconds",
            "From the request's head to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        events = Counter("headwater_collector_events", "Events taken in.", ["topic", "outcome"], registry=registry)
        self.accepted = {name: events.labels(name, "accepted") for name in TOPICS if name in _TAKEN}
        self.refused = events.labels("http", "dead_letter")
        dead_letters = Counter("headwater_dead_letters", "Events refused.", ["reason"], registry=registry)
        self.dead_letters = {reason: dead_letters.labels(reason) for reason in REASONS}
        self.ready = ready_gauge(registry)
        build_gauge(registry)
        self._spooled = Gauge(
            "headwater_collector_spooled_events", "Events on the collector's disk, not in Kafka yet.", registry=registry
        )
        self._spool_bytes = Gauge(
            "headwater_collector_spool_bytes", "Bytes that the collector's spool takes of its disk.", registry=registry
        )
        self._spool_limit = Gauge(
            "headwater_collector_spool_limit_bytes", "Bytes that the collector's spool may take.", registry=registry
        )
        self._spool_age = Gauge(
            "headwater_collector_spool_oldest_seconds",
            "Age of the oldest event on the collector's disk, 0 without any.",
            registry=registry,
        )
        self.spool_failures = Counter(
            "headwater_collector_spool_failures", "Writes that the collector's disk did not take.", registry=registry
        )
        self.spool_damages = Counter(
            "headwater_collector_spool_damages",
            "Stretches of the spool that are no event any more, and events Kafka refuses; kept in files beside it.",
            registry=registry,
        )
        self._children: dict[tuple[str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def expect(self, routes: Iterable[str]) -> None:
        """Have the figures of `routes` at 0, those of failures too, before anyone asks for one."""
        for route in routes:
            self._timers[route] = self._seconds.labels(route)
            for status in (500, 503):
                self._children[route, status] = self._requests.labels(route, status)

    def watch_spool(
        self, *, events: Callable[[], int], size: Callable[[], int], limit: int, age: Callable[[], float]
    ) -> None:
        """Have the figures of the spool asked for whenever they are shown."""
        self._spooled.set_function(events)
        self._spool_bytes.set_function(size)
        self._spool_limit.set(limit)
        self._spool_age.set_function(age)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer of `route` (a name from the routing table)."""
        child = self._children.get((route, status))
        if child is None:
            child = self._children[route, status] = self._requests.labels(route, status)
        child.inc()
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = self._seconds.labels(route)
        timer.observe(seconds)

    def render(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


_TAKEN = ("clicks", "conversions", "costs")
