"""The engine as a process: concurrency, stopping, being killed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.deploy.engine.conftest import ROOT, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.deploy.engine.conftest import Engine

SLOW = "SELECT sum(sleepEachRow(0.01)) FROM numbers(100000) SETTINGS max_block_size = 10, max_threads = 1"


def _until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"


def _running(engine: Engine, query_id: str) -> bool:
    ask = f"SELECT count() FROM system.processes WHERE endsWith(query, 'query_id={query_id} */')"
    return engine.rows(ask) != "0\n"


def _in_background(engine: Engine, query_id: str) -> tuple[threading.Thread, list[httpx.Response]]:
    answers: list[httpx.Response] = []

    def ask() -> None:
        address = f"http://127.0.0.1:{engine.port}/"
        answers.append(httpx.post(address, params={"query_id": query_id}, content=SLOW.encode(), timeout=60))

    thread = threading.Thread(target=ask)
    thread.start()
    _until(lambda: _running(engine, query_id))
    return thread, answers


def test_a_slow_query_holds_up_no_other(engine: Engine) -> None:
    """A hundred quick queries are answered while a slow one runs, and KILL QUERY by its id ends that."""
    thread, answers = _in_background(engine, "slow-1")
    for _ in range(100):
        engine.rows("SELECT 1")
    assert not answers
    assert "slow-1" in engine.rows("KILL QUERY WHERE query_id = 'slow-1'")
    thread.join(10)
    assert answers[0].headers["X-ClickHouse-Exception-Code"] == "394"


def test_a_client_that_leaves_stops_its_select(engine: Engine) -> None:
    """The statement ends and its session is free again."""
    parameters = {"query_id": "left-1", "session_id": "left"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"http://127.0.0.1:{engine.port}/", params=parameters, content=SLOW.encode(), timeout=0.5)
    _until(lambda: not _running(engine, "left-1"))
    _until(lambda: engine.sql("SELECT 1", session_id="left").status_code == 200)


def test_a_crowd_of_clients_that_leave_holds_up_nobody(engine: Engine) -> None:
    """More of them than there are workers: what had not begun never runs, what had is stopped."""

    async def leave(client: httpx.AsyncClient, number: int) -> None:
        with contextlib.suppress(httpx.TimeoutException):
            await client.post("/", params={"query_id": f"crowd-{number}"}, content=SLOW.encode())

    async def crowd() -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{engine.port}", timeout=0.2) as client:
            await asyncio.gather(*(leave(client, number) for number in range(40)))

    asyncio.run(crowd())
    ask = "SELECT count() FROM system.processes WHERE query LIKE '%query_id=crowd%' AND query NOT LIKE '%LIKE%'"
    _until(lambda: engine.rows(ask) == "0\n", 15)


def test_a_busy_session_is_locked(engine: Engine) -> None:
    """Code 373 for the second client of a session."""
    with engine.http.stream(
        "POST", "/", params={"session_id": "busy"}, content=b"SELECT number FROM numbers(99000000)"
    ):
        second = engine.sql("SELECT 1", session_id="busy")
        assert second.headers["X-ClickHouse-Exception-Code"] == "373"
    _until(lambda: engine.sql("SELECT 1", session_id="busy").status_code == 200)


def test_data_survive_kill_9(starts: Callable[..., Engine], tmp_path: Path) -> None:
    """What was acknowledged is there after a kill -9, on the same port and directory at once."""
    first = starts(tmp_path / "data")
    first.rows("CREATE DATABASE kept")
    first.rows("CREATE TABLE kept.t (a UInt64) ENGINE = ReplacingMergeTree ORDER BY a")
    for batch in range(5):
        first.rows(f"INSERT INTO kept.t SELECT number + {batch * 1000} FROM numbers(1000)")
    first.stop(signal.SIGKILL)
    second = starts(tmp_path / "data", port=first.port)
    assert second.rows("SELECT count(), sum(a) FROM kept.t") == "5000\t12497500\n"


def test_sigterm_ends_it_within_three_seconds(starts: Callable[..., Engine], tmp_path: Path) -> None:
    """Also in the middle of a query, with exit code 0."""
    running = starts(tmp_path / "data")
    running.rows("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    running.rows("INSERT INTO t VALUES (1)")
    thread = threading.Thread(target=lambda: _ignoring_the_end(running.port))
    thread.start()
    _until(lambda: "sleepEachRow" in running.rows("SELECT query FROM system.processes WHERE query LIKE 'SELECT sum%'"))
    assert running.stop() < 3
    assert running.process.returncode == 0
    thread.join(10)
    assert starts(tmp_path / "data").rows("SELECT a FROM t") == "1\n"


def _ignoring_the_end(port: int) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"http://127.0.0.1:{port}/", content=SLOW.encode(), timeout=30).raise_for_status()


def test_a_second_process_on_the_directory_is_refused(starts: Callable[..., Engine], tmp_path: Path) -> None:
    """With one clear line, as is a port that is taken."""
    first = starts(tmp_path / "data")
    with pytest.raises(AssertionError, match="cannot start"):
        start(tmp_path / "data")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AssertionError, match="cannot start"):
            start(tmp_path / "other", port=taken.getsockname()[1])
    assert first.rows("SELECT 1") == "1\n"


def test_help() -> None:
    """``--help`` names the arguments and starts nothing."""
    command = [sys.executable, "-m", "deploy.local.engine", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--path" in shown.stdout
