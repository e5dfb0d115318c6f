"""``headwater up``: the local stack, kept running until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def up(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    data_dir: Annotated[Path | None, typer.Option(help="Directory of all data; default: HEADWATER_DATA_DIR.")] = None,
) -> None:
    """Run Kafka, ClickHouse's engine and all roles here until Ctrl-C; a line a service when it is ready.

    The line of the live page tells where to see what comes in. All data is in one directory, and another start there
    goes on where the last one was.
    """
    import asyncio
    from contextlib import suppress

    from deploy.local.stack import LocalStack
    from schemas.settings import Settings

    async def keep() -> None:
        settings = Settings() if data_dir is None else Settings(data_dir=data_dir)
        stack = LocalStack(settings, workers=workers, on_ready=lambda name, address: print(name, address, flush=True))
        # A signal cancels this task: that is how this command ends.
        with suppress(asyncio.CancelledError):
            async with stack:
                await asyncio.Event().wait()

    asyncio.run(keep())
