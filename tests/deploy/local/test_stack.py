"""What the local stack tells its roles, and what it keeps in its directory."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploy.local.ports import HOST
from deploy.local.stack import LocalStack, environment
from schemas.errors import ConfigurationError
from schemas.settings import Settings


def test_roles_see_what_is_set_and_nothing_else() -> None:
    """Secrets in clear, defaults left to the program, the caller's own HEADWATER_ variables gone."""
    settings = Settings(partitions=4, click_id_keys=SecretStr("a:b"), clickhouse_secure=False, worker_state_dir=None)
    env = environment(settings, {"PATH": "/bin", "HEADWATER_KAFKA_SASL_PASSWORD": "production"})
    assert env == {
        "PATH": "/bin",
        "PYTHONUNBUFFERED": "1",
        "HEADWATER_PARTITIONS": "4",
        "HEADWATER_CLICK_ID_KEYS": "a:b",
        "HEADWATER_CLICKHOUSE_SECURE": "False",
    }


def test_the_environment_reads_back_as_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, partitions=3, clickhouse_secure=True, click_id_keys=SecretStr("a:b"))
    for name, value in environment(settings, {}).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


async def test_a_port_that_is_set_must_be_free(tmp_path: Path) -> None:
    """It was asked for, so another one would not do."""
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        stack = LocalStack(Settings(data_dir=tmp_path, collector_port=port))
        with pytest.raises(ConfigurationError, match=f"port {port}, set for collector, is taken"):
            async with stack:
                pass
