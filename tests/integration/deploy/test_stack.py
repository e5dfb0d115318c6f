"""The local stack around real Kafka and a real engine, with stand-ins for headwater's own roles."""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from deploy.local.ports import HOST
from deploy.local.probe import http_ok, kafka_answers, until
from deploy.local.stack import LocalStack
from schemas.settings import Settings, current_settings

pytestmark = pytest.mark.integration

COMMAND = (sys.executable, "-S", str(Path(__file__).parents[2] / "deploy" / "local" / "stand_in_role.py"))


async def test_the_stack_goes_on_where_it_was(tmp_path: Path) -> None:
    """Up, a killed Kafka revived, down without a trace, and up again at the same addresses."""
    lines: list[tuple[str, str]] = []
    settings = Settings(data_dir=tmp_path)

    def stack() -> LocalStack:
        return LocalStack(settings, workers=2, command=COMMAND, on_ready=lambda *line: lines.append(line))

    async with stack() as first:
        found = current_settings(data_dir=tmp_path)
        assert found.kafka == first.settings.kafka
        assert found.partitions == 4
        assert await kafka_answers(HOST, int(found.kafka.rpartition(":")[2]))
        assert await http_ok(found.clickhouse_host, found.clickhouse_port, "/ping")
        assert await http_ok(found.collector_host, found.collector_port, "/readyz")
        assert set(first.pids) == {"kafka", "clickhouse", "collector", "worker-1", "worker-2", "sink", "page"}
        assert sorted(name for name, _ in lines) == sorted(first.pids)
        assert dict(lines)["kafka"] == found.kafka
        assert dict(lines)["collector"] == f"http://{HOST}:{found.collector_port}"

        before = first.pids["kafka"]
        os.kill(before, signal.SIGKILL)

        async def revived() -> bool:
            again = first.pids.get("kafka", before) != before
            return again and await kafka_answers(HOST, int(found.kafka.rpartition(":")[2]))

        assert await until(revived, 30)
        pids = set(first.pids.values())
    assert not {pid for pid in pids if psutil.pid_exists(pid)}
    assert not (tmp_path / "stack.json").exists()

    addresses = sorted(set(lines))
    lines.clear()
    async with stack() as second:
        assert sorted(lines) == addresses
        assert second.settings.click_id_keys == first.settings.click_id_keys


async def test_workers_have_state_and_ports_of_their_own(tmp_path: Path) -> None:
    """And everyone is told the same servers, the same key, and local security."""
    settings = Settings(data_dir=tmp_path, kafka_security_protocol="SASL_SSL", partitions=2)
    async with LocalStack(settings, workers=2, command=COMMAND) as stack:
        ready = partial(http_ok, HOST, stack.settings.worker_metrics_port, "/readyz")
        assert await ready()
    seen = [json.loads(file.read_text()) for file in (tmp_path / "seen").iterdir()]
    assert len(seen) == 7
    for name in ("KAFKA", "CLICKHOUSE_PORT", "CLICK_ID_KEYS", "COLLECTOR_PORT"):
        assert len({env[f"HEADWATER_{name}"] for env in seen}) == 1
    assert {env["HEADWATER_KAFKA_SECURITY_PROTOCOL"] for env in seen} == {"PLAINTEXT"}
    assert {env["HEADWATER_PARTITIONS"] for env in seen} == {"2"}
    shown = next(env["HEADWATER_PAGE_ROLES"] for env in seen if "HEADWATER_PAGE_ROLES" in env)
    assert [role.partition("=")[0] for role in shown.split(",")] == ["collector", "worker-1", "worker-2", "sink"]
    states = {env["HEADWATER_WORKER_STATE_DIR"] for env in seen if "HEADWATER_WORKER_STATE_DIR" in env}
    assert states == {str(tmp_path / "state" / f"worker-{number}") for number in (1, 2)}
