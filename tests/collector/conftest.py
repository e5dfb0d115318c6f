"""The collector's handlers behind httpx, over a log that keeps records in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from schemas.errors import Unavailable
from schemas.registry import CampaignEntry
from streams.collector.app import Collector
from streams.collector.campaigns import CampaignBook
from streams.collector.messages import BodyTooLarge, Request
from streams.collector.metrics import Metrics
from streams.collector.networks import Networks
from streams.collector.rules import Rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from streams.collector.eventlog import Record

NOW = 1_790_000_000_000
KEYS = [("new", b"new secret"), ("old", b"old secret")]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class MemoryLog:
    """An `EventLog` that keeps records in a list, or refuses them while `down`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.down = False

    @property
    def ready(self) -> bool:
        return not self.down

    @property
    def state(self) -> str:
        return "Kafka is not reachable" if self.down else ""

    async def append(self, records: Sequence[Record]) -> None:
        if self.down:
            raise Unavailable("Kafka is not reachable")
        self.records += records

    def of(self, topic: str) -> list[Record]:
        """What was kept in `topic`."""
        return [record for record in self.records if record.topic == topic]


async def NO_BODY(_limit: int) -> bytes:  # noqa: N802 - stands for a body
    """A request without a body."""
    return b""


class Headers:
    """httpx's headers, as granian has them."""

    def __init__(self, headers: httpx.Headers) -> None:
        self._headers = headers
        self.get = headers.get
        self.get_all = headers.get_list

    def __contains__(self, key: str) -> bool:
        return key in self._headers


class HandlerTransport(httpx.AsyncBaseTransport):
    """Takes httpx's requests to a `Collector`, from `peer`."""

    def __init__(self, collector: Collector, peer: str = "203.0.113.7") -> None:
        self._collector = collector
        self._peer = peer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async def read(limit: int) -> bytes:
            body = await request.aread()
            if len(body) > limit:
                raise BodyTooLarge(body[: limit + 1])
            return body

        async def stream() -> AsyncIterator[bytes]:
            async for piece in request.stream:
                yield piece

        url = request.url
        answer = await self._collector.handle(
            Request(
                request.method,
                url.path,
                url.query.decode(),
                Headers(request.headers),
                self._peer,
                url.scheme,
                read,
                stream,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)


def browser(collector: Collector, peer: str = "203.0.113.7", agent: str = BROWSER) -> httpx.AsyncClient:
    """A client of `collector` at the address `peer`."""
    transport = HandlerTransport(collector, peer)
    return httpx.AsyncClient(transport=transport, base_url="http://t.example", headers={"user-agent": agent})


@pytest.fixture
def events() -> MemoryLog:
    """Where the collector keeps events."""
    return MemoryLog()


@pytest.fixture
def book() -> CampaignBook:
    """Two campaigns: `spring` with two destinations, `paused` with none."""
    return CampaignBook(
        [
            CampaignEntry(
                campaign="spring",
                site="shop",
                source="google",
                partner="acme",
                destinations=[
                    {"url": "https://shop.example/a?x=1#top", "weight": 3, "variant": "a"},
                    {"url": "https://shop.example/b", "weight": 1, "variant": "b"},
                ],
            ),
            CampaignEntry(campaign="paused", site="shop"),
        ],
        ready=True,
    )


@pytest.fixture
def collector(events: MemoryLog, book: CampaignBook) -> Collector:
    """A collector at NOW, behind a proxy in 10.0.0.0/8."""
    rules = Rules(proxies=Networks("10.0.0.0/8", "trusted_proxies"), keep_ip=str)
    return Collector(events, book, Metrics(CollectorRegistry()), keys=KEYS, rules=rules, clock=lambda: NOW)


@pytest_asyncio.fixture
async def client(collector: Collector) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at 203.0.113.7."""
    async with browser(collector) as client:
        yield client


@pytest_asyncio.fixture
async def proxied(collector: Collector) -> AsyncIterator[httpx.AsyncClient]:
    """A trusted proxy at 10.1.2.3."""
    async with browser(collector, "10.1.2.3") as client:
        yield client
