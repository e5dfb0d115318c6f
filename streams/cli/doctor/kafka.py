"""The doctor's look at Kafka: the way to it, its brokers, their settings and clock.

Rule: it speaks Kafka's protocol over connections of its own and sends nothing but requests that read; each server
named and each broker advertised is tried, since a client needs them all.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest

from schemas.settings import kafka_client_options
from schemas.topics import LARGE_BYTES, TOPICS
from streams.cli.doctor.findings import Finding, ok, problem, skew, skipped, warning
from streams.cli.doctor.requests import Groups, Metadata, Quorum
from streams.cli.doctor.topics import permissions, topics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from schemas.settings import Settings
    from streams.cli.doctor.findings import Role

AREA: Final = "Kafka"
TIMEOUT_S: Final = 5.0
TOPIC_RESOURCE, BROKER_RESOURCE = 2, 4
DAY_MINUTES: Final = 1440
RELEASES: Final = ((18, "4.1"), (17, "3.9"), (16, "3.7"), (15, "3.5"), (13, "3.1"), (12, "2.7"), (11, "2.3"))
"""Highest version of Fetch that a broker knows -> the first release that did (Kafka's own message definitions)."""
OFFSETS: Final = "__consumer_offsets"


async def look(settings: Settings, roles: Sequence[Role]) -> list[Finding]:
    """All findings about Kafka."""
    try:
        options = kafka_client_options(settings)
    except (OSError, ssl.SSLError) as error:
        text = f"the certificates cannot be read: {error}"
        return [problem(AREA, "TLS", text, "mend HEADWATER_KAFKA_SSL_CAFILE, _CERTFILE and _KEYFILE")]
    options.pop("bootstrap_servers")
    async with AsyncExitStack() as stack:
        found: list[Finding] = []
        connection = await _first(settings.kafka, options, stack, found)
        if connection is None:
            return found
        try:
            found += await _look_further(connection, settings, roles, options, stack)
        except (KafkaError, TimeoutError, NotImplementedError) as error:
            text = f"{settings.kafka} stopped answering: {error or type(error).__name__}"
            found.append(problem(AREA, "connection", text, "look at the broker's log"))
    return found


async def _first(servers: str, options: dict[str, Any], stack: AsyncExitStack, found: list[Finding]) -> Any:
    """Try all bootstrap servers; returns the connection to the first that answers."""
    connection = None
    for server in filter(None, (part.strip() for part in servers.split(","))):
        tried = await connect(server, options, stack)
        if isinstance(tried, Finding):
            found.append(tried)
        else:
            how = options["security_protocol"]
            mechanism = f" with {options['sasl_mechanism']}" if "sasl_mechanism" in options else ""
            found.append(ok(AREA, server, f"answers ({how}{mechanism})"))
            connection = connection or tried
    if connection is not None:
        # A cluster is reached by any of its servers: one that is away is no more than worth a look.
        found[:] = [warning(f.area, f.subject, f.text, f.mend) if f.state == "problem" else f for f in found]
    return connection


async def connect(server: str, options: dict[str, Any], stack: AsyncExitStack) -> Any:
    """A connection to `server` (``host:port``), closed with `stack`; or what is wrong, and how to mend it."""
    host, _, port = server.rpartition(":")
    if not host or not port.isdigit():
        return problem(AREA, server, "is no address", "write HEADWATER_KAFKA as host:port,host:port")
    try:
        async with asyncio.timeout(2 * TIMEOUT_S):
            milliseconds = int(TIMEOUT_S * 1000)
            connection = await create_conn(host.strip("[]"), int(port), **options, request_timeout_ms=milliseconds)
            stack.callback(connection.close)
            # A listener that wants a password tells its versions to anyone, and hangs up at the first question.
            await connection.send(Metadata([]))
    except (KafkaError, OSError, TimeoutError, AssertionError) as error:
        return problem(AREA, server, *_why(error, options["security_protocol"]))
    return connection


_CUT: Final = "it cuts the connection before it answers ({protocol})"
_PROTOCOL: Final = "the listener may speak another protocol: see HEADWATER_KAFKA_SECURITY_PROTOCOL"
WHY: Final[tuple[tuple[type[BaseException], str, str], ...]] = (
    (socket.gaierror, "this name cannot be resolved", "mend HEADWATER_KAFKA, or the name service"),
    (ConnectionRefusedError, "nobody listens there", "start the broker, or mend HEADWATER_KAFKA"),
    (
        ssl.SSLCertVerificationError,
        "its certificate is not accepted: {error.verify_message}",
        "name the authority's certificate by HEADWATER_KAFKA_SSL_CAFILE, and the host as the certificate does",
    ),
    (ssl.SSLError, "TLS fails: {error.reason}", _PROTOCOL),
    (
        UnsupportedSaslMechanismError,
        "it does not know the mechanism: {error}",
        "set HEADWATER_KAFKA_SASL_MECHANISM to one that it has enabled",
    ),
    (
        SaslAuthenticationFailed,
        "it does not accept user and password",
        "mend HEADWATER_KAFKA_SASL_USERNAME and HEADWATER_KAFKA_SASL_PASSWORD",
    ),
    (TimeoutError, "no answer ({protocol})", f"a firewall stands between, or {_PROTOCOL}"),
    (ConnectionError, _CUT, _PROTOCOL),
    (KafkaError, _CUT, _PROTOCOL),
    (OSError, "it cannot be reached: {error}", "mend HEADWATER_KAFKA, or the network"),
)
"""What a connection fails with -> what that says, and how to mend it; the first that fits."""


def _why(error: BaseException, protocol: str) -> tuple[str, str]:
    for kind, text, mend in WHY:
        if isinstance(error, kind):
            return text.format(error=error, protocol=protocol), mend
    return f"it cannot be used: {str(error) or type(error).__name__}", "see HEADWATER_KAFKA and what goes with it"


async def _look_further(
    connection: Any, settings: Settings, roles: Sequence[Role], options: dict[str, Any], stack: AsyncExitStack
) -> list[Finding]:
    found = [versions(connection._versions)]  # noqa: SLF001 - told by no other name
    cluster = (await connection.send(Metadata([*TOPICS, OFFSETS]))).to_object()
    found.append(ok(AREA, "cluster", f"{cluster['cluster_id']}, {_many(len(cluster['brokers']), 'broker')}"))
    brokers: dict[int, Any] = {}
    for broker in cluster["brokers"]:
        tried = await connect(f"{broker['host']}:{broker['port']}", options, stack)
        if isinstance(tried, Finding):
            mend = "advertised.listeners of the broker must name an address that is reached from here"
            found.append(problem(AREA, tried.subject, f"broker {broker['node_id']}, so advertised: {tried.text}", mend))
        else:
            brokers[broker["node_id"]] = tried
    for number, there in brokers.items():
        found += broker_settings(number, await configs(there, BROKER_RESOURCE, [str(number)]), len(cluster["brokers"]))
    found.append(await clock(next(iter(brokers.values()), connection)))
    described = {topic["name"]: topic for topic in cluster["topics"]}
    there = [name for name in TOPICS if described[name]["error_code"] == 0]
    found += topics(settings, described, await configs(connection, TOPIC_RESOURCE, there), len(cluster["brokers"]))
    found += permissions(described, roles, cluster["authorized_operations"])
    if described.get(OFFSETS, {}).get("error_code") == 0:
        # Where nobody has consumed yet, to ask for a group's coordinator would make Kafka create its topic.
        for role, group in (("worker", settings.app), ("sink", f"{settings.app}-sink")):
            if role in roles:
                found.append(await consumer_group(connection, brokers, role, group))
    return found


def versions(ranges: Mapping[int, tuple[int, int]]) -> Finding:
    """Kafka's release, as far as its protocol tells, and whether it is one that headwater is tested with."""
    lowest, highest = ranges.get(1, (0, 0))
    release = next((release for fetch, release in RELEASES if highest >= fetch), "")
    text = f"{release} or newer, by the protocol it speaks" if release else "older than 2.3"
    if highest < 11:
        return problem(AREA, "version", text, "headwater is tested with Kafka 4.3; it needs 2.3 at least")
    if lowest < 4:
        return warning(AREA, "version", text, "headwater is tested with Kafka 4.3: upgrade when you can")
    return ok(AREA, "version", text)


async def configs(connection: Any, resource: int, names: list[str]) -> dict[str, dict[str, str]]:
    """Settings of brokers or topics by name; of those that may not be read, none. Sensitive ones are left out."""
    if not names:
        return {}
    answer = await connection.send(DescribeConfigsRequest([(resource, name, None) for name in names]))
    return {
        described["resource_name"]: {
            entry["config_names"]: entry["config_value"]
            for entry in described["config_entries"]
            if not entry["is_sensitive"] and entry["config_value"] is not None
        }
        for described in answer.to_object()["resources"]
        if described["error_code"] == 0
    }


def broker_settings(number: int, described: Mapping[str, Mapping[str, str]], brokers: int) -> Iterator[Finding]:
    """The settings of a broker that decide whether anything can get lost."""
    subject = f"broker {number}"
    values = described.get(str(number))
    if values is None:
        yield skipped(AREA, subject, "its settings may not be read (DESCRIBE_CONFIGS on the cluster)")
        return
    wrong = list(_wrong_settings(subject, values, brokers))
    yield from wrong
    if not wrong:
        yield ok(AREA, subject, "offsets, transactions, record sizes and elections are set as they should be")


LEAST: Final = (
    ("offsets.retention.minutes", 30 * DAY_MINUTES, 7 * DAY_MINUTES, "a group that is away for longer loses its place"),
    ("transaction.max.timeout.ms", 60_000, 60_000, "a worker's transactions may take as long"),
    ("transactional.id.expiration.ms", 7 * DAY_MINUTES * 60_000, 0, "a worker that is away for longer starts anew"),
    ("message.max.bytes", LARGE_BYTES, 0, "topics without a limit of their own take smaller records than others"),
    ("replica.fetch.max.bytes", LARGE_BYTES, 0, "replicas fetch the largest records one by one"),
)
"""Name of a broker's setting, the least that is well, the least that is no problem, and what less means."""
NEVER: Final = (
    ("unclean.leader.election.enable", problem, "a replica that lags may lead, and acknowledged events are lost"),
    ("auto.create.topics.enable", warning, "a topic that is asked for too early is made with the wrong partitions"),
)
"""Names of settings that must not be true."""


def _wrong_settings(subject: str, values: Mapping[str, str], brokers: int) -> Iterator[Finding]:
    for name, well, bearable, means in LEAST:
        number = int(values.get(name, well))
        if number < well:
            say = problem if number < bearable else warning
            yield say(AREA, subject, f"{name}={number}: {means}", f"set {name}={well} in the broker's configuration")
    for name, say, means in NEVER:
        if values.get(name) == "true":
            yield say(AREA, subject, f"{name}=true: {means}", f"set {name}=false in the broker's configuration")
    for name in ("offsets.topic.replication.factor", "transaction.state.log.replication.factor"):
        if brokers >= 3 > int(values.get(name, 3)):
            yield warning(AREA, subject, f"{name}={values[name]} on {brokers} brokers", f"set {name}=3")


async def clock(connection: Any) -> Finding:
    """What the leading controller's clock says."""
    try:
        began = time.time_ns() / 1e6
        answer = (await connection.send(Quorum())).to_object()
        ended = time.time_ns() / 1e6
        (topic,) = answer["topics"]
        (partition,) = topic["partitions"]
        leader = next(voter for voter in partition["voters"] if voter["replica_id"] == partition["leader"])
    except (KafkaError, TimeoutError, NotImplementedError, ValueError, StopIteration, KeyError):
        return skipped(AREA, "clock", "Kafka does not tell its time (it takes DESCRIBE on the cluster, Kafka 3.3)")
    return skew(AREA, "Kafka", leader["last_caught_up_ms"] - (began + ended) / 2, (ended - began) / 2 + 1)


async def consumer_group(connection: Any, brokers: Mapping[int, Any], role: str, group: str) -> Finding:
    """Whether the role's group may be used, and who is in it."""
    subject = f"group {group}"
    mend = f"allow READ on the group {group} to the user of the {role}"
    found = await connection.send(FindCoordinatorRequest(group, 0))
    coordinator = brokers.get(found.coordinator_id)
    if found.error_code == 30:
        return problem(AREA, subject, "may not be used", mend)
    if found.error_code or coordinator is None:
        return skipped(AREA, subject, "its coordinator cannot be asked")
    (told,) = (await coordinator.send(Groups([group]))).to_object()["groups"]
    if told["error_code"] == 30 or not told["authorized_operations"] & 1 << 3:
        return problem(AREA, subject, "may not be used", mend)
    members = len(told["members"])
    return ok(AREA, subject, f"may be used; {_many(members, role) if members else f'no {role} is in it now'}")


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
