"""`headwater page`: the role that shows results and the health of tracking in a browser.

Rule: it starts and stays whether or not ClickHouse and the other roles are there; on SIGTERM or SIGINT it ends the
viewers' streams, who come back when it does, and is gone within two seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.settings import Settings


def page() -> None:
    """Serve the live page until stopped: results by channel and campaign, and the health of tracking."""
    import uvloop

    from schemas.settings import current_settings

    uvloop.run(run(current_settings()))


async def run(settings: Settings) -> None:
    """Serve until a signal comes; raises `ConfigurationError`."""
    import asyncio
    import signal

    import structlog

    from schemas.errors import ConfigurationError
    from sinks.page import PageMetrics, PageServer

    log = structlog.get_logger()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = PageServer(settings, PageMetrics())
    try:
        await server.start()
    except OSError as error:
        raise ConfigurationError(f"page_port: {error}") from error
    log.info("page_started", host=server.host, port=server.port)
    try:
        await stopping.wait()
    finally:
        await server.stop()
    log.info("page_stopped")
