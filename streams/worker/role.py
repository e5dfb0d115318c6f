"""The worker's life: connect, run the Faust application and the units, serve metrics, stop cleanly.

Rule: SIGTERM and SIGINT finish the batch in hand. Where Kafka is away, or its topics are not there yet, the worker says
so and waits; what only an operator can mend, and an application that crashes, ends the process with an error, and
whoever supervises it starts it again.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka.errors import KafkaError

from schemas.errors import ConfigurationError, HeadwaterError, Unavailable
from sinks.prometheus.server import MetricsServer
from streams.core.compiled import compiled
from streams.worker.app import create_app
from streams.worker.flow import Flow
from streams.worker.membership import Membership
from streams.worker.readiness import Readiness
from streams.worker.rebalance import Rebalance
from streams.worker.registry_feed import RegistryFeed
from streams.worker.units import Units

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import TopicPartition

    from schemas.settings import Settings
    from streams.worker.driver import App

log = structlog.get_logger()

RETRY_S: Final = 2.0
"""Between two attempts to reach Kafka at the start."""
WATCH_S: Final = 1.0
FEW_OBJECTS: Final = 5_000
"""Fewer new ones are not worth a search for garbage."""
MANY_OBJECTS: Final = 100_000
"""With more of them there is a batch in hand."""
GC_THRESHOLD: Final = 3_000_000
"""Objects more than at the last search after which Python itself looks for garbage: more than two large batches."""
STOP_S: Final = 8.0
"""A stop in order that takes longer is cut short."""


class Worker:
    """One worker process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._flow = Flow(settings.worker_batch_events)
        self._membership = Membership(settings.state_dir / settings.app)
        self._rebalance = Rebalance()
        self._registry = RegistryFeed(settings)
        self.units = Units(settings, self._flow, self._registry, self._still_member)
        self._readiness = Readiness()
        self._waiting = ""
        """Why Kafka cannot be worked with yet."""
        self._app: App | None = None
        self._generation = 0
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Run until a signal or a crash; raises `HeadwaterError` on the latter."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        server = MetricsServer(
            self._settings.worker_host, self._settings.worker_metrics_port, self.ready, more=self.units.windows.text
        )
        try:
            await server.start()
        except OSError as error:
            await self.units.stop()
            raise ConfigurationError(
                f"metrics cannot be served on {server.host}:{server.port}, set HEADWATER_WORKER_METRICS_PORT: {error}"
            ) from None
        try:
            await self._serve()
        finally:
            await server.stop()
            self._membership.release()

    async def _serve(self) -> None:
        watching = asyncio.create_task(self._watch(), name="readiness")
        connecting = asyncio.create_task(self._connect(), name="connect")
        asked = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({connecting, asked}, return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
                await self._work()
            else:
                log.info("worker_stopped")
        finally:
            for task in (watching, connecting, asked):
                task.cancel()
            await asyncio.gather(watching, connecting, asked, return_exceptions=True)

    async def _connect(self) -> None:
        """Wait until Kafka answers and has the topics; raises `ConfigurationError` where they are not ours."""
        while why := await self._lacking():
            self._waiting = why
            self._readiness.watch((False, why), time.monotonic(), at_once=True)
            await asyncio.sleep(RETRY_S)
        self._waiting = ""

    async def _lacking(self) -> str:
        """Connect, and what is missing for that."""
        try:
            await self.units.start()
            await self._registry.start()
        except BaseException as error:
            await self.units.stop()
            await self._registry.stop()
            if isinstance(error, KafkaError | OSError):
                return f"Kafka at {self._settings.kafka} does not answer: {error}"
            if isinstance(error, Unavailable):
                return str(error)
            raise
        return ""

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            self._readiness.watch(self.ready(), time.monotonic())
            if FEW_OBJECTS < gc.get_count()[0] < MANY_OBJECTS:
                gc.collect(1)

    async def _work(self) -> None:
        app = self._app = create_app(
            self._settings,
            self._flow,
            rebalance=self._rebalance,
            member=self._membership.claim(),
            take=self.units.take,
            on_assigned=self._assigned,
        )
        app.finalize()
        # What lives as long as the process need not be looked at by every collection. Batches make very many objects
        # and hardly a cycle: looking for those in the midst of a batch took 5 % of the time, between two it takes none.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 100)
        await app.start()
        log.info(
            "worker_started",
            app=self._settings.app,
            kafka=self._settings.kafka,
            core="python" if compiled is None else "compiled",
        )
        stopped = asyncio.create_task(app.wait_until_stopped())
        asked = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopped, asked}, return_when=asyncio.FIRST_COMPLETED)
        crashed = not self._stopping.is_set() or self._failure is not None
        await self._stop(app)
        for task in (stopped, asked):
            task.cancel()
        if self._failure is not None:
            raise self._failure
        if crashed:
            raise Unavailable("the Faust application stopped by itself")
        log.info("worker_stopped")

    async def _stop(self, app: App) -> None:
        async def in_order() -> None:
            await app.stop()
            await self.units.stop()
            await self._registry.stop()

        _, late = await asyncio.wait({asyncio.create_task(in_order())}, timeout=STOP_S)
        if late:
            # Kafka is away, and its client does not let go. Nothing is lost: a kill at any moment is survived.
            log.warning("stop_cut_short", seconds=STOP_S)
            sys.stderr.flush()
            os._exit(0 if self._failure is None else 1)

    def ready(self) -> tuple[bool, str]:
        """Whether the worker works, else why not."""
        return (False, self._waiting) if self._waiting else self.units.ready()

    async def _assigned(self, assigned: Iterable[TopicPartition]) -> None:
        try:
            assigned = list(assigned)
            if not assigned:
                self._rebalance.idle()
            await self.units.assign(assigned)
            if self._app is not None:
                self._generation = self._app.consumer_generation_id
        except HeadwaterError as error:
            self._failure = error
            self._stopping.set()

    async def _still_member(self) -> bool:
        """Whether the group says, now, that the assignment we work by is the one in force."""
        if self._app is None:
            return False
        consumer: Any = self._app.consumer
        thread = consumer._thread  # noqa: SLF001
        coordinator = thread._ensure_consumer()._coordinator  # noqa: SLF001
        if coordinator.generation != self._generation:
            return False
        found: bool = await thread.call_thread(partial(_ask, coordinator))
        return found and coordinator.generation == self._generation


async def _ask(coordinator: Any) -> bool:
    """Whether the group, asked now, still has the generation that its client knows; runs in the client's thread.

    Not while the client is about to join: the answer would be that the generation is an old one, which makes it join
    once more, and so on.
    """
    if coordinator._rejoin_needed_fut.done():  # noqa: SLF001
        return False
    found: bool = await coordinator._do_heartbeat()  # noqa: SLF001
    return found


def run(settings: Settings) -> None:
    """Run a worker in this process."""
    import uvloop

    uvloop.install()

    async def main() -> None:
        await Worker(settings).run()

    asyncio.run(main())
