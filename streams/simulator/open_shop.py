"""The shop stays open: visitors who come now, one every few seconds, some of whom buy.

Rule: nothing is compared with a truth here; it is for people who look at the live page. What a collector does not take
is dropped, as a browser that is closed would drop it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from streams.simulator.journeys import Visitor, pick_way
from streams.simulator.orders import Order

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from streams.simulator.journeys import Event

MEAN_PAUSE_S: Final = 10.0
"""Between two visitors: livelier than the simulated week, and not so much that its days vanish beside it."""
BUYERS: Final = 0.12
RETURNERS: Final = 0.4
"""Of the buyers: those who come by a second way before they buy."""
_TIMEOUT_S: Final = 5.0


async def stay_open(
    url: str, keys: str, rng: Random, *, now: Callable[[], int], mean_pause: float = MEAN_PAUSE_S
) -> None:
    """Send visitors to the collector at `url` until cancelled; `keys` sign click ids, `now` is the clock in ms."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(url, timeout=timeout) as session, asyncio.TaskGroup() as group:
        while True:
            group.create_task(_visit(session, keys, rng, now, mean_pause))
            await asyncio.sleep(rng.expovariate(1 / mean_pause))


async def _visit(
    session: aiohttp.ClientSession, keys: str, rng: Random, now: Callable[[], int], mean_pause: float
) -> None:
    visitor = Visitor(rng, f"v{rng.getrandbits(64):016x}", now(), keys)
    visitor.enter(now(), pick_way(rng))
    await _send(session, visitor.events, now())
    if rng.random() >= BUYERS:
        return
    if rng.random() < RETURNERS:
        await asyncio.sleep(rng.uniform(1, 5) * mean_pause)
        before = len(visitor.events)
        visitor.enter(now(), pick_way(rng))
        await _send(session, visitor.events[before:], now())
    await asyncio.sleep(rng.uniform(1, 3) * mean_pause)
    before = len(visitor.events)
    order = Order(visitor, now())
    order.pixel(order.time, order.cents)
    await _send(session, visitor.events[before:], now())


async def _send(session: aiohttp.ClientSession, events: list[Event], now: int) -> None:
    """Send what has happened; an arrival that follows its click in a second is sent with it, as of now."""
    happened = [event | {"time": min(event["time"], now)} for event in events]
    try:
        async with session.post("/events", json=happened) as answer:
            await answer.read()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return
