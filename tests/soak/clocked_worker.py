"""A worker like any other, but for its clock: that is in a file, in milliseconds since the epoch."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from schemas.settings import current_settings
from streams.worker.role import Worker


def main() -> None:
    """Run it until a signal; the only argument is the clock's file."""
    clock = Path(sys.argv[1])
    uvloop.install()

    async def work() -> None:
        worker = Worker(current_settings())
        worker.units.clock = lambda: int(clock.read_text(encoding="ascii"))
        await worker.run()

    asyncio.run(work())


if __name__ == "__main__":
    main()
