"""``headwater campaigns``: the registry of sites and campaigns."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from schemas.registry import CampaignEntry, SiteEntry
    from schemas.settings import Settings

campaigns = typer.Typer(help="The registry of sites and campaigns.", no_args_is_help=True)


@campaigns.command()
def apply(file: Annotated[Path, typer.Argument(help="YAML with `sites` and `campaigns`.")]) -> None:
    """Write the sites and campaigns of FILE into the registry; nothing is written unless all of it is right."""
    from schemas.settings import current_settings
    from streams.cli.registry_file import read_registry_file

    entries = read_registry_file(file)
    asyncio.run(write_registry(current_settings(), entries))
    for entry in entries:
        typer.echo(entry.key)


async def write_registry(settings: Settings, entries: list[SiteEntry | CampaignEntry]) -> None:
    """Write entries to the topic ``campaigns``, in one transaction-free, acknowledged sequence."""
    from aiokafka import AIOKafkaProducer
    from aiokafka.errors import KafkaConnectionError, KafkaError

    from schemas.errors import Unavailable
    from schemas.settings import kafka_client_options

    producer = AIOKafkaProducer(**kafka_client_options(settings), acks="all", enable_idempotence=True)
    try:
        await producer.start()
        for entry in entries:
            await producer.send_and_wait("campaigns", entry.model_dump_json().encode(), key=entry.key.encode())
    except (KafkaConnectionError, KafkaError, OSError) as error:
        raise Unavailable(f"Kafka at {settings.kafka}: {error}") from None
    finally:
        await producer.stop()
