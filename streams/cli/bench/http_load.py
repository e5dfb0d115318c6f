"""Load over HTTP, from a process of its own: keep-alive connections, either as fast as answers come or at a rate.

Rule: at a rate, requests are due at even times whether or not earlier ones are answered, and the latency of one counts
from when it was due, not from when a connection was free for it; so a server that stalls cannot hide it (coordinated
omission). Every answer must be a 202, else its status is counted as a failure.

``python -m streams.cli.bench.http_load`` reads its orders as JSON from its arguments, and prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TICK_S: Final = 0.001
_DRAIN_S: Final = 10.0
_CLIENTS: Final = 16_384
"""Addresses that requests claim to come from, as behind a proxy."""


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at a time; `answered(self, status)` when it is answered."""

    def __init__(self, answered: Callable[[Connection, int], None]) -> None:
        self._answered = answered
        self._transport: Any = None
        self._buffer = b""
        self.due = 0.0
        self.told: Callable[[int], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def send(self, request: bytes, due: float, told: Callable[[int], None] | None = None) -> None:
        """Send a request that was due then; `told` is called with the status of its answer."""
        self.due = due
        self.told = told
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take in an answer; only its status and its length are looked at."""
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end >= 0:
            head = buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(buffer) >= end + 4 + length:
                self._buffer = b""
                self._answered(self, int(buffer[9:12]))
                return
        self._buffer = buffer

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """A connection that is cut under way counts as status 0."""
        if self.due:
            self._answered(self, 0)

    def close(self) -> None:
        """Disconnect."""
        self.due = 0.0
        self._transport.close()


class Sender:
    """Sends `requests` over `connections` connections."""

    def __init__(self, host: str, port: int, connections: int) -> None:
        self._address = (host, port)
        self._number = connections
        self._idle: deque[Connection] = deque()
        self._waiting: deque[tuple[bytes, float, Callable[[int], None] | None]] = deque()
        self._left = 0
        self._done = asyncio.Event()
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []

    async def open(self) -> None:
        """Connect."""
        loop = asyncio.get_running_loop()
        for _ in range(self._number):
            _, connection = await loop.create_connection(lambda: Connection(self._answered), *self._address)
            self._idle.append(connection)

    def _answered(self, connection: Connection, status: int) -> None:
        now = time.perf_counter()
        self.statuses[status] += 1
        self.latencies.append(now - connection.due)
        connection.due = 0.0
        if connection.told is not None:
            connection.told(status)
        self._left -= 1
        if self._left <= 0:
            self._done.set()
        if not status:
            return
        if self._waiting:
            request, due, told = self._waiting.popleft()
            connection.send(request, due or now, told)
        else:
            self._idle.append(connection)

    def send(self, request: bytes, due: float, told: Callable[[int], None] | None = None) -> None:
        """Send a request that is due now, or as soon as a connection is free."""
        if self._idle:
            self._idle.popleft().send(request, due, told)
        else:
            self._waiting.append((request, due, told))

    async def flood(self, requests: Sequence[bytes]) -> float:
        """Send all, each connection its next when the last is answered; returns the seconds it took."""
        self._begin(len(requests))
        began = time.perf_counter()
        self._waiting.extend((request, 0.0, None) for request in requests)
        while self._idle and self._waiting:
            self._idle.popleft().send(self._waiting.popleft()[0], time.perf_counter())
        await self._done.wait()
        return time.perf_counter() - began

    async def steadily(self, requests: Sequence[bytes], rate: float) -> float:
        """Send all, `rate` a second, whatever the answers do; returns the seconds it took."""
        self._begin(len(requests))
        began = time.perf_counter()
        number = 0
        while number < len(requests):
            now = time.perf_counter()
            due_by_now = min(len(requests), int((now - began) * rate) + 1)
            for request in requests[number:due_by_now]:
                due = began + number / rate
                number += 1
                self.send(request, due)
            await asyncio.sleep(_TICK_S)
        async with asyncio.timeout(_DRAIN_S):
            await self._done.wait()
        return time.perf_counter() - began

    def _begin(self, number: int) -> None:
        self._left = number
        self._done.clear()
        self.statuses.clear()
        self.latencies.clear()

    def close(self) -> None:
        """Disconnect."""
        for connection in self._idle:
            connection.close()


def post(body: bytes, number: int, host: str = "127.0.0.1") -> bytes:
    """The request that posts `body`, as a browser behind a proxy sends it."""
    client = number % _CLIENTS
    return (
        b"POST /events HTTP/1.1\r\n"
        b"Host: %s\r\n"
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
        b"Safari/537.36\r\n"
        b"Origin: https://bench.example\r\n"
        b"Content-Type: application/json\r\n"
        b"X-Forwarded-For: 203.%d.%d.%d\r\n"
        b"Content-Length: %d\r\n\r\n%s"
    ) % (host.encode(), client >> 12, client >> 6 & 63, client & 63, len(body), body)


def bodies(events: int, each: int, seed: int) -> list[bytes]:
    """Bodies of `each` events, `events` in all: an object where `each` is 1, else an array."""
    from streams.simulator.load import Load

    load = Load(events=events, seed=seed)
    made = list(load.stated(int(time.time() * 1000)))
    if each == 1:
        return made
    return [b"[" + b",".join(made[at : at + each]) + b"]" for at in range(0, len(made), each)]


async def run(orders: dict[str, Any]) -> dict[str, Any]:
    """Send as ordered: `port`, `events`, `each` (a request), `connections`, `seed`, and `rate` (requests a second)."""
    requests = [
        post(body, number) for number, body in enumerate(bodies(orders["events"], orders["each"], orders["seed"]))
    ]
    gc.collect()
    gc.freeze()
    gc.disable()
    sender = Sender("127.0.0.1", orders["port"], orders["connections"])
    await sender.open()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    try:
        rate = orders.get("rate")
        seconds = await (sender.steadily(requests, rate) if rate else sender.flood(requests))
    finally:
        sender.close()
    latencies = sorted(sender.latencies)
    return {
        "seconds": seconds,
        "requests": len(requests),
        "failed": {str(status): count for status, count in sender.statuses.items() if status != 202},
        "p50_ms": round(percentile(latencies, 0.5) * 1000, 3),
        "p99_ms": round(percentile(latencies, 0.99) * 1000, 3),
        "p999_ms": round(percentile(latencies, 0.999) * 1000, 3),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the sorted `values` do not exceed (nearest rank)."""
    rank = max(1, -int(-share * len(values) // 1))
    return values[rank - 1]


if __name__ == "__main__":
    import uvloop

    print(json.dumps(uvloop.run(run(json.loads(sys.argv[1])))), flush=True)
