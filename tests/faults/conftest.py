"""A ClickHouse engine of its own for the check of the check."""

from __future__ import annotations

import pytest

from schemas.settings import Settings
from sinks.clickhouse.migrate import migrate
from tests.sinks.conftest import EngineProcess


@pytest.fixture
def settings(tmp_path):
    """Where an empty, migrated database is."""
    engine = EngineProcess(tmp_path / "engine")
    engine.start()
    found = Settings(clickhouse_port=engine.port)
    migrate(found)
    yield found
    engine.kill()
