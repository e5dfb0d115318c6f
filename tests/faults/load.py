"""Load: visitors, orders, costs and what is said of them later, sent until acknowledged; and what was acknowledged.

Rule: a crowd's events (`tests.faults.crowds`) come over several rounds, repeats of earlier ones among them, by every
route of the collector (`tests.faults.routes`); some go straight to Kafka, some of these into a wrong partition, as
another producer's would. Beside them ad clicks are led on and told of by a network (`tests.faults.walks`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from functools import partial

import aiohttp
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.events import TOPIC_OF
from streams.core.ids import partition_of
from tests.faults.clients import opened
from tests.faults.crowds import ENTRIES, WALKED, Group, crowd_events
from tests.faults.routes import (
    PATIENCE,
    Message,
    by_events,
    by_file,
    by_pixel,
    by_postback,
    fits_postback,
    opened_session,
    send,
)
from tests.faults.walks import Walk
from tests.reference.cluster import key_of
from tests.reference.events import identity

LIVES = (1, 2, 2, 3, 4)
"""Rounds over which a crowd's events come."""
CONNECTIONS = 4
LOST = 0.1
"""So many answers do not reach the sender, who sends all of it again."""
One = tuple[Group, dict]


class Load:
    """Sends crowds round by round; `groups` remembers what was acknowledged."""

    def __init__(self, seed: int, url: str, kafka: str, partitions: int, *, rounds_an_era: int = 8) -> None:
        self.groups: list[Group] = []
        self.garbage: set[bytes] = set()
        self.walks: list[Walk] = []
        self.attempts: Counter[tuple] = Counter()
        """How often an event was sent to the collector, answered or not."""
        self.ways: Counter[str] = Counter()
        """Events acknowledged, by the route they came by."""
        self._chance = random.Random(seed)
        self._url = url
        self._kafka = kafka
        self._partitions = partitions
        self._eras = rounds_an_era
        self._round = 0
        self._requests = 0
        self._numbers = iter(range(seed * 1_000_000, (seed + 1) * 1_000_000))

    async def send_round(self, crowds: int) -> int:
        """Begin `crowds` new crowds and send this round's part of all; returns when all of it is acknowledged."""
        now = time.time_ns() // 1_000_000
        for _ in range(crowds):
            number = next(self._numbers)
            events = crowd_events(number, self._round // self._eras, now)
            life = self._chance.choice(LIVES)
            sites = frozenset(event["site"] for event in events)
            self.groups.append(Group(number, sites, now, [events[start::life] for start in range(life)]))
        walk = self._walk(now)
        self._round += 1
        events = [(group, event) for group in self.groups if group.waiting for event in group.waiting.pop(0)]
        self._chance.shuffle(events)
        straight, posted = [], []
        for one in events:
            (straight if self._chance.random() < 0.12 else posted).append(one)
        garbage = [b"\xff\x00garbage %d %d" % (self._round, place) for place in range(2)]
        await asyncio.gather(self._post_all(posted, walk), self._produce_all(straight, garbage))
        self.ways.update({"/c/": len(walk.clicks), "/postback": int(walk.postback)})
        return len(events)

    @property
    def acknowledged(self) -> int:
        """Events acknowledged in all."""
        return self.ways.total()

    def _walk(self, now: int) -> Walk:
        """One more visitor, who is led on to this round's site."""
        number = next(self._numbers)
        site = WALKED[self._round % len(WALKED)]
        group = Group(number, frozenset({site}), now, [])
        self.groups.append(group)
        self.walks.append(Walk(group, f"walker~{number}", site))
        return self.walks[-1]

    async def _post_all(self, events: list[One], walk: Walk) -> None:
        async with opened_session() as session:
            left = iter([partial(self._post, session, *one) for one in self._messages(events)])

            async def connection() -> None:
                for post in left:
                    await post()

            await asyncio.gather(
                walk.go(session, self._url, lost=self._chance.random() < LOST),
                *(connection() for _ in range(CONNECTIONS)),
            )

    def _messages(self, events: list[One]) -> list[tuple[list[Group], Message]]:
        """Requests that tell of `events`, by all routes, and whose events they are."""
        waiting: dict[str, list[One]] = {"events": [], "costs": [], "conversions": []}
        found = []
        for group, event in events:
            route = self._route(event)
            if route == "postback":
                found.append(([group], by_postback(event, self._chance, group.now)))
            elif route == "pixel":
                found.append(([group], by_pixel(event)))
            else:
                waiting[route].append((group, event))
        for route, ones in waiting.items():
            while ones:
                size = self._chance.choice((1, 2, 5, 20))
                groups, told = zip(*ones[:size], strict=True)
                del ones[:size]
                self._requests += 1
                name = f"file-{self._requests}"
                message = by_events(list(told)) if route == "events" else by_file(list(told), name, self._chance)
                found.append((list(groups), message))
        self._chance.shuffle(found)
        return found

    def _route(self, event: dict) -> str:
        """By which route an event comes, of those that take it."""
        luck = self._chance.random()
        if event["type"] == "cost":
            return "costs" if luck < 0.8 else "events"
        if event["type"] in {"conversion", "adjustment"} and luck < 0.25:
            return "conversions"
        if fits_postback(event) and luck < 0.7:
            return "postback"
        return "pixel" if luck > 0.85 else "events"

    async def _post(self, session: aiohttp.ClientSession, groups: list[Group], message: Message) -> None:
        lost = self._chance.random() < LOST
        await send(session, self._url, message, lambda: self.attempts.update(map(identity, message.events)), lost=lost)
        for group, event in zip(groups, message.events, strict=True):
            group.told.append(event)
        self.ways[message.path.partition("?")[0]] += len(groups)

    async def register(self) -> None:
        """Write the registry's entries, and wait until the collector leads clicks on."""
        records = [("campaigns", e.key.encode(), e.model_dump_json().encode(), None, None) for e in ENTRIES]
        await self._produce(records)
        deadline = time.monotonic() + PATIENCE
        async with opened_session() as session:
            while True:
                # The first entry, which is written last.
                async with session.head(f"{self._url}/c/walk?site={WALKED[0]}", allow_redirects=False) as answer:
                    if answer.status == 302:
                        return
                assert time.monotonic() < deadline, f"the campaigns are not there after {PATIENCE} s"
                await asyncio.sleep(0.1)

    async def _produce_all(self, events: list[One], garbage: list[bytes]) -> None:
        """Events and garbage straight to Kafka, a third of the events into a wrong partition."""
        records = []
        for group, event in events:
            key = key_of(event)
            topic = TOPIC_OF[event["type"]]
            records.append((topic, key.encode(), orjson.dumps(event), self._place(key), (group, event)))
        records += [("clicks", b"garbage", value, self._chance.randrange(self._partitions), None) for value in garbage]
        await self._produce(records)

    async def _produce(self, records: list[tuple]) -> None:
        deadline = time.monotonic() + PATIENCE
        while records:
            with suppress(KafkaError, OSError):
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._kafka, acks="all", request_timeout_ms=5000, retry_backoff_ms=200
                )
                async with opened(producer):
                    while records:
                        topic, key, value, place, one = records[-1]
                        await producer.send_and_wait(topic, value, key=key, partition=place)
                        records.pop()
                        if topic == "campaigns":
                            continue
                        if one is None:
                            self.garbage.add(value)
                        else:
                            one[0].told.append(one[1])
                            self.ways["Kafka"] += 1
            assert time.monotonic() < deadline, f"Kafka acknowledged nothing for {PATIENCE} s"
            await asyncio.sleep(0.2 if records else 0)

    def _place(self, key: str) -> int:
        return (partition_of(key, self._partitions) + (self._chance.random() < 0.3)) % self._partitions
