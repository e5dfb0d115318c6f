"""What must not be left half done: it goes on to its end where its caller is cancelled, and the caller waits for it.

Rule: whatever holds a lock of the file system is opened and closed this way, so that who comes next finds it free.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


async def unbroken(work: Coroutine[object, object, T]) -> T:
    """The result of `work`; a cancellation is raised once it is done."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        raise
