"""What the sink tells Prometheus (contract, section 8).

Rule: rows are counted when they are in ClickHouse; lag is the age of the oldest record that was fetched and is not
there yet, 0 where there is none. A counter is there, at 0, before it counts.
"""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from sinks.clickhouse.decoders import DECODERS

TABLES: Final = (
    "touches_rows",
    "attributions_rows",
    "orders_rows",
    "panes_rows",
    "spend_rows",
    "dead_letters_rows",
    "registry_rows",
    "sink_rejects",
)
"""What the sink inserts into."""


class SinkMetrics:
    """The sink's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self.records = Counter("headwater_sink_records", "Output records read.", ["topic"], registry=registry)
        self.rows = Counter("headwater_sink_rows", "Rows inserted into ClickHouse.", ["table"], registry=registry)
        self.inserts = Histogram(
            "headwater_sink_insert_seconds", "Time of one insert that went through.", ["table"], registry=registry
        )
        self.failures = Counter("headwater_sink_insert_failures", "Inserts that failed.", ["table"], registry=registry)
        for table in TABLES:
            self.rows.labels(table)
            self.failures.labels(table)
        self.failures.labels("sink_positions")
        self.clickhouse_up = Gauge(
            "headwater_sink_clickhouse_up", "1 while ClickHouse takes what the sink brings, else 0.", registry=registry
        )
        self.rewound = Counter(
            "headwater_sink_rewound_records",
            "Offsets read again, since ClickHouse held less than Kafka's offsets said.",
            ["topic"],
            registry=registry,
        )
        self.gone = Counter(
            "headwater_sink_gone_records",
            "Offsets that ClickHouse lacks and Kafka keeps no more.",
            ["topic"],
            registry=registry,
        )
        self.undecodable = Counter(
            "headwater_sink_undecodable", "Output records kept in sink_rejects.", ["topic"], registry=registry
        )
        for topic in DECODERS:
            self.records.labels(topic)
            self.undecodable.labels(topic)
            self.rewound.labels(topic)
            self.gone.labels(topic)
        self.consumer_lag = Gauge(
            "headwater_consumer_lag",
            "Offsets between the end of a partition and what was fetched.",
            ["topic", "partition"],
            registry=registry,
        )
        self.lag = Gauge("headwater_sink_lag_seconds", "Age of the oldest record not yet inserted.", registry=registry)
        self.lag.set_function(self._lag)
        self.oldest_ms: list[int] = []

    def _lag(self) -> float:
        return max(0.0, time.time() - min(self.oldest_ms) / 1000) if self.oldest_ms else 0.0
