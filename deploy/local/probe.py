"""Probes: does a service answer yet.

Rule: a probe says yes or no and never raises for a service that is not there; asking again is the caller's. It uses
plain sockets, so that the supervisor needs no client library to start.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

API_VERSIONS = 18
"""Kafka's ApiVersions request, which every broker answers to anyone (Kafka protocol guide, "Api Keys")."""
TIMEOUT_S = 2.0
INTERVAL_S = 0.05


async def _exchange(host: str, port: int, request: bytes, size: int) -> bytes:
    """Send `request` and return the first `size` bytes of the answer, or fewer; b"" where nobody answers in time."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(request)
            await writer.drain()
            return await reader.readexactly(size)
    except asyncio.IncompleteReadError as short:
        return short.partial
    except (OSError, TimeoutError):
        return b""
    finally:
        if writer is not None:
            writer.close()


async def http_ok(host: str, port: int, path: str) -> bool:
    """Whether `GET path` is answered with status 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
    answer = await _exchange(host, port, request, 12)
    return answer.startswith(b"HTTP/1.") and answer[9:12] == b"200"


async def kafka_answers(host: str, port: int) -> bool:
    """Whether a broker processes requests: it listens some time before it does."""
    body = struct.pack(">hhih", API_VERSIONS, 0, 1, -1)
    answer = await _exchange(host, port, struct.pack(">i", len(body)) + body, 10)
    return len(answer) == 10 and struct.unpack(">iih", answer)[1:] == (1, 0)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Ask `condition` until it is true; False where it was not within `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(INTERVAL_S)
    return True
