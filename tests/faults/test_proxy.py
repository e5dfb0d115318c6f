"""The proxies do to a request what they are told to, and to no other."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from deploy.local.ports import HOST, free_port
from tests.faults.proxy import END_TXN, PRODUCE, Door, Proxy


def _request(key: int, correlation: int) -> bytes:
    body = struct.pack(">hhi", key, 0, correlation) + b"x" * 40
    return struct.pack(">i", len(body)) + body


class Broker:
    """Answers every request with its correlation id, and remembers what came, whole or torn."""

    def __init__(self) -> None:
        self.port = free_port()
        self.whole: list[int] = []
        self.torn = 0

    async def serve(self, reader, writer) -> None:
        try:
            while head := await reader.read(4):
                body = await reader.readexactly(struct.unpack(">i", head)[0])
                correlation = body[4:8]
                self.whole.append(struct.unpack(">i", correlation)[0])
                writer.write(struct.pack(">i", 4) + correlation)
                await writer.drain()
        except asyncio.IncompleteReadError:
            self.torn += 1
        writer.close()


@asynccontextmanager
async def opened():
    """A broker and the proxy before it."""
    broker = Broker()
    async with await asyncio.start_server(broker.serve, HOST, broker.port), Proxy(lambda: broker.port) as proxy:
        yield broker, proxy


async def _ask(proxy: Proxy, *requests: bytes, seconds: float = 10.0) -> list[int]:
    """Send requests on a connection of their own; the correlation ids that are answered until it ends."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    answered = []
    try:
        async with asyncio.timeout(seconds):
            for request in requests:
                writer.write(request)
                answered.append(struct.unpack(">ii", await reader.readexactly(8))[1])
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
    return answered


@pytest.mark.parametrize(("how", "arrives", "torn"), [("before", False, 0), ("half", False, 1), ("after", True, 0)])
async def test_one_request_is_cut(how, arrives, torn):
    """The next request with the key fails as said, once; others pass, before and after."""
    async with opened() as (broker, proxy):
        cut = proxy.arm({END_TXN}, how)
        assert await _ask(proxy, _request(PRODUCE, 1), _request(END_TXN, 2), _request(PRODUCE, 3)) == [1]
        assert cut.done.is_set()
        assert await _ask(proxy, _request(END_TXN, 4)) == [4]
        assert broker.whole == ([1, 2, 4] if arrives else [1, 4])
        assert broker.torn == torn


async def test_silence_and_a_cut_that_lasts():
    """What is never answered keeps its connection; what lasts meets every further request until it is taken back."""
    async with opened() as (broker, proxy):
        proxy.arm({END_TXN}, "silence")
        with pytest.raises(TimeoutError):
            await _ask(proxy, _request(END_TXN, 1), seconds=0.3)
        assert broker.whole == [1]
        lasting = proxy.arm({END_TXN}, "before", lasting=60)
        assert [await _ask(proxy, _request(END_TXN, number)) for number in (2, 3)] == [[], []]
        proxy.disarm(lasting)
        assert await _ask(proxy, _request(END_TXN, 4)) == [4]


async def test_what_is_held_arrives_later():
    """And until then nothing behind it on the connection."""
    async with opened() as (broker, proxy):
        cut = proxy.arm({PRODUCE}, "hold")
        asked = asyncio.create_task(_ask(proxy, _request(PRODUCE, 1), _request(END_TXN, 2)))
        await cut.done.wait()
        assert broker.whole == []
        cut.go.set()
        assert await asked == [1, 2]


async def test_the_door():
    """Open, it passes all on; it refuses inserts alone; or lets them through and does not say so."""
    inserted = []

    async def handle(request: web.Request) -> web.Response:
        inserted.append(await request.text())
        return web.Response(text="done")

    app = web.Application()
    app.router.add_post("/", handle)
    runner, port = web.AppRunner(app), free_port()
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    insert = {"query": "INSERT INTO t FORMAT Native"}
    try:
        async with Door(lambda: port) as door, aiohttp.ClientSession(f"http://{HOST}:{door.port}") as session:

            async def post(data: str, **parameters: str) -> int:
                async with session.post("/", params=parameters, data=data) as answer:
                    return answer.status

            assert await post("1", **insert) == 200
            door.state = "refuse"
            assert await post("2", **insert) == 500
            assert await post("SELECT 1") == 200
            door.state = "swallow"
            with pytest.raises(aiohttp.ClientError):
                await post("3", **insert)
            assert inserted == ["1", "SELECT 1", "3"]
            assert door.turned_away == 2
    finally:
        await runner.cleanup()
