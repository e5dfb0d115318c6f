"""What all tests share: settings untouched by the environment, processes that start quickly, and an order.

Rule: a file's tests run in one process (`--dist loadfile`), so what a file starts for all its tests is started once.
"""

from __future__ import annotations

import os
import sys

import pytest

FIRST = ("tests/integration/test_worker.py", "tests/integration", "tests/faults", "tests/browser", "tests/sinks")
"""Where tests take long. They come first: at the end both processes have short ones left, and end at once."""


def pytest_configure() -> None:
    """Take what a developer has set for headwater out of the environment, and make the programs of tests start quickly.

    A Python that may not keep what it has compiled, as in many images, needs three times the CPU to start, and hundreds
    start.
    """
    for name in [name for name in os.environ if name.startswith("HEADWATER_")]:
        del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _place(item: pytest.Item) -> int:
    return next((place for place, start in enumerate(FIRST) if item.nodeid.startswith(start)), len(FIRST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first; within a file, and among the others, as they are."""
    items.sort(key=_place)
