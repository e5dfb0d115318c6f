"""The collector's disk, over a real broker that dies: every acknowledged event is in Kafka in the end."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from deploy.local.kafka import Node
from deploy.local.probe import until
from tests.integration.test_collector import Running, contents, create_topics, running, touch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.faults]


class Senders:
    """Sends single events and arrays, and remembers which were acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.answers: set[int] = set()
        self._number = 0

    async def send(self, collector: Running, rounds: int | None = None) -> None:
        """So many times, or until the collector is gone."""
        while rounds is None or (rounds := rounds - 1) >= 0:
            count = 1 if self._number % 3 else 20
            numbers = range(self._number, self._number + count)
            self._number += count
            events = [touch(number, visitor_id=f"v{number % 50}") for number in numbers]
            try:
                answer = await collector.client.post("/events", json=events if count > 1 else events[0])
            except httpx.TransportError:
                return
            self.answers.add(answer.status_code)
            if answer.status_code == 202:
                self.acknowledged |= {event["event_id"] for event in events}

    async def have(self, more: int) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acknowledged) + more

        async def enough() -> bool:
            return len(self.acknowledged) >= wanted

        assert await until(enough, 60)


async def figure(collector: Running, name: str) -> float:
    text = (await collector.client.get("/metrics")).text
    found = re.search(rf"^headwater_collector_{name} (.+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def test_broker_and_collector_are_killed(tmp_path: Path) -> None:
    """The disk acknowledges events while Kafka is away; `kill -9` loses none, and the next process hands all on."""
    senders = Senders()
    async with Node(tmp_path / "kafka", heap_mb=512) as node:
        await create_topics(node.address)
        async with running(node.address, tmp_path) as collector:
            assert await until(lambda: collector.answers("/readyz", 200), 20)
            sending = [asyncio.create_task(senders.send(collector)) for _ in range(4)]
            await senders.have(200)
            await node.stop(0)
            await senders.have(500)

            async def says_so() -> bool:
                answer = await collector.client.get("/readyz")
                return answer.status_code == 200 and "Kafka is away" in answer.text

            assert await until(says_so, 20)
            assert await figure(collector, "spooled_events") > 0
            assert await figure(collector, "spool_bytes") > 0
            collector.process.kill()
            await collector.process.wait()
            await asyncio.gather(*sending)
        async with running(node.address, tmp_path) as collector:
            assert await until(lambda: collector.answers("/readyz", 200), 20)
            await senders.send(collector, 20)
            waiting = await figure(collector, "spooled_events")
            assert waiting > 200
            await node.start()

            async def delivered() -> bool:
                return await figure(collector, "spooled_events") == 0

            assert await until(delivered, 60)
            await senders.send(collector, 5)
        records = await contents(node.address, "clicks")
    assert senders.answers == {202}
    assert senders.acknowledged <= {json.loads(record.value)["event_id"] for record in records}
