"""What every role tells Prometheus of itself, besides the process's own figures (memory, CPU, open files).

Rule: one name for all roles; which role it is, the scrape's job says.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Gauge


def ready_gauge(registry: CollectorRegistry) -> Gauge:
    """A new `headwater_ready` in `registry`, to be set, or to be given a function."""
    return Gauge("headwater_ready", "1 while the role does its work; /readyz says why not.", registry=registry)


def build_gauge(registry: CollectorRegistry) -> Gauge:
    """A new `headwater_build_info` in `registry`."""
    gauge = Gauge("headwater_build_info", "Always 1; the version that runs.", ["version"], registry=registry)
    try:
        gauge.labels(version("headwater")).set(1)
    except PackageNotFoundError:
        gauge.labels("unknown").set(1)
    return gauge
