"""Ports: free ones on the loopback address, the same again after a restart.

Rule: ports are taken from below the range that the system gives to outgoing connections, so that a service that is
restarted finds its port still free.
"""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

from schemas.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

HOST = "127.0.0.1"
FIRST, LAST = 20_000, 32_767
"""Above the well-known ports, below Linux's ephemeral range (`ip_local_port_range` begins at 32768)."""


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(taken: Container[int] = ()) -> int:
    """A free port that is not in `taken`.

    Raises `schemas.errors.Unavailable` where none is found.
    """
    for port in random.SystemRandom().sample(range(FIRST, LAST + 1), 2_000):
        if port not in taken and is_free(port):
            return port
    message = f"no free port between {FIRST} and {LAST} on {HOST}"
    raise Unavailable(message)


def assign(names: Iterable[str], before: Mapping[str, int]) -> dict[str, int]:
    """A free port for each of `names`: the one it had `before` where that is still free, else another."""
    ports: dict[str, int] = {}
    for name in names:
        kept = before.get(name)
        if kept is not None and kept not in ports.values() and is_free(kept):
            ports[name] = kept
        else:
            ports[name] = free_port({*ports.values(), *before.values()})
    return ports
