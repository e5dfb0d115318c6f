"""The Faust application: four agents, one an input topic, that hand batches to the units.

Rule: agents only pass on and acknowledge; they never raise, and nothing imports them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition
from yarl import URL

from schemas.topics import INPUTS
from streams.worker.driver import App

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable

    from schemas.settings import Settings
    from streams.worker.flow import Batch, Flow
    from streams.worker.rebalance import Rebalance

SESSION_S: Final = 10.0
"""A worker that was not heard of for so long is dead, and its partitions go to others."""
HEARTBEAT_S: Final = 1.0
"""A worker hears of a rebalance by its next heartbeat, and all wait for the last to hear."""
METADATA_MS: Final = 10_000
"""A topic that was deleted, or is there again, is noticed after so long."""


def create_app(
    settings: Settings,
    flow: Flow,
    *,
    rebalance: Rebalance,
    member: str | None,
    take: Callable[[Batch], Awaitable[None]],
    on_assigned: Callable[[Iterable[TopicPartition]], Awaitable[None]],
) -> App:
    """The application for these settings; `take` gets every batch, `on_assigned` every confirmed assignment.

    `member` is what the group knows this process by (`streams.worker.membership`).
    """
    datadir = settings.state_dir / "faust"
    datadir.mkdir(parents=True, exist_ok=True)
    app = App(
        settings.app,
        flow=flow,
        rebalance=rebalance,
        broker=[URL(f"kafka://{server.strip()}") for server in settings.kafka.split(",")],
        broker_credentials=_credentials(settings),
        datadir=str(datadir),
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_group_instance_id=member,
        broker_session_timeout=SESSION_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_max_poll_interval=3600.0,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MS,
        consumer_max_fetch_size=4 << 20,
        stream_buffer_maxsize=16,
        stream_wait_empty=True,
        logging_config=None,
        loghandlers=[],
    )
    for name in INPUTS:
        _add_agent(app, name, flow, take)

    @app.on_partitions_assigned.connect  # type: ignore[arg-type] # it is called with the set
    async def _assigned(_sender: Any, assigned: set[Any], **_: Any) -> None:
        await on_assigned([TopicPartition(tp.topic, tp.partition) for tp in assigned if tp.topic in INPUTS])

    return app


def _add_agent(app: App, name: str, flow: Flow, take: Callable[[Batch], Awaitable[None]]) -> None:
    topic = app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(topic, isolated_partitions=True, name=f"headwater.{name}")
    async def _agent(stream: Any) -> None:
        async for event in stream.noack().events():
            batch: Batch = event.value
            try:
                await take(batch)
            finally:
                flow.done(TopicPartition(batch.topic, batch.partition), batch.epoch)
                event.ack()


def _credentials(settings: Settings) -> Any:
    from faust import SASLCredentials, SSLCredentials

    from schemas.settings import kafka_client_options

    options = kafka_client_options(settings)
    context: ssl.SSLContext | None = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return SASLCredentials(
            mechanism=options["sasl_mechanism"],
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            ssl_context=context,
        )
    return SSLCredentials(context=context) if context is not None else None
