"""Metrics and health over HTTP, the same for every role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sinks.prometheus.server import MetricsServer

__all__ = ["MetricsServer"]


def __getattr__(name: str) -> Any:
    """The server, once it is asked for: the collector has one of its own, and starts a quarter sooner without this."""
    if name == "MetricsServer":
        from sinks.prometheus.server import MetricsServer

        return MetricsServer
    raise AttributeError(name)
