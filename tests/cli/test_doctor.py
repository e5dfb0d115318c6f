"""`headwater doctor` without servers: what it thinks of what it is told, and of what does not answer."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.ports import free_port
from schemas.settings import Settings
from schemas.topics import DAY_MS, TOPICS
from streams.cli.doctor import clickhouse, examine, findings, kafka, machine, roles, show, topics
from streams.cli.doctor.findings import Finding
from streams.cli.doctor.requests import OPERATIONS

SECRET = "fb6a3f0c2f5e"
ALLOWED = sum(1 << bit for bit in OPERATIONS.values())


def states(found: list[Finding]) -> dict[str, str]:
    """Subject -> state."""
    return {finding.subject: finding.state for finding in found}


def described(name: str, partitions: int, replicas: int = 1, **more: object) -> dict:
    """A topic as a healthy broker describes it."""
    copies = list(range(replicas))
    one = {"error_code": 0, "leader": 0, "replicas": copies, "isr": copies}
    parts = [one | {"partition": number} for number in range(partitions)]
    return {"name": name, "error_code": 0, "partitions": parts, "authorized_operations": ALLOWED} | more


class Cluster:
    """Topics and their settings as a healthy cluster has them; a test spoils some."""

    def __init__(self, partitions: int = 12, replicas: int = 1) -> None:
        self.settings = Settings(partitions=partitions, replication=replicas, kafka="one:9092,two:9092")
        self.brokers = replicas
        self.topics = {
            name: described(name, 1 if topic.single else partitions, replicas) for name, topic in TOPICS.items()
        }
        least = {"min.insync.replicas": str(min(2, replicas))}
        self.configs = {name: {**topic.config, **least} for name, topic in TOPICS.items()}

    def look(self) -> list[Finding]:
        """What the doctor thinks of the topics."""
        return topics.topics(self.settings, self.topics, self.configs, self.brokers)


@pytest.mark.parametrize("replicas", [1, 3])
def test_topics_as_they_should_be_are_one_line(replicas):
    """Of one broker, or of three with every record on two at least."""
    (finding,) = Cluster(replicas=replicas).look()
    assert (finding.state, finding.subject) == ("ok", "all topics")


def spoilt_topics() -> dict[str, tuple]:
    """What can be wrong with a topic: how to spoil it, how grave that is, what the line and its remedy say."""

    def config(name: str, **values: str):
        def spoil(cluster: Cluster) -> None:
            cluster.configs[name] |= {key.replace("_", "."): value for key, value in values.items()}

        return spoil

    def part(name: str, number: int, **values: object):
        def spoil(cluster: Cluster) -> None:
            cluster.topics[name]["partitions"][number] = cluster.topics[name]["partitions"][number] | values

        return spoil

    def topic(name: str, **values: object):
        return lambda cluster: cluster.topics[name].update(values)

    week = 7 * DAY_MS
    return {
        "missing": (topic("orders", error_code=3), "problem", "is not there", "headwater topics"),
        "hidden": (topic("orders", error_code=29), "problem", "may not be seen", "allow DESCRIBE"),
        "too few partitions": (
            topic("clicks", partitions=described("clicks", 6, 3)["partitions"]),
            "problem",
            "has 6 partitions, not 12",
            "HEADWATER_PARTITIONS=6",
        ),
        "registry of two partitions": (
            topic("campaigns", partitions=described("campaigns", 2, 3)["partitions"]),
            "problem",
            "has 2 partitions, not 1",
            "delete it",
        ),
        "no leader": (part("touches", 4, leader=-1), "problem", "[4] have no leader", "start the brokers"),
        "lagging": (part("touches", 4, isr=[0, 1]), "warning", "[4] have replicas that lag", "look at"),
        "nothing can be written": (
            part("touches", 4, isr=[0]),
            "problem",
            "fewer replicas in sync than min.insync.replicas=2",
            "start the brokers",
        ),
        "one copy of three": (
            topic("panes", partitions=described("panes", 12, 1)["partitions"]),
            "warning",
            "is kept 1 times, on 3 brokers; HEADWATER_REPLICATION=3",
            "kafka-reassign-partitions.sh",
        ),
        "acknowledged by one": (config("orders", min_insync_replicas="1"), "warning", "can get lost", "replicas=2"),
        "kept too short": (
            config("clicks", retention_ms=str(DAY_MS)),
            "problem",
            "retention.ms=86400000 (1 d), not 604800000 (7 d)",
            f"--entity-type topics --entity-name clicks --add-config retention.ms={week}",
        ),
        "tombstones forgotten too soon": (
            config("orders", delete_retention_ms="1000"),
            "problem",
            "delete.retention.ms=1000 (0.000278 h)",
            f"delete.retention.ms={week}",
        ),
        "small records": (config("attributions", max_message_bytes="1048588"), "problem", "1048588", "8388608"),
        "deleted, not compacted": (
            config("campaigns", cleanup_policy="delete"),
            "problem",
            "cleanup.policy=delete, not compact",
            "cleanup.policy=compact",
        ),
        "compacted, never deleted": (
            config("orders", cleanup_policy="compact"),
            "warning",
            "cleanup.policy=compact, not compact,delete",
            "cleanup.policy=[compact,delete]",
        ),
        "settings hidden": (lambda cluster: cluster.configs.pop("spend"), "skipped", "may not be read", ""),
    }


SPOILT = spoilt_topics()


@pytest.mark.parametrize(("spoil", "state", "text", "mend"), SPOILT.values(), ids=SPOILT)
def test_what_is_wrong_with_a_topic_is_told_with_its_remedy(spoil, state, text, mend):
    """On a cluster of three brokers; the other topics are not blamed."""
    cluster = Cluster(replicas=3)
    spoil(cluster)
    first, *found = cluster.look()
    assert (first.state, first.subject) == ("ok", f"{len(TOPICS) - 1} of {len(TOPICS)} topics")
    (finding,) = [each for each in found if text in each.text]
    assert finding.state == state
    assert mend in finding.mend
    assert len({each.subject for each in found}) == 1


def test_what_keeps_more_is_no_fault():
    """Longer retention, without end even, and larger records."""
    cluster = Cluster()
    for config in cluster.configs.values():
        config |= {"max.message.bytes": str(1 << 30), "retention.ms": "-1"}
    assert states(cluster.look()) == {"all topics": "ok"}


def test_permissions_are_those_of_the_roles_asked_for():
    """What a sink must is less than what a worker must; who may nothing is told every operation."""
    cluster = Cluster()
    may_read = {name: topic | {"authorized_operations": 1 << 3} for name, topic in cluster.topics.items()}
    assert [finding.state for finding in topics.permissions(may_read, ["sink"], 0)] == ["ok"]
    worker = list(topics.permissions(may_read, ["worker", "sink"], 0))
    assert [finding.state for finding in worker] == ["problem", "ok"]
    assert "may not WRITE clicks, " in worker[0].text
    assert "dead-letters, as a worker must" in worker[0].text
    # A cluster without access control does not say, and allows all.
    silent = {name: topic | {"authorized_operations": -(2**31)} for name, topic in cluster.topics.items()}
    assert [finding.state for finding in topics.permissions(silent, ["collector"], -(2**31))] == ["ok"]
    cluster.topics["clicks"]["error_code"] = 3
    told = list(topics.permissions(cluster.topics, ["collector"], 0))
    assert [(finding.state, finding.text) for finding in told] == [("warning", "this user may not create topics")]


BROKER = {
    "offsets.retention.minutes": "43200",
    "transaction.max.timeout.ms": "900000",
    "transactional.id.expiration.ms": "604800000",
    "message.max.bytes": "8388608",
    "replica.fetch.max.bytes": "8388608",
    "unclean.leader.election.enable": "false",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
}


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("offsets.retention.minutes", "10080", "warning"),
        ("offsets.retention.minutes", "1440", "problem"),
        ("transaction.max.timeout.ms", "10000", "problem"),
        ("transactional.id.expiration.ms", "3600000", "warning"),
        ("message.max.bytes", "1048588", "warning"),
        ("replica.fetch.max.bytes", "1048576", "warning"),
        ("unclean.leader.election.enable", "true", "problem"),
        ("auto.create.topics.enable", "true", "warning"),
        ("offsets.topic.replication.factor", "1", "warning"),
        ("transaction.state.log.replication.factor", "1", "warning"),
        ("log.dirs", "/elsewhere", "ok"),
    ],
)
def test_broker_settings_that_can_lose_something(name, value, state):
    """Each is told by its name, with the value to set; all others are none of the doctor's business."""
    (finding,) = kafka.broker_settings(1, {"1": BROKER | {name: value}}, brokers=3)
    assert finding.state == state
    if state != "ok":
        assert finding.text.startswith(f"{name}={value}")
        assert finding.mend.startswith(f"set {name}=")
    # Of one broker alone nothing more can be asked than one replica.
    alone = list(kafka.broker_settings(1, {"1": BROKER | {"offsets.topic.replication.factor": "1"}}, brokers=1))
    assert [finding.state for finding in alone] == ["ok"]
    assert states(list(kafka.broker_settings(7, {}, brokers=1))) == {"broker 7": "skipped"}


@pytest.mark.parametrize(
    ("fetch", "state", "release"),
    [((4, 18), "ok", "4.1"), ((4, 17), "ok", "3.9"), ((0, 15), "warning", "3.5"), ((0, 10), "problem", "older")],
)
def test_kafkas_version_is_known_by_its_protocol(fetch, state, release):
    """Releases since 4.0 have dropped what is older than Fetch 4."""
    finding = kafka.versions({1: fetch})
    assert finding.state == state
    assert finding.text.startswith(release)


@pytest.mark.parametrize(
    ("ahead_ms", "spread_ms", "state"),
    [
        (0, 2, "ok"),
        (-900, 1, "ok"),
        (1500, 1, "warning"),
        (-1500, 1, "warning"),
        (1500, 900, "ok"),
        (61_001, 0, "problem"),
    ],
)
def test_a_skew_counts_as_far_as_it_is_beyond_doubt(ahead_ms, spread_ms, state):
    """What the time of the answer may explain is no skew."""
    assert findings.skew("Kafka", "Kafka", ahead_ms, spread_ms).state == state


class Silent:
    """A server that takes connections and says nothing that its client understands."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.port = 0

    @asynccontextmanager
    async def running(self):
        """Listens on a free port."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(self.answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self


@pytest.mark.parametrize(
    ("server", "options", "text", "mend"),
    [
        ("nowhere", {}, "is no address", "host:port"),
        ("no-such-host.invalid:9092", {}, "cannot be resolved", "HEADWATER_KAFKA"),
        ("127.0.0.1:{free}", {}, "nobody listens there", "start the broker"),
        ("127.0.0.1:{silent}", {}, "it cuts the connection before it answers (PLAINTEXT)", "SECURITY_PROTOCOL"),
        ("127.0.0.1:{silent}", {"kafka_security_protocol": "SSL"}, "TLS fails", "SECURITY_PROTOCOL"),
    ],
)
async def test_why_kafka_cannot_be_reached(server, options, text, mend, tmp_path):
    """Name, port, protocol: each failure says what it is, within seconds."""
    async with Silent(b"HTTP/1.1 400 Bad Request\r\n\r\n").running() as silent:
        settings = Settings(kafka=server.format(free=free_port(), silent=silent.port), data_dir=tmp_path, **options)
        (finding,) = await kafka.look(settings, ["worker"])
    assert (finding.state, finding.area) == ("problem", "Kafka")
    assert text in finding.text
    assert mend in finding.mend


async def test_one_server_of_a_cluster_that_is_away_is_worth_a_look(monkeypatch):
    """Clients need one that answers; where none does it is a problem."""

    async def some(server, options, stack):
        return object() if server == "b:1" else findings.problem("Kafka", server, "nobody listens there", "start it")

    monkeypatch.setattr(kafka, "connect", some)
    options = {"security_protocol": "PLAINTEXT"}
    async with AsyncExitStack() as stack:
        found: list[Finding] = []
        assert await kafka._first("a:1, b:1,c:1", options, stack, found) is not None
        assert states(found) == {"a:1": "warning", "b:1": "ok", "c:1": "warning"}
        assert await kafka._first("a:1,c:1", options, stack, found := []) is None
        assert states(found) == {"a:1": "problem", "c:1": "problem"}


async def test_certificates_that_cannot_be_read(tmp_path):
    """The setting is named."""
    settings = Settings(kafka_security_protocol="SSL", kafka_ssl_cafile=str(tmp_path / "none.pem"))
    (finding,) = await kafka.look(settings, ["worker"])
    assert (finding.state, finding.subject) == ("problem", "TLS")
    assert "HEADWATER_KAFKA_SSL_CAFILE" in finding.mend


def test_clickhouse_that_is_away():
    """In one line, with what to mend."""
    (finding,) = clickhouse.look(Settings(clickhouse_port=free_port()), ["sink"])
    assert (finding.state, finding.text) == ("problem", "does not answer: Connection refused")
    assert "HEADWATER_CLICKHOUSE_HOST" in finding.mend


@pytest.mark.parametrize(("number", "state"), [("26.9.2.1", "ok"), ("25.8.1.5", "ok"), ("25.3.2.1", "warning")])
def test_clickhouses_version(number, state):
    """Older ones are not tested."""
    assert clickhouse.version(number).state == state


async def test_roles_answer_where_the_settings_say():
    """Where no setting says where, the doctor does not guess; one that is not ready tells why."""
    async with Silent(b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nrestoring\n").running() as silent:
        settings = Settings(
            collector_host="0.0.0.0",
            collector_port=free_port(),
            worker_host="127.0.0.1",
            worker_metrics_port=silent.port,
        )
        found = {finding.subject: finding for finding in await roles.look(settings, findings.ROLES)}
    assert {name: finding.state for name, finding in found.items()} == {
        "collector": "problem",
        "worker": "problem",
        "sink": "skipped",
        "page": "skipped",
    }
    assert f"http://127.0.0.1:{settings.collector_port}" in found["collector"].text
    assert found["collector"].mend.startswith("start it: headwater collector")
    assert found["worker"].text.endswith("is not ready: restoring")


async def test_a_collector_that_does_without_kafka():
    """It works, and someone should know."""
    said = b"ready: Kafka is away, 7 events wait on the disk\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)
    async with Silent(answer).running() as silent:
        settings = Settings(collector_host="127.0.0.1", collector_port=silent.port)
        (finding,) = await roles.look(settings, ["collector"])
    assert finding.state == "warning"
    assert finding.text.endswith("is ready: Kafka is away, 7 events wait on the disk")


def test_directories(tmp_path: Path):
    """One that can be written or made is well where it has room; nothing is made or left."""
    assert states(list(machine.directory("data", tmp_path))) == {"data": "ok"}
    assert states(list(machine.directory("data", tmp_path / "a" / "b"))) == {"data": "ok"}
    file = tmp_path / "file"
    file.write_text("")
    (finding,) = machine.directory("data", file / "below")
    assert (finding.state, finding.text.endswith("is a file")) == ("problem", True)
    (finding,) = machine.directory("data", Path("/proc/headwater"))
    assert (finding.state, "cannot be made" in finding.text) == ("problem", True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk(tmp_path, monkeypatch):
    """Less than 1 GiB is a problem, less than 5 a warning."""
    for free, state in ((1 << 29, "problem"), (3 << 30, "warning"), (6 << 30, "ok")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: type("Usage", (), {"free": free}))
        assert states(list(machine.directory("data", tmp_path))) == {"data": state}


def test_room_for_the_spool(tmp_path, monkeypatch):
    """Its disk has room for all that it may hold; without one, that is said."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 6 << 30}))
    assert states(list(machine.spool(Settings(data_dir=tmp_path)))) == {"spool": "ok"}
    (finding,) = machine.spool(Settings(spool_dir=tmp_path / "spool", spool_bytes=7 << 30))
    assert (finding.state, finding.text.endswith("6.0 GiB are free; it may need 7.0 GiB")) == ("warning", True)
    (finding,) = machine.spool(Settings(spool_dir=Path("/proc/headwater")))
    assert (finding.state, "HEADWATER_SPOOL_DIR" in finding.mend) == ("problem", True)
    (finding,) = machine.spool(Settings(spool_bytes=0))
    assert (finding.state, "switched off" in finding.text) == ("warning", True)
    assert not list(tmp_path.iterdir())


def test_packages_are_compared_with_the_lock_file(tmp_path):
    """All are as locked here; another version, a missing one are named; markers of other systems do not count."""
    assert machine.packages().state == "ok"
    lock = tmp_path / "app.txt"
    lock.write_text(
        "orjson==0.0.1 \\\n    --hash=sha256:00\nno-such-package==2 \\\n    --hash=sha256:00\n"
        "colorama==9 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    )
    finding = machine.packages([tmp_path / "none", lock])
    assert finding.state == "warning"
    assert "(locked: 0.0.1), no-such-package missing (locked: 2)" in finding.text
    assert "colorama" not in finding.text
    assert machine.packages([tmp_path / "none"]).state == "skipped"


def test_the_machine():
    """Old Python, few open files, settings that want thought; a worker's needs are not a page's."""
    assert machine.python((3, 10, 9)).state == "problem"
    assert machine.open_files(12, 1024).state == "warning"
    assert machine.open_files(4, 1024).state == "ok"
    assert machine.clock_is_kept() in {True, False, None}
    settings = Settings(
        kafka="kafka.internal:9092",
        kafka_security_protocol="SASL_PLAINTEXT",
        clickhouse_host="clickhouse.internal",
        clickhouse_password=SECRET,
    )
    said = states(list(machine.said(settings, {"collector"})))
    assert said == {"click ids": "warning", "Kafka's password": "warning", "ClickHouse's password": "warning"}
    assert states(machine.look(settings, ["page"])).keys() == {"Python", "packages", "clock"} | said.keys() - {
        "click ids"
    }


def test_what_is_shown_has_a_heading_an_area_a_line_a_finding_and_a_sum(capsys):
    """And below a finding how to mend it."""
    from rich.console import Console

    show(
        Console(width=200, soft_wrap=True),
        [
            findings.ok("Kafka", "one:9092", "answers"),
            findings.problem("topics", "clicks", "has 3 partitions, not 12", "delete it"),
            findings.skipped("roles", "page", "not looked for"),
        ],
    )
    assert capsys.readouterr().out.splitlines() == [
        "Kafka",
        "  ok       one:9092  answers",
        "",
        "Topics",
        "  PROBLEM  clicks    has 3 partitions, not 12",
        "                     → delete it",
        "",
        "Roles",
        "  -        page      not looked for",
        "",
        "2 things looked at, 1 problem, no warnings",
    ]


def test_the_command_without_servers(tmp_path):
    """Exit status 1, one JSON object, and no secret in it."""
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", "doctor", "--json"],
        env={
            **os.environ,
            "HEADWATER_DATA_DIR": str(tmp_path),
            "HEADWATER_KAFKA": f"127.0.0.1:{free_port()}",
            "HEADWATER_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "HEADWATER_KAFKA_SASL_PASSWORD": SECRET,
            "HEADWATER_CLICKHOUSE_PORT": str(free_port()),
            "HEADWATER_CLICKHOUSE_PASSWORD": SECRET,
            "HEADWATER_CLICK_ID_KEYS": f"1:{SECRET}",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert SECRET not in done.stdout
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert sum(told["counts"].values()) == len(told["findings"])
    problems = [finding for finding in told["findings"] if finding["state"] == "problem"]
    assert [finding["area"] for finding in problems] == ["Kafka", "ClickHouse"]
    assert all(finding["mend"] for finding in problems)


async def test_a_role_is_only_asked_for_what_it_needs(tmp_path):
    """A collector has no business with ClickHouse, a page none with Kafka."""
    settings = Settings(data_dir=tmp_path, kafka=f"127.0.0.1:{free_port()}", clickhouse_port=free_port())
    areas = {role: {finding.area for finding in await examine(settings, [role])} for role in findings.ROLES}
    assert {role for role, found in areas.items() if "Kafka" in found} == {"collector", "worker", "sink"}
    assert {role for role, found in areas.items() if "ClickHouse" in found} == {"sink", "page"}
