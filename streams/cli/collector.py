"""`headwater collector`: the role that takes events in over HTTP.

Rule: on SIGTERM or SIGINT it answers what it has, flushes to Kafka and ends within five seconds.
"""

from __future__ import annotations


def collector() -> None:
    """Take events in over HTTP and put them into Kafka until stopped."""
    import uvloop

    from schemas.settings import current_settings
    from streams.collector.server import serve

    uvloop.run(serve(current_settings()))
