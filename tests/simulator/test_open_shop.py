"""The shop that stays open: visitors who come now, and some who buy."""

from __future__ import annotations

import asyncio
import time
from random import Random

from aiohttp import web
from aiohttp.test_utils import TestServer

from streams.simulator.click_ids import DEFAULT_KEYS
from streams.simulator.open_shop import stay_open


def now() -> int:
    return time.time_ns() // 1_000_000


async def test_visitors_come_and_some_buy():
    """What they send has happened, names the shop, and an order is of somebody who came before."""
    sent: list[dict] = []
    taken: list[dict] = []
    bought = asyncio.Event()
    calls = 0

    async def events(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        sent.extend(stated := await request.json())
        if calls == 2:
            return web.Response(status=503)
        taken.extend(stated)
        if any(event["type"] == "conversion" for event in taken):
            bought.set()
        return web.json_response({"accepted": 1, "rejected": []}, status=202)

    app = web.Application()
    app.router.add_post("/events", events)
    started = now()
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        shop = asyncio.create_task(stay_open(url, DEFAULT_KEYS, Random(5), now=now, mean_pause=0.002))
        async with asyncio.timeout(30):
            await bought.wait()
        shop.cancel()
        await asyncio.wait({shop})
        assert shop.cancelled()
    assert {event["site"] for event in taken} == {"garden-shop"}
    assert all(started <= event["time"] <= now() for event in taken)
    order = next(event for event in taken if event["type"] == "conversion")
    visitors = {event["visitor_id"] for event in sent if event["type"] in {"landing", "click"}}
    assert order["visitor_id"] in visitors
    assert order["value"]


async def test_a_collector_that_is_away_ends_nothing():
    """The visitors' events are dropped, as browsers do."""
    shop = asyncio.create_task(stay_open("http://127.0.0.1:1", DEFAULT_KEYS, Random(1), now=now, mean_pause=0.001))
    await asyncio.wait({shop}, timeout=0.2)
    assert not shop.done()
    shop.cancel()
    await asyncio.wait({shop})
    assert shop.cancelled()
