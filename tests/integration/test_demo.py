"""The demo itself, as a program: everything runs, and ClickHouse says what the truth says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from select import select
from time import monotonic

import psutil
import pytest

from streams.cli.demo import MARK

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
DEMO = (sys.executable, "-m", "streams.cli.main", "demo", "--exit", "--json")
WORKER = "streams.cli.main worker"


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """A demo of its own directory, in a session of its own so that Ctrl-C reaches it alone."""
    return subprocess.Popen(
        [*DEMO, "--data-dir", str(directory), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(demo: subprocess.Popen[str], seconds: float = 200) -> tuple[int, dict, str]:
    """Exit status, the figures of the last line, and what was told on stderr."""
    try:
        output, told = demo.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(demo.pid, signal.SIGINT)
        output, told = demo.communicate(timeout=30)
    lines = output.splitlines()
    assert len(lines) == 1, told
    return demo.returncode, json.loads(lines[0]), told


def wait_for(file: Path, demo: subprocess.Popen[str]) -> None:
    """Until `file` is there: the stack says so when all of it is ready."""
    deadline = monotonic() + 90
    while not file.is_file():
        assert monotonic() < deadline, "the stack is not ready"
        assert demo.poll() is None, demo.communicate()[1]
        select([], [], [], 0.05)


def worker_pid(demo: subprocess.Popen[str], not_this: int = 0) -> int:
    """The process id of the demo's worker, once it runs."""
    deadline = monotonic() + 60
    while monotonic() < deadline:
        for child in psutil.Process(demo.pid).children(recursive=True):
            try:
                if WORKER in " ".join(child.cmdline()) and child.pid != not_this:
                    return child.pid
            except psutil.Error:
                continue
        assert demo.poll() is None
    pytest.fail("no worker runs")


def test_killed_workers_change_nothing_and_nothing_stays(tmp_path):
    """`kill -9` of the worker while events come in: it comes back, every figure is right to the millionth.

    The last line tells the counts; no process is left.
    """
    demo = start(tmp_path / "data", "--events", "5000", "--seed", "11")
    wait_for(tmp_path / "data" / "stack.json", demo)
    pid = 0
    for _ in range(2):
        pid = worker_pid(demo, not_this=pid)
        os.kill(pid, signal.SIGKILL)
    code, figures, told = finish(demo)
    assert (code, figures["truth"]) == (0, "equal"), told
    assert figures["events"] == 5000
    assert figures["accepted"] + figures["duplicates"] + figures["dead_letters"] == 5000
    assert figures["conversions"] > 10
    assert figures["seconds"] > 0
    assert "all channels" in told
    assert (tmp_path / "data" / MARK).is_file()
    assert not [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or ())
    ]


def test_a_directory_with_other_data_is_refused(tmp_path):
    """In one line, before anything is started."""
    (tmp_path / "thesis.txt").write_text("years of work")
    done = subprocess.run([*DEMO, "--data-dir", str(tmp_path)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "not the demo's" in done.stderr
    assert (tmp_path / "thesis.txt").is_file()
