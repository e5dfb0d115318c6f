"""Which life of a topic is the present one: cluster id and topic id.

Rule: offsets mean something only within one incarnation of a topic; who keeps some keeps it beside them. Topic ids need
Metadata v10 (Kafka 2.8), which aiokafka 0.14 has not; it is spelled out here.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import AIOKafkaConsumer
    from aiokafka.admin import AIOKafkaAdminClient

_NO_ID: Final = (0, 0)
_UUID: Final = (("id_high", Int64), ("id_low", Int64))


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                *_UUID,
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequest(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(*_UUID, ("topic", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Metadata(Request[_MetadataRequest]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics: list[tuple[Any, ...]] = [(*_NO_ID, topic, {}) for topic in topics]

    def build(self, request_struct_class: type[_MetadataRequest]) -> _MetadataRequest:
        return request_struct_class(self._topics, False, False, False, {})


async def incarnations(asking: AIOKafkaAdminClient | AIOKafkaConsumer, topics: Iterable[str]) -> dict[str, str]:
    """Topic -> ``CLUSTER_ID/TOPIC_ID``, without creating what is missing.

    Raises `UnknownTopicOrPartitionError` naming the topics that do not exist, other `KafkaError` where Kafka does not
    answer, `ConfigurationError` where it is older than 2.8.
    """
    client = asking._client  # noqa: SLF001  # neither sends requests of others
    try:
        response: Any = await client.send(client.get_random_node(), _Metadata(topics))
    except NotImplementedError:
        raise ConfigurationError("Kafka is older than 2.8: it does not tell topic ids") from None
    found, missing = {}, []
    for error_code, topic, high, low, *_ in response.topics:
        if error_code == UnknownTopicOrPartitionError.errno:
            missing.append(topic)
        elif error_code:
            raise for_code(error_code)(topic)
        else:
            number = (high % (1 << 64)) << 64 | low % (1 << 64)
            found[topic] = f"{response.cluster_id}/{uuid.UUID(int=number).hex}"
    if missing:
        raise UnknownTopicOrPartitionError(f"missing topics: {', '.join(sorted(missing))}")
    return found
