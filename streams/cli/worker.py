"""``headwater worker``: the stream processor as a role of its own."""

from __future__ import annotations


def worker() -> None:
    """Run a worker: it shares the partitions with all workers of the same HEADWATER_APP."""
    from schemas.settings import current_settings
    from streams.worker.role import run

    run(current_settings())
