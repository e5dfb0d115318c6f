"""A unit: all that belongs to one partition number, and the only one that writes its outputs.

Rule (design, section 3): opening is restore, fence, restore what came meanwhile, read the committed source offsets, go.
A batch is computed, committed in one transaction, then indexed. Any failure of a commit closes the unit; opening again
is always the full opening, and only after the group has confirmed that the partition is still ours.

    closed -> opening -> open -> closed        (the partition was lost, or the worker stops)
                 ^         |
                 +- failed <                   (a commit failed, or the opening did)
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas.errors import HeadwaterError
from schemas.topics import INPUTS
from streams.core.apply import apply, apply_without_poison
from streams.core.outcome import Outcome, Scope
from streams.core.review import RANGES, review
from streams.worker import metrics
from streams.worker.restore import Restorer
from streams.worker.store import open_store
from streams.worker.transaction import DEADLINE_S, Transactions
from streams.worker.windows import UnitWindows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from schemas.settings import Settings
    from streams.worker.driver import Batch, Flow
    from streams.worker.registry_feed import RegistryFeed
    from streams.worker.store import Store

log = structlog.get_logger()

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
SETTLED_S: Final = 20.0
"""A unit that was open for so long starts with the first pause again."""
REVIEWED_AT_ONCE: Final = 1_000
"""State entries looked at in one go where the registry has changed: some tens of milliseconds at most."""
LARGE_BATCH: Final = 500
"""A batch of more records waits for its turn."""
TURNS: Final = 2
"""Large batches under way in a process: one computes while one commits. A commit is several round trips, and each
waits for whoever computes meanwhile."""


class Unit:
    """One partition's store, producer and position. `start` and `close` frame its life; `take` handles a batch."""

    def __init__(
        self,
        settings: Settings,
        partition: int,
        *,
        cluster_id: str,
        flow: Flow,
        registry: RegistryFeed,
        confirm: Callable[[], Awaitable[bool]],
        log_range: Callable[[TopicPartition], Awaitable[tuple[int, int]]],
        turns: asyncio.Semaphore,
    ) -> None:
        self.partition = partition
        self.state = "closed"
        self.positions: dict[str, int] = {}
        self.highwaters: dict[str, int] = {}
        self.last_commit = time.monotonic()
        self.windows: UnitWindows | None = None
        self._settings = settings
        self._cluster_id = cluster_id
        self._flow = flow
        self._registry = registry
        self._confirm = confirm
        self._log_range = log_range
        self._turns = turns
        self._lock = asyncio.Lock()
        self._failed = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._store: Store | None = None
        self._transactions: Transactions | None = None
        self._epochs: dict[str, int] = {}

    def start(self) -> None:
        """Open in the background, and again after each failure."""
        self._task = asyncio.create_task(self._live(), name=f"unit-{self.partition}")

    async def close(self) -> None:
        """Finish the batch in hand and let go of the partition."""
        self._closing = True
        self._hold()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        async with self._lock:
            await self._shut()
        self.state = "closed"

    def rewind(self) -> None:
        """Fetch again from where the unit stands; what was fetched before is dropped."""
        if self.state == "open":
            for topic in INPUTS:
                self._epochs[topic] = self._flow.release(TopicPartition(topic, self.partition), self.positions[topic])

    async def take(self, batch: Batch) -> None:
        """Compute, commit and index a batch; never raises for what the batch holds or Kafka does."""
        async with self._lock:
            if self.state != "open" or batch.epoch != self._epochs.get(batch.topic):
                return
            with self._failing(batch):
                lost = await self._continues(batch)
                if lost is not None:
                    async with self._turns if len(batch.records) > LARGE_BATCH else nullcontext():
                        await self._process(batch)
                    metrics.LOST.inc(lost)

    async def review(self) -> None:
        """Where the registry has changed, look again at all that is known, page by page, between batches.

        What is not done when the unit closes, or the registry changes once more, is begun anew.
        """
        target = self._registry.position
        since = self._store.reviewed if self._store is not None else target
        if self.state != "open" or since == target:
            return
        # A topic that was created again says nothing of what came after what.
        known = self._registry.traces_since(since) if since < target else [b""]
        began = time.monotonic()
        for start, end in RANGES:
            after = start
            while self._registry.position == target:
                async with self._lock:
                    store = self._store
                    if self.state != "open" or store is None:
                        return
                    page = next(store.pages(after, end, REVIEWED_AT_ONCE), None)
                    if page is None:
                        break
                    with self._failing():
                        await self._review_page(page, store, known)
                after = page[-1][0] + b"\0"
                await asyncio.sleep(0)
        async with self._lock:
            if self.state == "open" and self._store is not None and self._registry.position == target:
                self._store.note_review(target)
                seconds = round(time.monotonic() - began, 2)
                log.info("registry_applied", partition=self.partition, position=target, seconds=seconds)

    async def _review_page(self, page: list[tuple[bytes, bytes]], store: Store, known: list[bytes]) -> None:
        scope = Scope(self.partition, self._settings.partitions, self._registry.registry)
        outcome = review(page, store, scope, self._registry.changed_ms, known)
        if any(outcome.outputs.values()):
            await self._commit(outcome, None)
            metrics.count(outcome, 0)

    @contextmanager
    def _failing(self, batch: Batch | None = None) -> Iterator[None]:
        """Whatever goes wrong within closes the unit, and only a cancellation goes on."""
        try:
            yield
        except (HeadwaterError, KafkaError, OSError) as error:
            if batch is not None:
                self._flow.pace(len(batch.records), DEADLINE_S)
            self._fail(error)
        except Exception as error:
            where = {"topic": batch.topic, "start": batch.start} if batch is not None else {}
            log.exception("unit_crashed", partition=self.partition, **where)
            self._fail(error)
        except BaseException:
            # Cancelled between a commit and its index, the unit would take the batch twice.
            self._fail(HeadwaterError("cancelled with a batch in hand"))
            raise

    async def _live(self) -> None:
        pause = FIRST_PAUSE_S
        failures = 0
        while not self._closing:
            self._failed.clear()
            try:
                if failures and not await self._confirm():
                    await asyncio.sleep(pause)
                    continue
                await self._open()
            except (HeadwaterError, KafkaError, OSError) as error:
                self._fail(error)
            except Exception as error:
                log.exception("unit_crashed", partition=self.partition)
                self._fail(error)
            opened = time.monotonic()
            await self._failed.wait()
            failures += 1
            metrics.REOPENED.inc()
            async with self._lock:
                await self._shut()
            if time.monotonic() - opened > SETTLED_S:
                pause = FIRST_PAUSE_S
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _open(self) -> None:
        began = time.monotonic()
        self.state = "opening"
        store = self._store = open_store(self._settings.state_dir / self._settings.app / str(self.partition))
        why = store.fits(self._cluster_id, self._settings.partitions)
        if why:
            log.warning("state_wiped", partition=self.partition, why=why)
            store.wipe()
        store.begin(self._cluster_id, self._settings.partitions)
        restorer = Restorer(self._settings, self.partition, store)
        try:
            await restorer.open()
            store.begin(self._cluster_id, self._settings.partitions)
            await restorer.catch_up()
            transactions = self._transactions = Transactions(self._settings, self.partition)
            await transactions.open()
            await restorer.catch_up()
            self.positions = await restorer.committed(INPUTS)
        finally:
            await restorer.close()
        self.windows = UnitWindows(store, int(time.time() // 60))
        self.state = "open"
        self.last_commit = time.monotonic()
        self.rewind()
        seconds = time.monotonic() - began
        metrics.RESTORE_SECONDS.observe(seconds)
        log.info("unit_open", partition=self.partition, restored=restorer.records, seconds=round(seconds, 2))

    async def _continues(self, batch: Batch) -> int | None:
        """How many records Kafka deleted between the unit and the batch; None where the batch is not the next."""
        position = self.positions[batch.topic]
        first = batch.records[0].offset
        if batch.start == position == first:
            return 0
        tp = TopicPartition(batch.topic, batch.partition)
        if first != position:
            log_start, log_end = await self._log_range(tp)
            if position < log_start <= first:
                lost = log_start - position
                log.error("records_lost", topic=tp.topic, partition=tp.partition, lost=lost, log_start=log_start)
                return lost
            if log_end < position:
                log.error("log_replaced", topic=tp.topic, partition=tp.partition, position=position, log_end=log_end)
                return 0
        if batch.start == position < first:
            return 0
        log.warning("position_restored", topic=tp.topic, partition=tp.partition, fetched=batch.start, position=position)
        self._epochs[batch.topic] = self._flow.release(tp, position)
        return None

    async def _process(self, batch: Batch) -> None:
        store = self._store
        if store is None:
            raise HeadwaterError("the unit is not open")
        began = time.monotonic()
        outcome = self._compute(batch, store)
        if outcome is None:
            for half in batch.halves():
                await self._process(half)
            return
        computed = time.monotonic()
        await self._commit(outcome, batch)
        self.positions[batch.topic] = batch.next
        self.highwaters[batch.topic] = batch.highwater
        committed = self.last_commit
        metrics.count(outcome, len(batch.records))
        metrics.TRANSACTION_SECONDS.observe(committed - computed)
        seconds = time.monotonic() - began
        metrics.BATCH_SECONDS.observe(seconds)
        self._flow.pace(len(batch.records), seconds)

    async def _commit(self, outcome: Outcome, batch: Batch | None) -> None:
        """Write an outcome, with its batch's next offset, in one transaction; then index it."""
        store, transactions, windows = self._store, self._transactions, self.windows
        if store is None or transactions is None or windows is None:
            raise HeadwaterError("the unit is not open")
        if batch is None:
            ends = await transactions.commit(outcome.outputs, None)
        else:
            ends = await transactions.commit(outcome.outputs, TopicPartition(batch.topic, self.partition), batch.next)
        self.last_commit = time.monotonic()
        store.write(
            outcome.puts,
            {
                topic: end
                for (topic, partition), end in ends.items()
                if partition == self.partition and topic not in INPUTS
            },
        )
        windows.change(outcome.pane_changes)

    def _compute(self, batch: Batch, store: Store) -> Outcome | None:
        """The batch's outcome; None where only its halves, one after the other, can show which record is to blame."""
        scope = Scope(self.partition, self._settings.partitions, self._registry.registry)
        try:
            return apply(batch.topic, batch.records, store, scope)
        except Exception:
            log.exception("batch_failed", topic=batch.topic, partition=self.partition, start=batch.start)
        try:
            outcome, problems = apply_without_poison(batch.topic, batch.records, store, scope)
        except Exception:
            if len(batch.records) == 1:
                raise
            return None
        for problem in problems:
            log.error("record_refused", topic=batch.topic, partition=self.partition, problem=problem)
        return outcome

    def _hold(self) -> None:
        for topic in INPUTS:
            self._flow.hold(TopicPartition(topic, self.partition))

    def _fail(self, error: Exception) -> None:
        self.state = "failed"
        self._hold()
        self._failed.set()
        log.warning("unit_failed", partition=self.partition, error=str(error) or repr(error))

    async def _shut(self) -> None:
        windows, self.windows = self.windows, None
        if windows is not None:
            windows.close()
        transactions, self._transactions = self._transactions, None
        store, self._store = self._store, None
        if transactions is not None:
            await transactions.close()
        if store is not None:
            await asyncio.to_thread(store.close)

    @property
    def store(self) -> Store | None:
        """The store while the unit is open."""
        return self._store
