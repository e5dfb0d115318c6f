"""Real servers for tests: a Kafka node and a ClickHouse engine, once a run or fresh for one test."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.kafka import Node
from deploy.local.ports import HOST, free_port
from deploy.local.probe import http_ok, until
from deploy.local.process import Child, Lifeline, last_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Address(NamedTuple):
    """Where the engine's HTTP front listens."""

    host: str
    port: int


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    """A broker that all tests share."""
    async with Node(tmp_path_factory.mktemp("kafka"), heap_mb=512) as node:
        yield node


@pytest.fixture(scope="session")
def kafka(shared_node: Node) -> str:
    """Address of the broker that all tests share: take topics and groups that are the test's own."""
    return shared_node.address


@pytest_asyncio.fixture(loop_scope="function")
async def empty_kafka(shared_node: Node) -> Node:
    """The broker that all tests share, emptied, for a test that uses our topics' and groups' names; it is not ended.

    A broker that has run for a while needs a fraction of the CPU of one that starts.
    """
    await clear(shared_node.address)
    return shared_node


async def clear(address: str) -> None:
    """Delete all topics, and wait until they are gone, groups' offsets in them too, and nobody is in a group."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()

    async def used(group: str) -> bool:
        ((described,),) = [found.groups for found in await admin.describe_consumer_groups([group])]
        return bool(described[5] or await admin.list_consumer_group_offsets(group))

    async def gone() -> bool:
        topics = [name for name in await admin.list_topics() if not name.startswith("__")]
        if topics:
            await admin.delete_topics(topics)
            return False
        return not any([await used(group) for group, *_ in await admin.list_consumer_groups()])

    try:
        assert await until(gone, 30)
    finally:
        await admin.close()


@pytest_asyncio.fixture(loop_scope="function")
async def fresh_kafka(tmp_path: Path) -> AsyncIterator[Node]:
    """A broker for one test, which may stop, kill and start it: `node.address`, `stop(0)` kills."""
    async with Node(tmp_path / "kafka", heap_mb=512) as node:
        yield node


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Address]:
    """Host and port of a ClickHouse engine that all tests share: take a database that is the test's own."""
    directory = tmp_path_factory.mktemp("engine")
    port = free_port()
    command = (sys.executable, "-m", "deploy.local.engine", "--path", str(directory / "data"), "--port", str(port))
    async with Lifeline() as lifeline:
        child = Child(command, directory / "engine.log", lifeline=lifeline)
        await child.start()
        try:
            ready = await until(partial(http_ok, HOST, port, "/ping"), 30)
            assert ready, last_line(child.log)
            yield Address(HOST, port)
        finally:
            await child.stop(5)
