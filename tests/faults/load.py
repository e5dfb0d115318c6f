"""Load: visitors, their orders and what is said of them later, sent until acknowledged; and what was acknowledged.

Rule: every event belongs to a crowd, whose visitors, orders and ids are its own, so what a crowd comes to is worked out
from its own events alone. A crowd's events come over several rounds, repeats of earlier ones among them. Most are sent
to the collector; some go straight to Kafka, some of these into a wrong partition, as another producer's would.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.events import TOPIC_OF
from streams.core.ids import mint_click_id, partition_of
from streams.core.registry import Registry
from tests.faults.clients import opened
from tests.reference.cluster import key_of
from tests.reference.crowds import STEPS, Crowd
from tests.reference.events import CLICK_IDS, DAY, HOUR, KEYS, identity
from tests.reference.model import Result, reference

SIZE = 40
"""Events of a crowd, repeats not counted."""
LIVES = (1, 2, 2, 3, 4)
"""Rounds over which a crowd's events come."""
NAMES = ("visitor_id", "event_id", "order_id", "conversion_event_id", "touch_event_id")
OWNERS = (("ann", "spring"), ("bob", "spring"), ("ann", "unheard-of"))
"""Whose the click ids of `tests.reference.events` are."""
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
CONNECTIONS = 4
PATIENCE = 120.0


class NearCrowd(Crowd):
    """A crowd of the last days, as the collector takes it: it knows no receipt and no sender's clock."""

    def __init__(self, seed: int, size: int, now: int) -> None:
        self.now = now
        super().__init__(seed, size)

    def _event(self, kind, latest):
        chance = self.chance
        time = self.now - 11 * HOUR - chance.choice([0, 0, 0, DAY, DAY + 1, 2 * DAY, 5 * DAY])
        time += chance.choice(STEPS) + chance.choice([0, chance.choice(STEPS)])
        if chance.random() < 0.03:
            time = chance.choice([self.now + DAY, self.now - 400 * DAY])
        prefix = chance.choice(["a", "Z", "é", "\U0001d4b3"])
        return {
            "type": kind,
            "event_id": f"{prefix}{chance.randrange(self.ids)}",
            "site": chance.choice(("shop.example", "shop.example", "plain.example")),
            "time": time,
        }

    def _cost(self):
        return self._touch()

    def _registry(self):
        return []


def crowd_events(number: int, era: int, now: int) -> list[dict]:
    """A crowd's events, repeats among them; `era` names its sites."""
    found = []
    swaps = [(b"shop.example", b"shop%d.example" % era), (b"plain.example", b"plain%d.example" % era)]
    for place, (old, (visitor, campaign)) in enumerate(zip(CLICK_IDS, OWNERS, strict=True)):
        swaps.append((old.encode(), mint_click_id(f"{visitor}~{number}", campaign, bytes([place]), KEYS).encode()))
    for event in NearCrowd(number, SIZE, now).events:
        if event.get("consent") == "denied" and event["type"] != "consent":
            # The collector would take the visitor from it.
            event["consent"] = "unknown"
        event |= {name: f"{event[name]}~{number}" for name in NAMES if name in event}
        event.pop("user_agent", None)
        raw = orjson.dumps(event)
        for old, new in swaps:
            raw = raw.replace(old, new)
        found.append(orjson.loads(raw))
    return found


@dataclass
class Group:
    """A crowd on its way: what is still to be sent, by round, and what was acknowledged."""

    number: int
    sites: frozenset[str]
    now: int
    waiting: list[list[dict]]
    told: list[dict] = field(default_factory=list)


class Load:
    """Sends crowds round by round; `groups` remembers what was acknowledged."""

    def __init__(self, seed: int, url: str, kafka: str, partitions: int, *, rounds_an_era: int = 8) -> None:
        self.groups: list[Group] = []
        self.garbage: set[bytes] = set()
        self.attempts: Counter[tuple] = Counter()
        """How often an event was sent to the collector, answered or not."""
        self.acknowledged = 0
        self._chance = random.Random(seed)
        self._url = url
        self._kafka = kafka
        self._partitions = partitions
        self._eras = rounds_an_era
        self._round = 0
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
        self._round += 1
        events = [(group, event) for group in self.groups if group.waiting for event in group.waiting.pop(0)]
        self._chance.shuffle(events)
        straight, posted = [], []
        for one in events:
            (straight if self._chance.random() < 0.12 else posted).append(one)
        garbage = [b"\xff\x00garbage %d %d" % (self._round, place) for place in range(2)]
        await asyncio.gather(self._post_all(posted), self._produce_all(straight, garbage))
        self.acknowledged += len(events)
        return len(events)

    async def _post_all(self, events: list[tuple[Group, dict]]) -> None:
        batches = []
        while events:
            size = self._chance.choice((1, 2, 5, 20))
            batches.append(events[:size])
            events = events[size:]
        left = iter(batches)
        timeout = aiohttp.ClientTimeout(total=15)
        async with aiohttp.ClientSession(self._url, timeout=timeout, headers={"user-agent": AGENT}) as session:

            async def connection() -> None:
                for batch in left:
                    await self._post(session, batch)

            await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))

    async def _post(self, session: aiohttp.ClientSession, batch: list[tuple[Group, dict]]) -> None:
        body = orjson.dumps([event for _, event in batch])
        deadline = time.monotonic() + PATIENCE
        while True:
            for _, event in batch:
                self.attempts[identity(event)] += 1
            problem = "no answer"
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with session.post("/events", data=body, headers={"content-type": "application/json"}) as answer:
                    text = await answer.read()
                    problem = f"{answer.status} {text[:200]!r}"
                    if answer.status == 202:
                        break
                    assert answer.status in {429, 500, 502, 503, 504}, problem
            assert time.monotonic() < deadline, f"the collector acknowledged nothing for {PATIENCE} s: {problem}"
            await asyncio.sleep(0.2)
        for group, event in batch:
            group.told.append(event)

    async def _produce_all(self, events: list[tuple[Group, dict]], garbage: list[bytes]) -> None:
        """Events and garbage straight to Kafka, a third of the events into a wrong partition."""
        records = []
        for group, event in events:
            key = key_of(event)
            topic = TOPIC_OF[event["type"]]
            records.append((topic, key.encode(), orjson.dumps(event), self._place(key), (group, event)))
        records += [("clicks", b"garbage", value, self._chance.randrange(self._partitions), None) for value in garbage]
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
                        if one is None:
                            self.garbage.add(value)
                        else:
                            one[0].told.append(one[1])
            assert time.monotonic() < deadline, f"Kafka acknowledged nothing for {PATIENCE} s"
            await asyncio.sleep(0.2 if records else 0)

    def _place(self, key: str) -> int:
        return (partition_of(key, self._partitions) + (self._chance.random() < 0.3)) % self._partitions


def undisturbed(group: Group, lost: Iterable[tuple]) -> tuple[Result, set[tuple]]:
    """What the reference model makes of a group's acknowledged events, less those whose identity is in `lost`.

    Also the identities of what it refuses: two sites may use one event id.
    """
    gone = set(lost)
    events = [event | {"received_at": group.now} for event in group.told if identity(event) not in gone]
    result = reference(events, Registry(()))
    ids = {event_id for event_id, _ in result.refused}
    refused = {
        identity(event) for event in events if event["event_id"] in ids and reference([event], Registry(())).refused
    }
    return result, refused
