"""A real engine and a real Kafka for the sink's tests, one each for all; every test has an empty database to itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient
from clickhouse_connect.driver.client import Client

from deploy.local.kafka import Node
from schemas.settings import Settings
from sinks.clickhouse.connection import connect
from sinks.clickhouse.decoders import Record, encode
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.server import Server
from tests.sinks.pipe import Pipe


class EngineProcess:
    """The engine as a process that can be killed and started again on the same port."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = 0
        self.disturbed = 0
        """How often it was killed, stopped or the like."""
        self.database = Database(self)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers."""
        command = [sys.executable, "-m", "deploy.local.engine", "--path", str(self.path), "--port", str(self.port)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line.decode())
            if b" ready on http" in line:
                self.port = int(line.rsplit(b":", 1)[1])
                break
        else:
            pytest.fail(f"the engine does not start: {''.join(said)}")
        process.stderr.close()
        self._process = process

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self.disturbed += 1
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self.disturbed += 1
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """ClickHouse's engine behind its HTTP protocol."""
    process = EngineProcess(tmp_path_factory.mktemp("engine"))
    process.start()
    yield process
    process.kill()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka node's address."""
    node = Node(tmp_path_factory.mktemp("kafka"), heap_mb=512)
    with asyncio.Runner() as runner:
        runner.run(node.start())
        yield node.address
        runner.run(node.stop())


Seen = tuple[Sequence[Sequence[str]], Sequence[Sequence[Any]]]
"""Name, definition and engine of every table and view; the migrations."""


@dataclass
class Database:
    """A migrated database, emptied after each test: to create one takes thirty times as long.

    A test that changes tables or views leaves none to the next, nor does one that disturbs the engine, in which
    something may still be under way.
    """

    engine: EngineProcess
    name: str = ""
    _was: Seen = ((), ())

    def settings(self) -> Settings:
        """Where it is; it is made where there is none."""
        found = Settings(clickhouse_port=self.engine.port, clickhouse_database=self.name or f"t{uuid.uuid4().hex}")
        if not self.name:
            migrate(found)
            self.name = found.clickhouse_database
            with connect(found) as client:
                self._was = self._seen(client)
        return found

    def empty(self, settings: Settings, *, sure: bool) -> None:
        """Remove all rows, or, where it is not `sure` to be as it was, all of it."""
        name, self.name = self.name, ""
        with connect(settings) as client:
            known = {table for table, *_ in self._was[0]}
            for table, *_ in self._seen(client)[0]:
                if table not in known:
                    client.command(f"DROP TABLE {table}")
            if sure and self._seen(client) == self._was:
                for table, _, engine in self._was[0]:
                    if engine.endswith("MergeTree") and table != "schema_versions":
                        client.command(f"TRUNCATE TABLE {table}")
                self.name = name
            else:
                client.command(f"DROP DATABASE {name}")

    @staticmethod
    def _seen(client: Client) -> Seen:
        tables = (
            "SELECT name, create_table_query, engine FROM system.tables WHERE database = currentDatabase() ORDER BY 1"
        )
        versions = "SELECT version, md5 FROM schema_versions ORDER BY ALL"
        return client.query(tables).result_rows, client.query(versions).result_rows


@pytest.fixture
def settings(engine: EngineProcess) -> Iterator[Settings]:
    """Settings on an empty, migrated database and an app name of its own."""
    kept = {key: value for key, value in os.environ.items() if key.startswith("HEADWATER_")}
    for key in kept:
        del os.environ[key]
    here = engine.database.settings()
    disturbed = engine.disturbed
    yield here.model_copy(update={"app": f"t{uuid.uuid4().hex}", "sink_metrics_port": 0})
    engine.database.empty(here, sure=engine.disturbed == disturbed)
    os.environ.update(kept)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """A client on the test's database."""
    with connect(settings) as found:
        yield found


@pytest_asyncio.fixture
async def server(settings: Settings) -> AsyncIterator[Server]:
    """The sink's own way to the test's database."""
    found = Server(settings)
    yield found
    await found.close()


Put = Callable[..., None]


@pytest.fixture
def put(settings: Settings) -> Put:
    """Decode and insert samples, each call as one insert: ``put(sample, ..., generation=1)``."""

    def put(*samples: Record, generation: int = 1) -> None:
        async def insert() -> None:
            server = Server(settings)
            try:
                for topic in dict.fromkeys(sample.topic for sample in samples):
                    chosen = [sample for sample in samples if sample.topic == topic]
                    blocks, rejected = encode(topic, chosen, generation)
                    assert rejected == []
                    for block in blocks:
                        await server.insert(block.table, block.columns, [block.body])
            finally:
                await server.close()

        asyncio.run(insert())

    return put


@pytest_asyncio.fixture
async def pipe(settings: Settings, kafka: str) -> AsyncIterator[Pipe]:
    """Fresh topics, a fresh database, a group of its own."""
    settings = settings.model_copy(update={"kafka": kafka})
    server = Server(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    found = Pipe(settings, server, admin)
    await found.create()
    yield found
    await found.delete()
    await admin.close()
    await server.close()
