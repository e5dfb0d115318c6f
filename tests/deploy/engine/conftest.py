"""A real engine process for this directory's tests, one for all of them; each test names its own tables."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class Engine:
    """A running engine; ``sql`` sends one statement by POST and gives back the response."""

    process: subprocess.Popen[str]
    port: int
    http: httpx.Client

    def sql(self, text: str | bytes, **parameters: str) -> httpx.Response:
        return self.http.post("/", params=parameters, content=text if isinstance(text, bytes) else text.encode())

    def rows(self, text: str, **parameters: str) -> str:
        response = self.sql(text, **parameters)
        assert response.status_code == 200, response.text
        return response.text

    def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """Ends the process; returns the seconds that took."""
        self.http.close()
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.wait(10)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return time.monotonic() - begun


def start(path: Path, *, port: int = 0, password: str = "") -> Engine:
    environment = {**os.environ, "HEADWATER_CLICKHOUSE_PASSWORD": password}
    command = [sys.executable, "-m", "deploy.local.engine", "--path", str(path), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    while line and "ready on" not in line and "cannot start" not in line:
        line = process.stderr.readline()
    if "ready on" not in line:
        process.wait(10)
        process.stderr.close()
        raise AssertionError(f"the engine said: {line}")
    address = line.strip().rpartition(" ")[2]
    return Engine(
        process,
        int(address.rpartition(":")[2]),
        httpx.Client(base_url=address, timeout=30, headers={"Accept-Encoding": "identity"}),
    )


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    running = start(tmp_path_factory.mktemp("engine"))
    yield running
    running.stop()


@pytest.fixture
def starts() -> Iterator[Callable[..., Engine]]:
    """Starts engines of a test's own and ends what the test leaves."""
    running: list[Engine] = []

    def begin(path: Path, **options: object) -> Engine:
        running.append(start(path, **options))  # type: ignore[arg-type]
        return running[-1]

    yield begin
    for one in running:
        one.stop(signal.SIGKILL)
