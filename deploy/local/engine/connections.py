"""The engine's life: opens the data directory once, gives each request a connection, keeps those of sessions.

Rule: a chDB connection runs one statement at a time, but connections run side by side (chDB releases the interpreter's
lock), so each request has one of its own; opening one takes 0.2 ms. Statements run in a bounded pool of threads and
queue beyond it. A connection is given back only when its statement has ended, also if the client is gone.
"""

from __future__ import annotations

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import structlog

from deploy.local.engine import execution
from deploy.local.engine.errors import QUERY_WAS_CANCELLED, SESSION_IS_LOCKED, SESSION_NOT_FOUND, EngineError, refused
from deploy.local.engine.execution import Handle, Rows, Terms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deploy.local.engine.request import Session
    from deploy.local.engine.statement import Statement

log = structlog.get_logger()

#: Statements that run at the same time; the rest wait.
WORKERS: Final = 16
_KILL_SECONDS: Final = 0.2
_T = TypeVar("_T")


@dataclass(slots=True)
class _Kept:
    """A session's connection between its requests."""

    handle: Handle
    busy: bool = True
    expiry: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Lease:
    """A connection that one request holds; what is left open on it is ended when the lease is."""

    connections: Connections
    handle: Handle
    session: Session | None
    terms: Terms
    statement: Statement | None = None
    before: dict[str, tuple[str, bool]] = field(default_factory=dict)
    rows: Rows | None = None
    inserter: Any = None
    external: list[str] = field(default_factory=list)
    running: asyncio.Future[Any] | None = None
    ended: bool = False

    async def step(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Runs a blocking function of this connection in a worker; one at a time."""
        self.running = self.connections.submit(self._unless_left, function, *arguments)
        return await asyncio.shield(self.running)

    def _unless_left(self, function: Callable[..., _T], *arguments: Any) -> _T:
        if self.ended:
            raise refused(QUERY_WAS_CANCELLED, "The client left before its query began")
        return function(*arguments)


class Connections:
    """The engine on one directory; an async context manager. A second process on the directory is refused."""

    def __init__(self, path: Path, workers: int = WORKERS) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="statement")
        self._control = ThreadPoolExecutor(2, thread_name_prefix="control")
        self._sessions: dict[str, _Kept] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._root: Any = None
        self.version = ""
        self.timezone = ""
        self.host = ""

    async def __aenter__(self) -> Self:
        self._root = await asyncio.get_running_loop().run_in_executor(self._control, self._connect)
        facts = execution.run(Handle(self._root), "SELECT version(), timezone(), displayName()", "TabSeparatedRaw")
        self.version, self.timezone, self.host = bytes(facts.bytes()).decode().rstrip("\n").split("\t")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops what still runs and closes the engine; at most about a second."""
        for kept in self._sessions.values():
            if kept.expiry is not None:
                kept.expiry.cancel()
        loop = asyncio.get_running_loop()
        if self._tasks:
            await loop.run_in_executor(self._control, execution.kill_all, Handle(self._root))
            await asyncio.wait(set(self._tasks), timeout=1)
        for kept in self._sessions.values():
            if not kept.busy:
                kept.handle.raw.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if not self._tasks:
            await loop.run_in_executor(self._control, self._root.close)
        self._control.shutdown(wait=False)

    def _connect(self) -> Any:
        # Loading it takes a second, and chdb.connect would add a cursor and progress bars around this.
        engine: Any = importlib.import_module("chdb._chdb")
        self._path.mkdir(parents=True, exist_ok=True)
        return engine.connect(str(self._path.resolve()))

    def submit(self, function: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """Queues a blocking function for the workers."""
        return asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *arguments))

    async def _opened(self) -> Any:
        opening = self.submit(self._connect)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The client left meanwhile: nobody else would close it.
            opening.add_done_callback(lambda opened: self._control.submit(opened.result().close))
            raise

    async def lease(self, session: Session | None, terms: Terms) -> Lease:
        """A connection for one request; give it back with `end`. Raises `EngineError` 372 or 373."""
        if session is None:
            return Lease(self, Handle(await self._opened()), None, terms)
        kept = self._sessions.get(session.name)
        if kept is None:
            if session.must_exist:
                raise refused(SESSION_NOT_FOUND, f"Session {session.name} not found")
            kept = self._sessions[session.name] = _Kept(Handle(None, session=True))
            try:
                kept.handle.raw = await self._opened()
            except BaseException:
                del self._sessions[session.name]
                raise
        elif kept.busy:
            raise refused(SESSION_IS_LOCKED, f"Session {session.name} is locked by a concurrent client")
        kept.busy = True
        if kept.expiry is not None:
            kept.expiry.cancel()
        return Lease(self, kept.handle, session, terms)

    async def end(self, lease: Lease) -> None:
        """Gives a connection back, once. If its statement still runs (the client left), that is waited for apart."""
        if lease.ended:
            return
        lease.ended = True
        task = asyncio.create_task(self._end(lease))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if lease.session is not None and (lease.running is None or lease.running.done()):
            await asyncio.shield(task)

    async def _end(self, lease: Lease) -> None:
        loop = asyncio.get_running_loop()
        if lease.running is not None and not lease.running.done():
            await self._stopped(lease, lease.running)
            self._adopt(lease, lease.running)
        keep = await loop.run_in_executor(self._control, self._settle, lease)
        if lease.session is not None:
            self._give_back(lease.session, keep=keep)

    async def _stopped(self, lease: Lease, running: asyncio.Future[Any]) -> None:
        """Waits for a statement that nobody waits for; a SELECT is killed, again if it had not begun the last time."""
        selects = lease.statement is not None and lease.statement.selects
        while not running.done():
            if selects:
                await asyncio.get_running_loop().run_in_executor(
                    self._control, execution.kill, Handle(self._root), lease.terms.query_id
                )
            await asyncio.wait([running], timeout=_KILL_SECONDS if selects else None)

    @staticmethod
    def _adopt(lease: Lease, ended: asyncio.Future[Any]) -> None:
        """What a statement left open whose outcome nobody has read."""
        if ended.cancelled() or ended.exception() is not None:
            return
        result = ended.result()
        if isinstance(result, Rows):
            lease.rows = result

    @staticmethod
    def _settle(lease: Lease) -> bool:
        """In a thread: ends what is open, then restores or closes the connection; False if it is closed."""
        try:
            if lease.inserter is not None:
                execution.drop_insert(lease.handle, lease.inserter)
            if lease.rows is not None:
                execution.stop(lease.handle, lease.rows)
            if lease.session is not None and not lease.session.closes:
                for table in lease.external:
                    execution.run(lease.handle, f"DROP TEMPORARY TABLE IF EXISTS {execution.named(table)}")
                execution.restore(lease.handle, lease.before, lease.statement)
                return True
        except (EngineError, RuntimeError) as error:
            log.warning("engine_connection_dropped", error=str(error))
        lease.handle.raw.close()
        return False

    def _give_back(self, session: Session, *, keep: bool) -> None:
        if not keep:
            self._sessions.pop(session.name, None)
            return
        kept = self._sessions[session.name]
        kept.busy = False
        kept.expiry = asyncio.get_running_loop().call_later(session.seconds, self._expire, session.name)

    def _expire(self, name: str) -> None:
        kept = self._sessions.pop(name, None)
        if kept is not None:
            self._control.submit(kept.handle.raw.close)
