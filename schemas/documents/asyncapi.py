"""AsyncAPI 3.0 for the topics: who sends what where, with keys, headers, settings, schemas and samples.

Rule: topics and their settings are `schemas.topics`, messages the definitions that collector and worker check by.
"""

from __future__ import annotations

from typing import Any, Final

from schemas.documents.form import LICENSE, dump, release, sample, schemas
from schemas.events import KINDS, TOPIC_OF
from schemas.reasons import REASON_TEXTS
from schemas.records import OUTPUT_RECORDS
from schemas.registry import CampaignEntry, SiteEntry
from schemas.settings import Settings
from schemas.topics import INPUTS, OUTPUTS, STATE, TOPICS, Topic

REGISTRY: Final[dict[str, Any]] = {"site": SiteEntry, "campaign": CampaignEntry}
EVENTS: Final = ("clicks", "conversions", "costs")
PURPOSE: Final = {
    "clicks": "Touches (clicks, impressions, landings), consent and verdicts.",
    "conversions": "Conversions and adjustments of them.",
    "costs": "Statements of ad spend.",
    "campaigns": "The registry of sites and campaigns; the latest record of a key holds.",
    "touches": "Touches that were accepted, classified and judged.",
    "orders": "A conversion with all its facts merged; the latest record of a key holds.",
    "orders-by-visitor": "The same on its way to its visitor's journey. Between two workers: nothing to build on.",
    "attributions": "A conversion, its candidates and its credits under every model; the highest version holds.",
    "spend": "Statements of cost that were accepted; the latest record of a key holds.",
    "panes": "A minute of KPIs for one set of dimensions: totals of its partition, which replace earlier ones.",
    "dead-letters": "What was refused: its own bytes as key and value, why in the headers.",
    "replays": "Which dead letters were sent again, written in the transaction that did it.",
}
USERS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "producer": {"send": EVENTS},
    "collector": {"send": (*EVENTS, "dead-letters"), "receive": ("campaigns",)},
    "registry": {"send": ("campaigns",)},
    # Inputs too: a record in the wrong partition is moved.
    "worker": {"receive": (*INPUTS, *STATE, "campaigns"), "send": (*INPUTS, *OUTPUTS)},
    "sink": {"receive": (*OUTPUTS, "campaigns")},
    "replay": {"receive": ("dead-letters", "replays"), "send": (*INPUTS, "replays")},
}
"""Who sends and receives what; a producer is anyone's program, the registry is `headwater campaigns`,
replay `headwater dead-letters replay`."""


def text() -> str:
    """The document."""
    return dump(document())


def document() -> dict[str, Any]:
    """The document as data."""
    forms = {**KINDS, **REGISTRY, **OUTPUT_RECORDS}
    payloads, components = schemas(forms)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "headwater: topics",
            "version": release(),
            "description": (
                "Events in, results out, by Kafka. Keys decide the partition by Kafka's murmur2 (librdkafka's default"
                " differs: its records are moved, not refused). Results are written in transactions: read them with"
                " isolation.level=read_committed. Times are milliseconds since the epoch, money is decimal major units"
                " in events and integer micros in results."
            ),
            "license": {"name": LICENSE["name"]},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "variables": {"bootstrap": {"default": str(Settings.model_fields["kafka"].default)}},
            }
        },
        "channels": {name: _channel(topic) for name, topic in TOPICS.items()},
        "operations": dict(_operations()),
        "components": {
            "messages": {name: _message(name, payloads[name]) for name in forms},
            "schemas": _draft_7(components),
        },
    }


def messages_of(topic: str) -> tuple[str, ...]:
    """The messages of a topic, by name."""
    if topic == "campaigns":
        return tuple(REGISTRY)
    if topic in OUTPUT_RECORDS:
        return (topic,)
    return tuple(kind for kind, there in TOPIC_OF.items() if there == topic)


def _channel(topic: Topic) -> dict[str, Any]:
    config: dict[str, Any] = {
        name: value.split(",") if name == "cleanup.policy" else int(value) for name, value in topic.config.items()
    }
    fields = Settings.model_fields
    return {
        "address": topic.name,
        "description": PURPOSE[topic.name],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages_of(topic.name)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": 1 if topic.single else fields["partitions"].default,
                "replicas": fields["replication"].default,
                "topicConfiguration": config,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations() -> Any:
    for user, actions in USERS.items():
        for action, topics in actions.items():
            for topic in topics:
                yield (
                    f"{user}.{action}.{topic}",
                    {
                        "action": action,
                        "channel": {"$ref": f"#/channels/{topic}"},
                        "summary": f"The {user} {'writes' if action == 'send' else 'reads'} {topic}.",
                        "tags": [{"name": user}],
                    },
                )


def _message(name: str, payload: Any) -> dict[str, Any]:
    if name in REGISTRY:
        topic, key, title = "campaigns", f"{name}/NAME/...", f"Registry entry: {name}"
    elif name in OUTPUT_RECORDS:
        topic, key, title = name, TOPICS[name].key, f"Result: {name}"
    else:
        topic, key, title = TOPIC_OF[name], TOPICS[TOPIC_OF[name]].key, f"Event: {name}"
    message: dict[str, Any] = {"name": name, "title": title, "contentType": "application/json"}
    message["bindings"] = {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": "0.5.0"}}
    if topic == "dead-letters":
        reasons = "; ".join(f"{reason}: {means}" for reason, means in REASON_TEXTS.items())
        message |= {
            "contentType": "application/octet-stream",
            "description": f"Reasons: {reasons}.",
            "headers": _draft_7(payload),
            "payload": {"description": "The refused record's own bytes."},
            "examples": [{"headers": sample(name), "payload": '{"type":"tick"}'}],
        }
        message["bindings"]["kafka"]["key"] = {"description": "The refused record's own key."}
        return message
    example = sample(name)
    if name in REGISTRY:
        # A registry file may say more shortly what the record states in full.
        example = REGISTRY[name](**example).model_dump(mode="json")
    return message | {"payload": _draft_7(payload), "examples": [{"payload": example}]}


def _draft_7(schema: Any) -> Any:
    """A schema in the words of AsyncAPI's own dialect, which is JSON Schema's draft 7 and more: tuples differ."""
    if isinstance(schema, list):
        return [_draft_7(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _draft_7(value) for key, value in schema.items()}
    if isinstance(plain.get("prefixItems"), list):
        plain["items"] = plain.pop("prefixItems")
        plain["additionalItems"] = False
    return plain
