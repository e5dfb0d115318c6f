"""The units of one worker process: opened and closed as the group assigns partitions.

Rule: all input topics of one partition number come together. A rebalance leaves kept units open and only fetches again
from where they stand; units of lost partitions finish the batch in hand and close (design, section 3).
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from schemas.errors import ConfigurationError, Unavailable
from schemas.incarnations import incarnations
from schemas.kafka_clients import stop_consumer
from schemas.settings import Settings, kafka_client_options
from schemas.topics import INPUTS, STATE, TOPICS
from streams.worker import metrics
from streams.worker.life import State
from streams.worker.store import limit_memory
from streams.worker.unit import TURNS, Unit, wall_clock
from streams.worker.window_metrics import WindowMetrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from streams.worker.flow import Batch, Flow
    from streams.worker.registry_feed import RegistryFeed

log = structlog.get_logger()

_REVIEW_S = 1.0
_WATCH_S = 2.0
_ANSWER_S = 5.0
"""Kafka that takes longer to say how long its logs are is away."""


class Units:
    """All units of the process, by partition number."""

    def __init__(
        self, settings: Settings, flow: Flow, registry: RegistryFeed, confirm: Callable[[], Awaitable[bool]]
    ) -> None:
        limit_memory(settings.worker_memory_mb)
        self.windows = WindowMetrics(most_campaigns=settings.window_campaigns)
        self.clock: Callable[[], int] = wall_clock
        self._settings = settings
        self._flow = flow
        self._registry = registry
        self._confirm = confirm
        self._units: dict[int, Unit] = {}
        self._closing: dict[int, asyncio.Task[None]] = {}
        self._offsets: AIOKafkaConsumer | None = None
        self._watching: list[asyncio.Task[None]] = []
        self._not_open: dict[int, float] = {}
        self._behind: set[int] = set()
        self._assigned = False
        self._lacking: list[str] = []
        self._away: float | None = None
        self._missing = ""
        self._turns = asyncio.Semaphore(TURNS)

    async def start(self) -> None:
        """Connect; may be tried again after `stop`.

        Raises `ConfigurationError` where the topics do not fit the settings, `Unavailable` where some are missing.
        """
        offsets = self._offsets = AIOKafkaConsumer(
            **kafka_client_options(self._settings), isolation_level="read_committed"
        )
        await offsets.start()
        admin = AIOKafkaAdminClient(**kafka_client_options(self._settings))
        try:
            await admin.start()
            there = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(list(TOPICS))}
        finally:
            await admin.close()
        missing = [name for name in TOPICS if not there.get(name)]
        if missing:
            raise Unavailable(f"topics {', '.join(missing)} are missing: create them by `headwater topics`")
        for name, topic in TOPICS.items():
            number = 1 if topic.single else self._settings.partitions
            if there[name] != number:
                raise ConfigurationError(
                    f"topic {name} has {there[name]} partitions, not {number} (HEADWATER_PARTITIONS); "
                    "their number never changes in place"
                )
        self._watching = [
            asyncio.create_task(self._watch_lag(offsets), name="lag"),
            asyncio.create_task(self.windows.follow(), name="windows"),
            asyncio.create_task(self.windows.stated.follow(self._settings), name="stated costs"),
            asyncio.create_task(self._review(), name="review"),
        ]

    async def assign(self, assigned: Iterable[TopicPartition]) -> None:
        """Keep, open and close units as `assigned` says.

        All inputs of a partition belong to one unit. Where it came without some, as when a topic has been deleted, it
        has no unit until all are there.
        """
        numbers: dict[int, set[str]] = {}
        for tp in assigned:
            numbers.setdefault(tp.partition, set()).add(tp.topic)
        self._lacking = sorted({topic for topics in numbers.values() for topic in INPUTS if topic not in topics})
        if self._lacking:
            incomplete = sorted(number for number, topics in numbers.items() if len(topics) < len(INPUTS))
            log.error("partitions_incomplete", partitions=incomplete, lacking=self._lacking)
            numbers = {number: topics for number, topics in numbers.items() if number not in incomplete}
        kept = self._units.keys() & numbers.keys()
        for number in self._units.keys() - numbers.keys():
            self._close(number)
        for number in sorted(numbers):
            unit = self._units.get(number)
            if unit is not None:
                unit.rewind()
                continue
            self._units[number] = unit = Unit(
                self._settings,
                number,
                flow=self._flow,
                registry=self._registry,
                confirm=self._confirm,
                log_range=self._log_range,
                turns=self._turns,
                incarnations=self._incarnations,
            )
            unit.clock = self.clock
            closing = self._closing.get(number)
            if closing is not None:
                await closing
            unit.start()
        self._assigned = True
        log.info("partitions_assigned", partitions=sorted(numbers), kept=sorted(kept))

    async def take(self, batch: Batch) -> None:
        """Hand a batch to its unit."""
        unit = self._units.get(batch.partition)
        if unit is not None:
            await unit.take(batch)

    def ready(self) -> tuple[bool, str]:
        """Whether the group has assigned partitions and all of them are open; else why not."""
        if not self._assigned:
            return False, "the group has not assigned partitions yet"
        if self._lacking:
            return False, f"partitions came without {', '.join(self._lacking)}: are the topics there?"
        waiting = [unit for _, unit in sorted(self._units.items()) if unit.state is not State.OPEN]
        if waiting:
            return False, "not open: " + ", ".join(f"{unit.partition} ({_why(unit)})" for unit in waiting)
        if self._missing:
            return False, self._missing
        if self._away is not None:
            return False, f"Kafka has not answered for {time.monotonic() - self._away:.0f} s"
        return True, "ready"

    async def stop(self) -> None:
        """Finish the batches in hand and close all units."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for number in list(self._units):
            self._close(number)
        await asyncio.gather(*self._closing.values())
        if self._offsets is not None:
            await stop_consumer(self._offsets)

    def _close(self, number: int) -> None:
        unit = self._units.pop(number)
        for topic in INPUTS:
            self._flow.hold(TopicPartition(topic, number))
        self.windows.units.pop(number, None)
        task = asyncio.create_task(unit.close(), name=f"close-{number}")
        self._closing[number] = task
        task.add_done_callback(lambda _: self._closing.pop(number, None))
        for topic in INPUTS:
            _forget(metrics.LAG, topic, str(number))
        for gauge in (
            metrics.COMMIT_AGE,
            metrics.OPENING,
            metrics.PARTITION_STATE,
            metrics.RESTORE_LEFT,
            metrics.RESTORE_ETA,
        ):
            _forget(gauge, str(number))
        self._not_open.pop(number, None)
        self._behind.discard(number)

    async def _log_range(self, tp: TopicPartition) -> tuple[int, int]:
        if self._offsets is None:
            raise Unavailable("the worker is not connected")
        start = (await self._offsets.beginning_offsets([tp]))[tp]
        end = (await self._offsets.end_offsets([tp]))[tp]
        return start, end

    async def _incarnations(self) -> dict[str, str]:
        if self._offsets is None:
            raise Unavailable("the worker is not connected")
        return await incarnations(self._offsets, (*INPUTS, *STATE))

    async def _review(self) -> None:
        """Apply what comes late of the registry to what the units know already, and forget what is out of date."""
        while True:
            await asyncio.sleep(_REVIEW_S)
            for unit in list(self._units.values()):
                await unit.upkeep.review()
                await unit.upkeep.sweep()

    async def _watch_lag(self, offsets: AIOKafkaConsumer) -> None:
        """Measure lag, commit age and state of the units every two seconds, and say which have windows."""
        while True:
            await asyncio.sleep(_WATCH_S)
            self._measure()
            opened = {number: unit for number, unit in self._units.items() if unit.state is State.OPEN}
            self.windows.units = {n: unit.windows for n, unit in opened.items() if unit.windows is not None}
            tps = [TopicPartition(topic, number) for number in opened for topic in INPUTS]
            asked = time.monotonic()
            try:
                async with asyncio.timeout(_ANSWER_S):
                    # Also without a unit: one that lost its units while Kafka was away would never see it come back.
                    ends = await offsets.end_offsets(tps) if tps else {}
                    known = await self._incarnations()
            except UnknownTopicOrPartitionError as error:
                self._missing = str(error)
                continue
            except (KafkaError, OSError) as error:
                if self._away is None:
                    self._away = asked
                    log.warning("kafka_unreachable", error=repr(error))
                continue
            self._missing = ""
            if self._away is not None:
                log.info("kafka_answers", seconds=round(time.monotonic() - self._away, 1))
                self._away = None
            for number, unit in opened.items():
                await unit.know(known)
                if self._units.get(number) is not unit or unit.state is not State.OPEN:
                    continue
                behind = 0
                for topic in INPUTS:
                    tp = TopicPartition(topic, number)
                    lag = max(0, ends[tp] - max(unit.positions[topic], self._flow.idle_at(tp)))
                    metrics.LAG.labels(topic, str(number)).set(lag)
                    behind += lag
                (self._behind.add if behind else self._behind.discard)(number)

    def _measure(self) -> None:
        """State and ages, by what is known here: ages grow also while Kafka is away or a unit does not open."""
        now = time.monotonic()
        state = 0
        for number, unit in self._units.items():
            if unit.state is State.OPEN:
                self._not_open.pop(number, None)
            since = self._not_open.setdefault(number, now) if unit.state is not State.OPEN else now
            metrics.OPENING.labels(str(number)).set(now - since)
            metrics.COMMIT_AGE.labels(str(number)).set(now - unit.last_commit if number in self._behind else 0)
            if unit.store is not None:
                size = unit.store.size()
                metrics.PARTITION_STATE.labels(str(number)).set(size)
                state += size
        metrics.STATE_BYTES.set(state)


def _why(unit: Unit) -> str:
    return f"{unit.state}: {unit.trouble.text}" if unit.trouble.text else unit.state


def _forget(gauge: object, *labels: str) -> None:
    """Drop a labelled series that may not be there."""
    metric = gauge
    if labels in metric._metrics:  # type: ignore[attr-defined]  # noqa: SLF001
        metric.remove(*labels)  # type: ignore[attr-defined]
