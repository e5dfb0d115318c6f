"""Metrics and health over HTTP, the same for every role."""

from sinks.prometheus.server import MetricsServer

__all__ = ["MetricsServer"]
