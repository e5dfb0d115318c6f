"""`headwater doctor` against a real broker with access control, and the real engine.

The broker has the settings of docker-compose.yml, so what the doctor says of them holds for those, too.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import create_conn
from aiokafka.protocol.admin import CreateAclsRequest

from deploy.local.kafka import Node
from deploy.local.ports import HOST, free_port
from schemas.settings import Settings
from schemas.topics import TOPICS
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrate import MIGRATIONS, migrate
from streams.cli.doctor import clickhouse, kafka
from streams.cli.doctor.findings import Finding
from streams.cli.topics import create_topics

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PASSWORD = "fb6a3f0c2f5e"
PLACES = ("listener", "quorum", "log.dirs", "heap")
GUARD = """
controller.quorum.bootstrap.servers={{host}}:{{controller}}
listeners=PLAINTEXT://{{host}}:{{broker}},SASL_PLAINTEXT://{{host}}:{port},CONTROLLER://{{host}}:{{controller}}
advertised.listeners=PLAINTEXT://{{host}}:{{broker}},SASL_PLAINTEXT://{{host}}:{port},CONTROLLER://{{host}}:{{controller}}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={{data}}
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
 user_operator="{password}" user_reader="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:operator
"""


def properties(port: int) -> str:
    """The settings that docker-compose.yml gives its broker, on this machine, with a second, guarded listener."""
    environment = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"]["environment"]
    stated = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith("KAFKA_")
    }
    lines = [f"{name}={value}" for name, value in stated.items() if not any(place in name for place in PLACES)]
    assert len(lines) > 10
    return "\n".join(lines) + GUARD.format(port=port, password=PASSWORD)


class Guarded:
    """The broker: its open listener, whose users may all, and its guarded one."""

    def __init__(self, plain: str, guarded: str) -> None:
        self.plain, self.guarded = plain, guarded

    def settings(self, user: str = "", password: str = PASSWORD, **more: object) -> Settings:
        """Settings of a role that comes as `user`; without one by the open listener."""
        if not user:
            return Settings(kafka=self.plain, partitions=2, **more)
        who = {"kafka_sasl_username": user, "kafka_sasl_password": password}
        return Settings(
            **{"kafka": self.guarded, "partitions": 2, "kafka_security_protocol": "SASL_PLAINTEXT", **who, **more}
        )

    @asynccontextmanager
    async def admin(self):
        """An admin client that may all."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.plain)
        await client.start()
        try:
            yield client
        finally:
            await client.close()

    async def allow(self, user: str, operation: int, resource: int = 2) -> None:
        """Allow `operation` on all topics (2) or groups (3)."""
        host, _, port = self.plain.rpartition(":")
        connection = await create_conn(host, int(port))
        entry = (resource, "*", 3, f"User:{user}", "*", operation, 3)
        (code, why), *_ = (await connection.send(CreateAclsRequest(*entry))).creation_responses
        connection.close()
        assert code == 0, why


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(tmp_path_factory):
    """One broker for all tests of this module."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploy.local.kafka.PROPERTIES", properties(port))
        async with Node(tmp_path_factory.mktemp("guarded"), heap_mb=512) as node:
            yield Guarded(node.address, f"{HOST}:{port}")


def wrong(found: list[Finding]) -> dict[str, str]:
    """Subject -> what is not well."""
    for finding in found:
        assert PASSWORD not in finding.text + finding.mend
        assert finding.mend or finding.state in {"ok", "skipped"}
    return {finding.subject: finding.text for finding in found if finding.state in {"warning", "problem"}}


async def look(settings: Settings, *roles: str) -> list[Finding]:
    """What the doctor finds of Kafka."""
    return await kafka.look(settings, roles or ("collector", "worker", "sink"))


async def settled(settings: Settings, expected: dict[str, str], *roles: str) -> None:
    """A change of settings or rights takes the broker a moment."""
    deadline = asyncio.get_running_loop().time() + 20
    while (told := wrong(await look(settings, *roles))) != expected:
        assert asyncio.get_running_loop().time() < deadline, told


async def test_topics_are_missed_then_found_then_found_wrong(broker):
    """Nothing there; `headwater topics`; kept too short; another number of partitions. The doctor creates nothing."""
    assert wrong(await look(broker.settings())) == dict.fromkeys(TOPICS, "is not there")
    async with broker.admin() as admin:
        assert await admin.list_topics() == []
        await create_topics(broker.settings())
        found = await look(broker.settings())
        assert wrong(found) == {}
        told = {finding.subject: finding.text for finding in found}
        assert told["all topics"] == "are as they should be (2 partitions)"
        assert told["broker 1"].endswith("are set as they should be")
        assert told["version"].startswith("4.")
        assert told["clock"].startswith("agrees with Kafka's, to ")
        assert told["permissions"] == "this user may do what collector, worker, sink must"
        assert set(await admin.list_topics()) == set(TOPICS)

        short = TOPICS["clicks"].config | {"retention.ms": "3600000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "clicks", configs=short)])
        await settled(broker.settings(), {"clicks": "retention.ms=3600000 (1 h), not 604800000 (7 d)"})
        as_it_was = ConfigResource(ConfigResourceType.TOPIC, "clicks", configs=TOPICS["clicks"].config)
        await admin.alter_configs([as_it_was])
        await settled(broker.settings(), {})
    more = wrong(await look(broker.settings().model_copy(update={"partitions": 3})))
    assert set(more) == set(TOPICS) - {"campaigns"}
    assert more["touches"] == "has 2 partitions, not 3; the number never changes in place"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"password": PASSWORD[::-1]}, "it does not accept user and password"),
        ({"user": "nobody"}, "it does not accept user and password"),
        ({"kafka_sasl_mechanism": "SCRAM-SHA-512"}, "it does not know the mechanism: "),
        ({"kafka_security_protocol": "PLAINTEXT"}, "it cuts the connection before it answers (PLAINTEXT)"),
        ({"kafka_security_protocol": "SASL_SSL"}, "it cuts the connection before it answers (SASL_SSL)"),
    ],
    ids=["password", "user", "mechanism", "no authentication", "no TLS there"],
)
async def test_a_broker_that_does_not_let_us_in(broker, more, text):
    """What it does not like is told, with the setting to mend, and never the secret."""
    found = await look(broker.settings(**{"user": "operator", **more}))
    (told,) = wrong(found).values()
    assert told.startswith(text)
    assert "HEADWATER_KAFKA_S" in found[0].mend


async def test_rights_are_told_role_by_role(broker):
    """A user without any sees no topic; one that may read is enough for a sink, not for a worker; groups count too."""
    await create_topics(broker.settings())
    assert wrong(await look(broker.settings("operator"))) == {}
    assert wrong(await look(broker.settings("reader"), "sink")) == dict.fromkeys(TOPICS, "may not be seen")

    for operation in (3, 8, 10):  # READ, DESCRIBE, DESCRIBE_CONFIGS
        await broker.allow("reader", operation)
    await settled(broker.settings("reader"), {}, "sink")
    as_worker = wrong(await look(broker.settings("reader"), "worker"))
    assert list(as_worker) == ["permissions"]
    assert as_worker["permissions"].startswith("this user may not WRITE clicks, ")

    # From now on there are groups, and so a topic of them.
    consumer = AIOKafkaConsumer("clicks", bootstrap_servers=broker.plain, group_id="headwater-sink")
    await consumer.start()
    try:
        members = {finding.subject: finding.text for finding in await look(broker.settings(), "sink")}
        assert members["group headwater-sink"] == "may be used; 1 sink"
        assert wrong(await look(broker.settings("reader"), "sink")) == {"group headwater-sink": "may not be used"}
        await broker.allow("reader", 3, resource=3)
        await settled(broker.settings("reader"), {}, "sink")
    finally:
        await consumer.stop()


def test_clickhouse_is_missed_then_found_then_found_wrong(engine, tmp_path):
    """No database; `headwater migrate`; one that lacks a migration, has another text of one, or one too many."""
    settings = Settings(clickhouse_host=engine.host, clickhouse_port=engine.port, clickhouse_database="doctor")

    def found() -> list[Finding]:
        return clickhouse.look(settings, ["sink"])

    assert wrong(found()) == {"database doctor": "is not there, or not headwater's"}
    migrate(settings)
    well = found()
    assert wrong(well) == {}
    assert {finding.subject: finding.text for finding in well}["rights"] == "this user may SELECT and INSERT"
    assert next(finding.text for finding in well if finding.subject == "clock").startswith("agrees with ClickHouse's")

    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    (folder / "999_more.sql").write_text("SELECT 1;")
    first = min(folder.glob("*.sql"))
    first.write_text(first.read_text() + "-- more\n")
    with connect(settings) as client:
        told = list(clickhouse.migrations(client, "doctor", folder))
        assert [finding.text for finding in told] == ["lacks 999_more", f"was made by another text of {first.stem}"]
        assert [finding.state for finding in told] == ["problem", "problem"]
        client.command("INSERT INTO schema_versions (version, md5, script) VALUES (998, '', '')")
    assert wrong(found()) == {"database doctor": "has migrations that this version does not know: 998"}

    stranger = settings.model_copy(
        update={"clickhouse_user": "nobody", "clickhouse_password": settings.clickhouse_password}
    )
    (refused,) = wrong(clickhouse.look(stranger, ["sink"])).values()
    assert refused.startswith("does not accept user and password")


class Grants:
    """A server that says of its rights what a test wants."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = answers

    def command(self, statement: str) -> object:
        """``CHECK GRANT RIGHT ON ...``."""
        answer = self.answers[statement.split()[2]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_rights_in_clickhouse():
    """Asked, not tried: what is lacking is told with the statement that gives it; an old server does not know."""
    (lacking,) = clickhouse.rights(Grants({"SELECT": 1, "INSERT": 0}), "headwater", {"sink"})
    assert (lacking.state, lacking.text) == ("problem", "this user lacks INSERT ON `headwater`.*")
    assert lacking.mend.startswith("GRANT INSERT ON `headwater`.*")
    assert [finding.state for finding in clickhouse.rights(Grants({"SELECT": 1}), "headwater", {"page"})] == ["ok"]
    (unknown,) = clickhouse.rights(Grants({"SELECT": RuntimeError("syntax error")}), "headwater", {"page"})
    assert unknown.state == "skipped"
