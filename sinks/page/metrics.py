"""What the page tells Prometheus of itself.

Rule: no site, currency or question is a label; how many look on and what their cycle costs is all there is to know.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram


class PageMetrics:
    """The page's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self.viewers = Gauge("headwater_page_viewers", "Connections that receive live figures.", registry=registry)
        self.questions = Gauge("headwater_page_questions", "Different questions asked at present.", registry=registry)
        self.seconds = Histogram(
            "headwater_page_answer_seconds",
            "Time until ClickHouse has answered one question.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
            registry=registry,
        )
        self.failures = Counter("headwater_page_answer_failures", "Answers that failed.", registry=registry)
