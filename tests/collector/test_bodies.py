"""Bodies: limits of size and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from schemas.errors import Unavailable
from streams.collector import bodies as module
from streams.collector.bodies import Bodies
from streams.collector.messages import BodyTooLarge, BodyTooSlow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Client:
    """A client's side of granian's protocol: sends `chunks`, then nothing for ever (`hangs`) or goes away."""

    def __init__(self, *chunks: bytes, hangs: bool = False, goes: bool = False) -> None:
        self._chunks = chunks
        self._hangs = hangs
        self._goes = goes
        self.taken = 0

    async def __call__(self) -> bytes:
        await self._end()
        return b"".join(self._chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.taken += len(chunk)
            yield chunk
        await self._end()

    async def _end(self) -> None:
        if self._goes:
            raise RuntimeError("the connection is closed")
        if self._hangs:
            await asyncio.Event().wait()


def length(number: int) -> dict[str, Any]:
    return {"content-length": str(number)}


@pytest.mark.parametrize("headers", [length(6), length(100_000), {}])
async def test_whole_body(headers: dict[str, Any]) -> None:
    """Small ones in one piece, large ones and those of unknown length piece by piece."""
    assert await Bodies().read(Client(b"abc", b"def"), headers, 1000) == b"abcdef"


async def test_broken_off() -> None:
    """An empty piece before the last one says that the connection failed: nothing of it is taken for a whole."""
    assert await Bodies().read(Client(b"abc", b""), {}, 1000) == b"abc"
    assert [piece async for piece in Bodies().stream(Client(b"abc", b"d", b""))] == [b"abc", b"d"]
    with pytest.raises(BodyTooSlow):
        await Bodies().read(Client(b"abc", b"", b""), {}, 1000)
    found = []
    with pytest.raises(BodyTooSlow):
        found = [piece async for piece in Bodies().stream(Client(b"abc", b"", b""))]
    assert found == []


async def test_stated_length_of_a_body_in_chunks() -> None:
    """Is not believed: the limit holds for what comes."""
    headers = length(5) | {"transfer-encoding": "chunked"}
    with pytest.raises(BodyTooLarge):
        await Bodies().read(Client(b"x" * 2000), headers, 1000)


async def test_too_large() -> None:
    """Its start is kept, the rest is read and dropped so that the client sees the answer."""
    client = Client(*[b"x" * 50_000] * 8)
    with pytest.raises(BodyTooLarge) as caught:
        await Bodies().read(client, {}, 200_000)
    assert len(caught.value.start) == 65_536
    assert client.taken == 400_000


async def test_endless_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """At some point enough is enough."""
    monkeypatch.setattr(module, "MAX_DROPPED_BYTES", 100_000)
    client = Client(*[b"x" * 50_000] * 100)
    with pytest.raises(BodyTooLarge):
        await Bodies().read(client, {}, 10)
    assert client.taken == 150_000


async def test_too_many_large_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: what does not fit is asked to come again, and the next one finds room."""
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 100_000)
    bodies = Bodies()
    with pytest.raises(Unavailable):
        await bodies.read(Client(*[b"x" * 50_000] * 3), {}, 1_000_000)
    assert len(await bodies.read(Client(b"x" * 90_000), {}, 1_000_000)) == 90_000


@pytest.mark.parametrize("headers", [length(10), {}])
async def test_slow_client_is_cut(headers: dict[str, Any]) -> None:
    """A body that does not come is given up; the request's task goes on to answer."""
    bodies = Bodies(limit_s=0.01)
    cutting = asyncio.create_task(bodies.cut_slow())
    try:
        with pytest.raises(BodyTooSlow):
            await asyncio.wait_for(bodies.read(Client(b"a", hangs=True), headers, 100), 5)
    finally:
        cutting.cancel()


async def test_cancelled_read_stays_cancelled() -> None:
    """Only our own cut is turned into an answer."""
    task = asyncio.create_task(Bodies().read(Client(hangs=True), {}, 100))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("headers", [length(10), {}])
async def test_client_goes_away(headers: dict[str, Any]) -> None:
    """No failure of ours."""
    with pytest.raises(BodyTooSlow):
        await Bodies().read(Client(goes=True), headers, 100)
