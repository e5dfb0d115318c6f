"""``headwater topics``: create the topics that are missing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from schemas.settings import Settings


def topics() -> None:
    """Create the topics that are missing; those that are there are left as they are, and checked."""
    from schemas.settings import current_settings

    for line in asyncio.run(create_topics(current_settings())):
        typer.echo(line)


async def create_topics(settings: Settings) -> list[str]:
    """Create missing topics; a line for each topic. Raises `ConfigurationError`, `Unavailable`."""
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

    from schemas.errors import ConfigurationError, Unavailable
    from schemas.settings import kafka_client_options
    from schemas.topics import TOPICS

    admin = AIOKafkaAdminClient(**kafka_client_options(settings))
    try:
        await admin.start()
    except (KafkaConnectionError, OSError) as error:
        await admin.close()
        raise Unavailable(f"Kafka at {settings.kafka} does not answer: {error}") from None
    try:
        wanted = {name: 1 if topic.single else settings.partitions for name, topic in TOPICS.items()}
        there = set(await admin.list_topics())
        lines = []
        for topic in await admin.describe_topics([name for name in wanted if name in there]):
            name, number = topic["topic"], len(topic["partitions"])
            if number != wanted[name]:
                raise ConfigurationError(f"topic {name} has {number} partitions, not {wanted[name]}")
            lines.append(f"{name}: there, {number} partitions")
        missing = [name for name in wanted if name not in there]
        if missing:
            new = [
                NewTopic(name, wanted[name], settings.replication, topic_configs=TOPICS[name].config)
                for name in missing
            ]
            response = await admin.create_topics(new)
            for name, code, *_ in response.topic_errors:
                failure = for_code(code)
                if code and failure is not TopicAlreadyExistsError:
                    raise Unavailable(f"topic {name} could not be created: {failure.__name__}")
                lines.append(f"{name}: created, {wanted[name]} partitions")
    except KafkaError as error:
        raise Unavailable(f"Kafka at {settings.kafka}: {error!r}") from None
    finally:
        await admin.close()
    return lines
