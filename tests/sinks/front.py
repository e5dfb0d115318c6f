"""A door before the engine that can refuse, wait, or lose an answer: what a network and a server's settings can do.

Rule: what reaches the engine is what was sent, and `refuse`, `lose` say of each statement, by its text, what becomes of
it; otherwise the answer is the engine's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import aiohttp
from aiohttp import web

READ_ONLY = "Code: 164. DB::Exception: sink: Cannot execute query in readonly mode. (READONLY)"


class Front:
    """``async with Front(engine.port) as front``: it listens at `front.port`; `lost` and `refused` are counted."""

    def __init__(self, engine_port: int) -> None:
        self._engine = f"http://127.0.0.1:{engine_port}"
        self.port = 0
        self.refuse: Callable[[str], bool] = lambda _: False
        self.lose: Callable[[str], bool] = lambda _: False
        self.lost = self.refused = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        statement = request.query.get("query") or body.decode("utf-8", "replace")
        if self.refuse(statement):
            self.refused += 1
            return web.Response(status=500, text=READ_ONLY)
        url = f"{self._engine}{request.rel_url}"
        async with self._session.request(request.method, url, data=body) as response:
            answer = await response.read()
        if self.lose(statement):
            # It went through, and nobody learns of it.
            self.lost += 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=response.status, body=answer)
