"""What all tests share: settings untouched by the environment, and real servers started once a run."""

from __future__ import annotations

import os

import pytest

SERVERS = ("kafka", "engine")
"""Session fixtures of tests/integration/conftest.py that start a server."""


def pytest_configure() -> None:
    """Take what a developer has set for headwater out of the environment, also of the programs that tests start."""
    for name in [name for name in os.environ if name.startswith("HEADWATER_")]:
        del os.environ[name]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With xdist (`-n 2 --dist loadgroup`) keep the users of a server in one process, so that it is started once."""
    for item in items:
        if any(name in getattr(item, "fixturenames", ()) for name in SERVERS):
            item.add_marker(pytest.mark.xdist_group("servers"))
