"""The page's one connection to ClickHouse: a thread that answers questions one after another.

Rule: it connects when first asked, again after a failure, and every failure comes out as the error of ours that
`connection` makes of it. The thread never keeps the process from ending: a query that hangs is left behind.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from urllib3.util.timeout import Timeout

from sinks.clickhouse.connection import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from clickhouse_connect.driver.client import Client

    from schemas.settings import Settings

# The driver raises what its transport logs.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

_T = TypeVar("_T")

CONNECT_S: Final = 3.0
READ_S: Final = 20.0
"""A query that takes longer has failed."""


@dataclass(frozen=True, slots=True)
class _Job:
    call: Callable[[Client], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]

    def done(self, result: Any, error: Exception | None) -> None:
        def tell() -> None:
            if self.future.done():  # given up by who asked
                return
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)

        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(tell)


class Source:
    """Answers one question at a time; `close` when done."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: Thread | None = None

    async def ask(self, call: Callable[[Client], _T]) -> _T:
        """What `call` returns of a client on the settings' database. Raises `Unavailable`, `QueryFailed`."""
        if self._thread is None:
            self._thread = Thread(target=self._serve, name="page-clickhouse", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        job = _Job(call, loop, loop.create_future())
        self._jobs.put(job)
        result: _T = await job.future
        return result

    def close(self) -> None:
        """Let the connection go when the query in hand is done."""
        self._jobs.put(None)

    def _serve(self) -> None:
        job = self._jobs.get()
        while job is not None:
            try:
                with connect(self._settings) as client:
                    cast("Any", client).timeout = Timeout(connect=CONNECT_S, read=READ_S)
                    while job is not None:
                        job.done(job.call(client), None)
                        job = self._jobs.get()
            except Exception as error:  # noqa: BLE001  # whoever asked deals with it
                if job is not None:
                    job.done(None, error)
                    job = self._jobs.get()
