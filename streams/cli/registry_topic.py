"""The registry as it lies in Kafka: topic ``campaigns``, read to its end and written to.

Rule: nothing is taken out: what was in force is needed for events of that time. A campaign ends by an entry without
destinations from a later moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.registry import CampaignEntry, SiteEntry
    from schemas.settings import Settings

TOPIC = "campaigns"
_TIMEOUT_S = 20


async def read_registry(settings: Settings) -> dict[str, SiteEntry | CampaignEntry]:
    """All entries by key, in the order of their keys; what is no valid entry is passed over. Raises `Unavailable`."""
    import asyncio

    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.errors import KafkaConnectionError, KafkaError
    from pydantic import TypeAdapter, ValidationError

    from schemas.errors import Unavailable
    from schemas.registry import Entry
    from schemas.settings import kafka_client_options

    read = TypeAdapter[Any](Entry).validate_json
    options = kafka_client_options(settings)
    consumer = AIOKafkaConsumer(**options, isolation_level="read_committed", enable_auto_commit=False)
    found: dict[str, SiteEntry | CampaignEntry] = {}
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await consumer.start()
            if TOPIC not in await consumer.topics():
                raise Unavailable(f"Kafka at {settings.kafka} lacks the topic {TOPIC}; `headwater topics` creates it")
            partition = TopicPartition(TOPIC, 0)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        if record.value is None:
                            continue
                        try:
                            entry = read(record.value)
                        except ValidationError:
                            continue
                        found[entry.key] = entry
    except (KafkaConnectionError, KafkaError, OSError) as error:
        raise Unavailable(f"Kafka at {settings.kafka}: {error or type(error).__name__}") from None
    finally:
        await consumer.stop()
    return dict(sorted(found.items()))


async def write_registry(settings: Settings, entries: Iterable[SiteEntry | CampaignEntry]) -> None:
    """Write entries, acknowledged by all replicas in sync. Raises `Unavailable`."""
    import asyncio

    from aiokafka import AIOKafkaProducer
    from aiokafka.errors import KafkaConnectionError, KafkaError

    from schemas.errors import Unavailable
    from schemas.settings import kafka_client_options

    producer = AIOKafkaProducer(**kafka_client_options(settings), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        sent = [
            await producer.send(TOPIC, entry.model_dump_json().encode(), key=entry.key.encode()) for entry in entries
        ]
        await asyncio.gather(*sent)
    except (KafkaConnectionError, KafkaError, OSError) as error:
        raise Unavailable(f"Kafka at {settings.kafka}: {error}") from None
    finally:
        await producer.stop()
