"""Stand-ins for services, and whether a process is still there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from deploy.local.keeper import Service
from deploy.local.ports import HOST, free_port
from deploy.local.probe import http_ok, until

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def stand_in() -> Callable[..., Service]:
    """A service that answers on a port of its own, with options of stand_in.py."""

    def make(name: str, *options: str, after: tuple[str, ...] = ()) -> Service:
        port = free_port()
        argv = (sys.executable, "-S", str(STAND_IN), str(port), *options)
        return Service(name, argv, f"http://{HOST}:{port}", partial(http_ok, HOST, port, "/readyz"), after)

    return make


@pytest.fixture
def gone() -> Callable[..., object]:
    """Wait until a process is there no more, or only as a zombie; whether that came."""

    async def is_gone(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    async def wait(pid: int, seconds: float = 10) -> bool:
        return await until(partial(is_gone, pid), seconds)

    return wait
