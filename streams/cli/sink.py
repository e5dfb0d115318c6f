"""`headwater sink`: the role that takes committed results from Kafka to ClickHouse.

Rule: on SIGTERM or SIGINT it inserts what it holds, commits, leaves the group and ends within five seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.settings import Settings


def sink() -> None:
    """Take committed results from Kafka to ClickHouse until stopped."""
    import uvloop

    from schemas.settings import current_settings

    uvloop.run(run(current_settings()))


async def run(settings: Settings) -> None:
    """Serve metrics and consume until a signal comes; raises what only a person can mend."""
    import asyncio
    import gc
    import signal

    import structlog

    from schemas.errors import ConfigurationError
    from sinks.clickhouse.consumer import Sink
    from sinks.clickhouse.metrics import SinkMetrics
    from sinks.prometheus import MetricsServer

    log = structlog.get_logger()
    metrics = SinkMetrics()
    role = Sink(settings, metrics)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, role.stop)
    server = MetricsServer(settings.sink_host, settings.sink_metrics_port, role.ready, metrics.registry)
    try:
        await server.start()
    except OSError as error:
        raise ConfigurationError(f"sink_metrics_port: {error}") from error
    log.info("sink_metrics", host=server.host, port=server.port)
    # What is decoded makes no cycles: looking for some after every few hundred objects took a third of reading.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        await role.run()
    finally:
        await server.stop()
    log.info("sink_stopped")
