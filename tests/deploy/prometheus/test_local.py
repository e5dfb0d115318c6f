"""Prometheus over the local stack: targets from the stack's ports, errors in one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from deploy.prometheus.local import configuration, read_ports
from schemas.errors import ConfigurationError


def test_workers_are_one_job_and_servers_are_none():
    """Jobs are named as the rules expect; Kafka and the engine are no processes of ours."""
    found = configuration({"clickhouse": 1, "collector": 2, "worker-1": 3, "worker-2": 4, "sink": 5, "page": 6})
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in found["scrape_configs"]}
    assert jobs == {
        "headwater-collector": ["127.0.0.1:2"],
        "headwater-page": ["127.0.0.1:6"],
        "headwater-sink": ["127.0.0.1:5"],
        "headwater-worker": ["127.0.0.1:3", "127.0.0.1:4"],
    }


def test_ports_are_the_running_stack_s(tmp_path):
    """Where none runs, it says how to start one."""
    (tmp_path / "stack.json").write_text(json.dumps({"ports": {"sink": 7}}))
    assert read_ports(tmp_path) == {"sink": 7}
    with pytest.raises(ConfigurationError, match="no local stack runs in .*: start one by `headwater up`"):
        read_ports(tmp_path / "elsewhere")


def test_the_command_ends_in_one_line(tmp_path):
    """As every command does."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.prometheus.local"],
        env={"HEADWATER_DATA_DIR": str(tmp_path), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("prometheus: no local stack runs in ")
    assert done.stderr.count("\n") == 1
