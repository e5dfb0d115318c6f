"""``headwater worker``: the stream processor as a role of its own."""

from __future__ import annotations


def worker() -> None:
    """Run a worker: it shares the partitions with all workers of the same HEADWATER_APP."""
    import gc

    # What is imported stays, so looking for garbage in it is a tenth of the time to start.
    gc.disable()
    from schemas.settings import current_settings
    from streams.worker.role import run

    gc.enable()
    run(current_settings())
