"""A shop's pages and a collector on one port, for a browser: pages on 127.0.0.1, the collector as another site's.

The collector is the real one over a log in memory. `localhost` is the same server under a name that is another site to
the browser.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web
from prometheus_client import CollectorRegistry

from deploy.local.ports import HOST, free_port
from schemas.events import TOPIC_OF
from schemas.registry import CampaignEntry
from streams.collector.app import Collector
from streams.collector.campaigns import CampaignBook
from streams.collector.messages import Request
from streams.collector.metrics import Metrics
from streams.core.clicks import to_touch
from streams.core.events import accept
from streams.core.journeys import roles
from streams.core.registry import Registry
from tests.collector.conftest import KEYS, MemoryLog

SNIPPET = "<script>window.hw = window.hw || function () { (hw.q = hw.q || []).push(arguments) }</script>"
Event = dict[str, Any]


class Shop:
    """`async with Shop() as shop`: pages are set by `page`, what the collector took is in `events`.

    A path without a page of its own is the one of ``/``.
    """

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.port = free_port()
        self.home = f"http://{HOST}:{self.port}"
        self.collector = f"http://localhost:{self.port}"
        self.requests: list[tuple[str, str, str]] = []
        """Method, path and the browser's mode (`cors` or `no-cors`) of what the collector was asked, in order."""
        self.away = ""
        """`before` or `after`: the collector cuts the connection before it has taken what comes, or its answer."""
        self._news = asyncio.Event()
        self._pages: dict[str, tuple[str | None, dict[str, str]]] = {}
        book = CampaignBook(
            [CampaignEntry(campaign="spring", site="shop", destinations=[{"url": f"{self.home}/goal"}])], ready=True
        )
        self.page()
        self._app = Collector(self.log, book, Metrics(CollectorRegistry()), keys=KEYS)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await self.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def open(self) -> None:
        """Listen (again)."""
        self._site = web.TCPSite(self._runner, HOST, self.port)
        await self._site.start()

    def tag(self, attributes: str = "", *, site: str = "shop") -> str:
        """The tag that loads the browser script."""
        return f'<script async src="{self.collector}/hw.js" data-site="{site}" {attributes}></script>'

    def page(self, head: str | None = None, path: str = "/", **headers: str) -> str:
        """Put a page at `path`, by default one with the script's tag alone; returns its address."""
        self._pages[path] = (head, headers)
        return self.home + path

    @property
    def events(self) -> list[Event]:
        """What was accepted, in the order of arrival; an event that came twice is in it twice."""
        return [json.loads(record.value) for record in self.log.records if record.topic != "dead-letters"]

    def of(self, kind: str) -> list[Event]:
        """The accepted events of one type, without those that repeat an event id, by time."""
        found = {event["event_id"]: event for event in self.events if event["type"] == kind}
        return sorted(found.values(), key=lambda event: event["time"])

    async def until(self, holds: Callable[[], object], seconds: float = 15) -> None:
        """Wait until `holds` is true; it is asked whenever the collector has answered something."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if not path.startswith(("/events", "/pixel.gif", "/hw.js", "/c/")):
            head, headers = self._pages.get(path) or self._pages["/"]
            head = self.tag() if head is None else head
            text = f"<!doctype html><title>Shop</title><link rel=icon href=data:,>{head}<p>Shoes"
            return web.Response(text=text, content_type="text/html", headers=headers)

        async def read(_limit: int) -> bytes:
            return await request.read()

        self.requests.append((request.method, path, request.headers.get("sec-fetch-mode", "")))
        if self.away == "before":
            return self._cut(request)
        asked = Request(request.method, path, request.query_string, request.headers, HOST, "http", read)
        answer = await self._app.handle(asked)
        self._news.set()
        if self.away == "after":
            return self._cut(request)
        response = web.Response(status=answer.status, body=answer.body)
        for name, value in answer.headers:
            response.headers.add(name, value)
        return response

    def _cut(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


def content(event: Event) -> str:
    """The fingerprint by which the core tells a repeated event from another one of the same id."""
    return str(accept(json.dumps(event).encode(), event["received_at"], TOPIC_OF[event["type"]])["fp"])


def judged(events: list[Event]) -> list[str]:
    """What the core makes of one visitor's touches, in order: each one's channel, or why it is no candidate."""
    registry = Registry([])
    touches = []
    for event in events:
        touch = to_touch(accept(json.dumps(event).encode(), event["received_at"], "clicks"), registry)
        touches.append(touch | {"valid": True})
    found = roles(touches, events[0]["site"], registry)
    return [role or touch["channel"] for role, touch in zip(found, touches, strict=True)]
