"""The doctor's look at Kafka's topics: are they there, set as `schemas.topics` says, and ours to use. Pure.

Rule: what keeps less, or takes smaller records, than it should is a problem; what keeps more is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from schemas.topics import DAY_MS, INPUTS, OUTPUTS, STATE, TOPICS
from streams.cli.doctor.findings import Finding, ok, problem, skipped, warning
from streams.cli.doctor.requests import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from schemas.settings import Settings
    from schemas.topics import Topic
    from streams.cli.doctor.findings import Role

AREA: Final = "topics"
NOT_ALLOWED: Final = 29
AT_LEAST: Final = ("retention.ms", "delete.retention.ms", "max.message.bytes")
NEEDS: Final[dict[Role, dict[str, tuple[str, ...]]]] = {
    "collector": {"WRITE": ("clicks", "conversions", "costs", "dead-letters"), "READ": ("campaigns",)},
    "worker": {
        "READ": (*INPUTS, *STATE, "campaigns"),
        # Inputs too: a record in the wrong partition is moved.
        "WRITE": (*INPUTS, *OUTPUTS),
    },
    "sink": {"READ": (*OUTPUTS, "campaigns")},
    "page": {},
}
"""Role -> operation -> the topics that it must be allowed on."""
Described = dict[str, Any]


def topics(
    settings: Settings, described: Mapping[str, Described], configs: Mapping[str, Mapping[str, str]], brokers: int
) -> list[Finding]:
    """Findings about all topics; of those that are as they should be, one line."""
    found: list[Finding] = []
    well = 0
    for name, topic in TOPICS.items():
        wrong = list(_topic(settings, topic, described[name], configs.get(name), brokers))
        found += wrong
        well += not wrong
    if well:
        many = "all topics" if well == len(TOPICS) else f"{well} of {len(TOPICS)} topics"
        found.insert(0, ok(AREA, many, f"are as they should be ({settings.partitions} partitions)"))
    return found


def _topic(
    settings: Settings, topic: Topic, told: Described, config: Mapping[str, str] | None, brokers: int
) -> Iterator[Finding]:
    subject = topic.name
    if told["error_code"] == NOT_ALLOWED:
        yield problem(AREA, subject, "may not be seen", f"allow DESCRIBE on the topic {subject} to this user")
        return
    if told["error_code"]:
        yield problem(AREA, subject, "is not there", "create it: headwater topics")
        return
    yield from _partitions(settings, topic, told["partitions"], brokers)
    if config is None:
        yield skipped(AREA, subject, f"its settings may not be read (DESCRIBE_CONFIGS on the topic {subject})")
        return
    yield from _config(settings, topic, config)
    yield from _least_in_sync(settings, topic, config, told["partitions"])


def _partitions(settings: Settings, topic: Topic, partitions: list[Described], brokers: int) -> Iterator[Finding]:
    subject, wanted, there = topic.name, 1 if topic.single else settings.partitions, len(partitions)
    if there != wanted:
        yield problem(
            AREA,
            subject,
            f"has {there} partitions, not {wanted}; the number never changes in place",
            "delete it and run headwater topics (its records are gone then)"
            + ("" if topic.single else f", or set HEADWATER_PARTITIONS={there} where all topics have {there}"),
        )
    if leaderless := [part["partition"] for part in partitions if part["leader"] < 0 or part["error_code"] == 5]:
        yield problem(AREA, subject, f"partitions {leaderless} have no leader", "start the brokers that hold them")
    if behind := [part["partition"] for part in partitions if len(part["isr"]) < len(part["replicas"])]:
        yield warning(
            AREA, subject, f"partitions {behind} have replicas that lag", "look at the brokers that hold them"
        )
    replicas = min((len(part["replicas"]) for part in partitions), default=0)
    advised = min(3, brokers)
    if replicas < max(settings.replication, advised):
        yield warning(
            AREA,
            subject,
            f"is kept {replicas} times, on {brokers} broker{'' if brokers == 1 else 's'}"
            + (f"; HEADWATER_REPLICATION={settings.replication}" if replicas < settings.replication else ""),
            f"set HEADWATER_REPLICATION={max(settings.replication, advised)} before topics are created; move existing "
            "ones with kafka-reassign-partitions.sh",
        )


def _config(settings: Settings, topic: Topic, config: Mapping[str, str]) -> Iterator[Finding]:
    for name, wanted in topic.config.items():
        there = config.get(name, "")
        if name == "cleanup.policy":
            wrong = set(there.split(",")) != set(wanted.split(","))
        else:
            wrong = name in AT_LEAST and not int(there or 0) < 0 and int(there or 0) < int(wanted)
        if wrong:
            # Without compaction a topic still holds all that it must; it only grows.
            grave = name != "cleanup.policy" or "delete" in there
            say = problem if grave else warning
            yield say(
                AREA,
                topic.name,
                f"{name}={_shown(name, there)}, not {_shown(name, wanted)}",
                f"kafka-configs.sh --bootstrap-server {settings.kafka.partition(',')[0]} --alter --entity-type topics "
                f"--entity-name {topic.name} --add-config {name}={f'[{wanted}]' if ',' in wanted else wanted}",
            )


def _least_in_sync(
    settings: Settings, topic: Topic, config: Mapping[str, str], partitions: list[Described]
) -> Iterator[Finding]:
    least = int(config.get("min.insync.replicas", "1"))
    replicas = min((len(part["replicas"]) for part in partitions), default=0)
    mend = (
        f"kafka-configs.sh --bootstrap-server {settings.kafka.partition(',')[0]} --alter --entity-type topics "
        f"--entity-name {topic.name} --add-config min.insync.replicas=2"
    )
    if short := [part["partition"] for part in partitions if len(part["isr"]) < least]:
        text = (
            f"partitions {short} have fewer replicas in sync than min.insync.replicas={least}: nothing can be written"
        )
        yield problem(AREA, topic.name, text, "start the brokers that hold them")
    elif replicas >= 3 and least < 2:
        text = f"min.insync.replicas={least} of {replicas}: an event acknowledged by one broker alone can get lost"
        yield warning(AREA, topic.name, text, mend)


def _shown(name: str, value: str) -> str:
    if name.endswith("retention.ms") and value.lstrip("-").isdigit() and int(value) > 0:
        days = int(value) / DAY_MS
        return f"{value} ({days * 24:,.3g} h)" if days < 1 else f"{value} ({days:,.0f} d)"
    return value or "unset"


def permissions(described: Mapping[str, Described], roles: Iterable[Role], on_cluster: int) -> Iterator[Finding]:
    """Whether this user may do what the roles do, by what the broker says of its access control lists."""
    missing = [name for name in TOPICS if described[name]["error_code"] not in (0, NOT_ALLOWED)]
    if missing and on_cluster >= 0 and not on_cluster & 1 << OPERATIONS["CREATE"]:
        yield warning(
            AREA,
            "permissions",
            "this user may not create topics",
            "run headwater topics as one that may (CREATE on the cluster)",
        )
    well = []
    for role in roles:
        refused: dict[str, list[str]] = {}
        for operation, names in NEEDS[role].items():
            for name in names:
                allowed = described[name]["authorized_operations"]
                if described[name]["error_code"] == 0 and allowed >= 0 and not allowed & 1 << OPERATIONS[operation]:
                    refused.setdefault(operation, []).append(name)
        for operation, there in refused.items():
            yield problem(
                AREA,
                "permissions",
                f"this user may not {operation} {', '.join(there)}, as a {role} must",
                f"allow {operation} on them (kafka-acls.sh), or leave out --role {role} where another user runs it",
            )
        if NEEDS[role] and not refused and not missing:
            well.append(role)
    if well:
        yield ok(AREA, "permissions", f"this user may do what {', '.join(well)} must")
