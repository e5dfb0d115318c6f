"""The collector as a process, over a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner

from deploy.local.kafka import Node
from deploy.local.ports import HOST, free_port
from deploy.local.probe import until
from schemas.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.integration

COMMAND = (sys.executable, "-m", "streams.cli.main", "collector")
PARTITIONS = 4
CAMPAIGN = b'{"kind":"campaign","campaign":"spring","site":"shop","destinations":["https://shop.example/a"]}'


class Running(NamedTuple):
    """A collector's process, and a client of it."""

    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    port: int

    async def answers(self, path: str, status: int) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await self.client.get(path)).status_code == status
        return False


def touch(number: int = 0, **fields: Any) -> dict[str, Any]:
    now = time.time_ns() // 1_000_000
    stated = {"event_id": f"e{number}", "type": "click", "time": now, "site": "shop", "visitor_id": f"v{number}"}
    return stated | fields


@asynccontextmanager
async def running(kafka: str, tmp_path: Path, port: int | None = None) -> AsyncIterator[Running]:
    port = port or free_port()
    settings = {
        "KAFKA": kafka,
        "COLLECTOR_PORT": str(port),
        "DATA_DIR": str(tmp_path / "data"),
        "CLICK_ID_KEYS": "a:secret",
        "POSTBACK_TOKENS": "acme:acme-token",
        "API_KEYS": "shop:shop-key",
    }
    environment = os.environ | {f"HEADWATER_{name}": value for name, value in settings.items()}
    with (tmp_path / "collector.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*COMMAND, env=environment, stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=15) as client:
            yield Running(process, client, port)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()
                raise


async def create_topics(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        new = [
            NewTopic(topic.name, 1 if topic.single else PARTITIONS, 1, topic_configs=topic.config)
            for topic in TOPICS.values()
        ]
        await admin.create_topics(new)
    finally:
        await admin.close()


async def put(kafka: str, topic: str, key: bytes, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(topic, value, key)


async def contents(kafka: str, topic: str) -> list[Any]:
    """All records of `topic`."""
    options = {"auto_offset_reset": "earliest", "max_partition_fetch_bytes": 16_000_000}
    async with AIOKafkaConsumer(bootstrap_servers=kafka, **options) as consumer:
        await consumer.topics()
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        wanted = sum((await consumer.end_offsets(partitions)).values())
        records: list[Any] = []
        async with asyncio.timeout(10):
            while len(records) < wanted:
                for some in (await consumer.getmany(timeout_ms=200)).values():
                    records += some
        return records


async def tell_of_a_click(client: httpx.AsyncClient, kafka: str, click_id: str) -> None:
    """A postback needs nothing but the click id to find its visitor; a file's lines are taken each by itself."""
    told = await client.get("/postback", params={"token": "acme-token", "cid": click_id, "payout": "5"})
    assert told.json()["accepted"] == 1
    file = f"site,campaign,date,cost,time\nshop,spring,2026-09-20,1,{touch()['time']}\nshop,spring,?,1,1\n"
    told = await client.post("/import/costs", content=file, headers={"x-api-key": "shop-key"})
    assert (told.json()["accepted"], told.json()["rejected"][0]["line"]) == (1, 3)
    [conversion] = await contents(kafka, "conversions")
    [click] = [record for record in await contents(kafka, "clicks") if click_id.encode() in record.value]
    assert json.loads(conversion.value)["visitor_id"] == click.key.decode()
    [cost] = await contents(kafka, "costs")
    assert (cost.key, json.loads(cost.value)["campaign"]) == (b"spring", "spring")


async def test_from_request_to_kafka(empty_kafka: Node, tmp_path: Path) -> None:
    """What is acknowledged is in Kafka: in its topic, in its key's partition, with what is refused beside it."""
    kafka = empty_kafka.address
    await create_topics(kafka)
    await put(kafka, "campaigns", b"campaign/spring/shop/0", CAMPAIGN)
    async with running(kafka, tmp_path) as collector:
        client = collector.client
        assert await until(lambda: collector.answers("/readyz", 200), 60)

        arrays = [[touch(number) for number in range(start, start + 100)] for start in range(0, 1000, 100)]
        answers = await asyncio.gather(*(client.post("/events", json=array) for array in arrays))
        assert [answer.json() for answer in answers] == [{"accepted": 100, "rejected": []}] * 10
        answers = await asyncio.gather(*(client.post("/events", json=touch(number)) for number in range(1000, 1100)))
        assert {answer.status_code for answer in answers} == {202}
        assert (await client.post("/events", json=[{"type": "x"}, touch(1100)])).json()["accepted"] == 1
        assert (await client.post("/events", content=b"{")).status_code == 400

        records = await contents(kafka, "clicks")
        assert sorted(json.loads(record.value)["event_id"] for record in records) == sorted(
            f"e{number}" for number in range(1101)
        )
        partitioner, numbers = DefaultPartitioner(), list(range(PARTITIONS))
        assert all(record.partition == partitioner(record.key, numbers, numbers) for record in records)
        assert all(json.loads(record.value)["received_at"] == record.timestamp for record in records)
        refused = await contents(kafka, "dead-letters")
        assert {record.value for record in refused} == {b'{"type":"x"}', b"{"}
        assert all(dict(record.headers)["topic"] == b"http" for record in refused)

        answer = await client.get("/c/spring")
        assert answer.headers["location"].startswith("https://shop.example/a?hw_cid=hw1.")
        await tell_of_a_click(client, kafka, answer.headers["location"].partition("hw_cid=")[2])
        assert (await client.get("/c/later")).status_code == 404
        await put(kafka, "campaigns", b"campaign/later/shop/0", CAMPAIGN.replace(b"spring", b"later"))
        assert await until(lambda: collector.answers("/c/later", 302), 10)

        body = json.dumps(touch(1101)).encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield body[:10]
            yield body[10:]

        assert (await client.post("/events", content=chunks())).json()["accepted"] == 1
        assert (await client.post("/events", content=b"x" * 8_000_001)).status_code == 413
        largest = json.dumps([touch(number, pad="x" * 15_800) for number in range(501)]).encode()
        assert 7_900_000 < len(largest) <= 8_000_000
        assert (await client.post("/events", content=largest)).status_code == 413
        assert largest in {record.value for record in await contents(kafka, "dead-letters")}
        assert (await client.get("/healthz", headers={"x-long": "y" * 200_000})).status_code == 431
        assert "headwater_collector_requests_total" in (await client.get("/metrics")).text


async def test_kafka_comes_and_goes(tmp_path: Path) -> None:
    """The collector starts without Kafka and outlives its absence, and loses nothing it took meanwhile."""
    node = Node(tmp_path / "kafka", heap_mb=512)
    await node.prepare()
    async with running(node.address, tmp_path) as collector:
        client = collector.client
        assert await until(lambda: collector.answers("/healthz", 200), 20)
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.post("/events", json=touch())).status_code == 202
        async with node:
            await create_topics(node.address)
            assert await until(lambda: collector.answers("/readyz", 200), 20)
            accepted = {"e0"}
            for number in range(20):
                if (await client.post("/events", json=touch(number))).status_code == 202:
                    accepted.add(f"e{number}")
            assert len(accepted) == 20

            assert node.pid is not None
            os.kill(node.pid, signal.SIGSTOP)
            try:
                assert (await client.post("/events", json=touch(20))).status_code == 202
                accepted.add("e20")
                assert (await client.get("/pixel.gif?type=click&site=shop")).status_code == 200
                answer = await client.get("/readyz")
                assert (answer.status_code, answer.text[:22]) == (200, "ready: Kafka is away, ")
            finally:
                os.kill(node.pid, signal.SIGCONT)
            assert await until(lambda: collector.answers("/readyz", 200), 30)

            await node.stop(0)
            await node.start()

            async def all_there() -> bool:
                return (await client.get("/readyz")).text == "ready\n"

            assert await until(all_there, 40)
            for number in range(30, 40):
                if (await client.post("/events", json=touch(number))).status_code == 202:
                    accepted.add(f"e{number}")
            assert len(accepted) == 31
            kept = {json.loads(record.value)["event_id"] for record in await contents(node.address, "clicks")}
            assert accepted <= kept


async def test_stops_in_order(empty_kafka: Node, tmp_path: Path) -> None:
    """On SIGTERM a request in hand is answered once Kafka has its event; then the process ends, within five seconds."""
    await create_topics(empty_kafka.address)
    async with running(empty_kafka.address, tmp_path) as collector:
        assert await until(lambda: collector.answers("/readyz", 200), 20)
        assert empty_kafka.pid is not None
        os.kill(empty_kafka.pid, signal.SIGSTOP)
        try:
            request = asyncio.create_task(collector.client.post("/events", json=touch()))

            async def in_hand() -> bool:
                text = (await collector.client.get("/metrics")).text
                return bool(re.search(r'requests_total\{route="/metrics",status="200"\} [1-9]', text))

            assert await until(in_hand, 5)
            collector.process.terminate()
            began = time.monotonic()

            async def closed() -> bool:
                with socket.socket() as probe:
                    return probe.connect_ex((HOST, collector.port)) != 0

            assert await until(closed, 2)
        finally:
            os.kill(empty_kafka.pid, signal.SIGCONT)
        assert (await request).status_code == 202
        assert await asyncio.wait_for(collector.process.wait(), 5) == 0
        assert time.monotonic() - began < 5
        assert len(await contents(empty_kafka.address, "clicks")) == 1


async def test_port_in_use(tmp_path: Path) -> None:
    """One line that names the address, and a failure."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with running(f"{HOST}:1", tmp_path, port) as collector:
            assert await asyncio.wait_for(collector.process.wait(), 20) == 1
    lines = (tmp_path / "collector.log").read_text().splitlines()
    assert lines == [f"headwater: the collector can't listen on {HOST}:{port}: Address already in use"]
