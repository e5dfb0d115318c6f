"""Probes say yes or no, and never raise for a service that is not there."""

from __future__ import annotations

import asyncio
import time

import pytest

from deploy.local import probe
from deploy.local.ports import HOST, free_port
from deploy.local.probe import http_ok, kafka_answers, until


async def answering(answer: bytes) -> tuple[asyncio.Server, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"HTTP/1.1 2", False),
        (b"", False),
    ],
)
async def test_only_status_200_is_ready(answer: bytes, ok: bool) -> None:
    server, port = await answering(answer)
    async with server:
        assert await http_ok(HOST, port, "/readyz") is ok


async def test_nobody_there_is_not_ready() -> None:
    assert not await http_ok(HOST, free_port(), "/readyz")
    assert not await kafka_answers(HOST, free_port())


async def test_a_server_that_hangs_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that takes the connection and says nothing is asked again, not waited for."""
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.05)
    ended = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(hang, HOST, 0) as server:
        assert not await http_ok(HOST, server.sockets[0].getsockname()[1], "/readyz")
        ended.set()


async def test_another_protocol_is_no_kafka() -> None:
    server, port = await answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    async with server:
        assert not await kafka_answers(HOST, port)


async def test_until_gives_up_at_its_deadline() -> None:
    async def never() -> bool:
        return False

    begun = time.monotonic()
    assert not await until(never, 0.1)
    assert time.monotonic() - begun < 5
