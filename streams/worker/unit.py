"""A unit: all that belongs to one partition number, and the only one that writes its outputs.

Rule (design, section 3): opening is restore, fence, restore what came meanwhile, read the committed source offsets, go.
A batch is computed, committed in one transaction, then indexed; small ones of several topics go together. Any failure
of a commit closes the unit; opening again is always the full opening, and only after the group has confirmed that the
partition is still ours. The states and their order are in `streams.worker.life`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from schemas.errors import HeadwaterError, Unavailable
from schemas.topics import INPUTS, STATE
from streams.core.apply import apply, apply_without_poison
from streams.core.outcome import Outcome, Scope
from streams.core.state import Ahead
from streams.worker import metrics
from streams.worker.flow import LARGE_BATCH
from streams.worker.life import State, Trouble, move
from streams.worker.restore import Restorer
from streams.worker.store import open_store, state_error
from streams.worker.transaction import DEADLINE_S, Transactions
from streams.worker.unbroken import unbroken
from streams.worker.upkeep import Upkeep
from streams.worker.windows import UnitWindows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from schemas.settings import Settings
    from streams.core.state import View
    from streams.worker.flow import Batch, Flow
    from streams.worker.registry_feed import RegistryFeed
    from streams.worker.store import Store

log = structlog.get_logger()

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
ANSWER_S: Final = 30.0
"""Longest that an opening waits for Kafka to answer a question; reading on has its own watchdog."""
SETTLED_S: Final = 20.0
"""A unit that was open for so long starts with the first pause again."""
LOOKED_AT_ONCE: Final = 1_000
"""State entries looked at in one go: some tens of milliseconds at most."""
TURNS: Final = 2
"""Large batches under way in a process: one computes while one commits. A commit is several round trips, and each
waits for whoever computes meanwhile."""
GATHER_S: Final = 0.002
"""Small batches that were fetched together arrive one after the other within so long."""


class Unit:
    """One partition's store, producer and position. `start` and `close` frame its life; `take` handles a batch."""

    def __init__(
        self,
        settings: Settings,
        partition: int,
        *,
        flow: Flow,
        registry: RegistryFeed,
        confirm: Callable[[], Awaitable[bool]],
        log_range: Callable[[TopicPartition], Awaitable[tuple[int, int]]],
        turns: asyncio.Semaphore,
        incarnations: Callable[[], Awaitable[dict[str, str]]],
    ) -> None:
        self.partition = partition
        self.state = State.CLOSED
        self.trouble = Trouble(partition)
        self.positions: dict[str, int] = {}
        self.highwaters: dict[str, int] = {}
        self.last_commit = time.monotonic()
        self.windows: UnitWindows | None = None
        self.clock: Callable[[], int] = wall_clock
        self.upkeep = Upkeep(self, registry)
        self._settings = settings
        self._flow = flow
        self._registry = registry
        self._confirm = confirm
        self._log_range = log_range
        self._turns = turns
        self._incarnations = incarnations
        self._known: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._waiting: list[Batch] = []
        """Batches that wait for the lock."""
        self._failed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._store: Store | None = None
        self._transactions: Transactions | None = None
        self._epochs: dict[str, int] = {}

    def start(self) -> None:
        """Open in the background, and again after each failure."""
        self._task = asyncio.create_task(self._live(), name=f"unit-{self.partition}")

    async def close(self) -> None:
        """Finish the batch in hand and let go of the partition."""
        self._enter(State.CLOSING)
        self._hold()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        async with self._lock:
            await unbroken(self._shut())
        self._enter(State.CLOSED)

    def rewind(self) -> None:
        """Fetch again from where the unit stands; what was fetched before is dropped."""
        if self.state is State.OPEN:
            for topic in INPUTS:
                self._epochs[topic] = self._flow.release(TopicPartition(topic, self.partition), self.positions[topic])

    async def take(self, batch: Batch) -> None:
        """Compute, commit and index a batch; never raises for what the batch holds or Kafka does.

        A transaction is work for Kafka however little is in it, so small batches that wait at the same time share one.
        """
        self._waiting.append(batch)
        try:
            if _is_small(batch):
                await asyncio.sleep(GATHER_S)
            async with self._lock:
                if batch in self._waiting:
                    together = list(filter(_is_small, self._waiting)) if _is_small(batch) else [batch]
                    self._waiting = [other for other in self._waiting if other not in together]
                    await self._take(together)
        finally:
            if batch in self._waiting:  # it was given up
                self._waiting.remove(batch)
                self._fetch_again(batch)

    def _fetch_again(self, batch: Batch) -> None:
        if self.state is State.OPEN and batch.epoch == self._epochs.get(batch.topic):
            tp = TopicPartition(batch.topic, batch.partition)
            self._epochs[batch.topic] = self._flow.release(tp, self.positions[batch.topic])

    async def _take(self, batches: list[Batch]) -> None:
        batches = [batch for batch in batches if batch.epoch == self._epochs.get(batch.topic)]
        if self.state is not State.OPEN or not batches:
            return
        with self._failing(batches):
            lost = [await self._continues(batch) for batch in batches]
            following = [batch for batch, gap in zip(batches, lost, strict=True) if gap is not None]
            if following:
                async with nullcontext() if _is_small(following[0]) else self._turns:
                    await self._process(following)
                metrics.LOST.inc(sum(gap for gap in lost if gap is not None))

    async def know(self, incarnations: dict[str, str]) -> None:
        """These are the topics; where one was made anew, open anew, and read it from its start."""
        if self.state is State.OPEN and incarnations != self._known:
            async with self._lock:
                if self.state is State.OPEN:
                    made_anew = [topic for topic in incarnations if incarnations[topic] != self._known.get(topic)]
                    self._fail(HeadwaterError(f"{', '.join(made_anew)} made anew"))

    async def look_through(
        self,
        ranges: Iterable[tuple[bytes, bytes]],
        look: Callable[[list[tuple[bytes, bytes]], Store], Awaitable[None]],
        is_current: Callable[[], bool] = lambda: True,
        *,
        pause: float = 0.0,
    ) -> bool:
        """Have `look` see all entries in `ranges`, page by page between batches, while `is_current`.

        Returns whether the unit stayed open so far; `pause` is in seconds, between pages.
        """
        for start, end in ranges:
            after = start
            while is_current():
                async with self._lock:
                    store = self.store
                    if store is None:
                        return False
                    page = next(store.pages(after, end, LOOKED_AT_ONCE), None)
                    if page is None:
                        break
                    with self._failing():
                        await look(page, store)
                after = page[-1][0] + b"\0"
                await asyncio.sleep(pause)
        return True

    @asynccontextmanager
    async def between_batches(self) -> AsyncIterator[Store | None]:
        """The store, with no batch in hand; None where the unit is not open."""
        async with self._lock:
            yield self.store

    async def emit(self, outcome: Outcome) -> None:
        """Commit and index what no batch has brought about; from within `look_through`."""
        await self._commit([outcome])

    def scope(self) -> Scope:
        """Where the unit stands, under the registry as it is now."""
        return Scope(self.partition, self._settings.partitions, self._registry.registry)

    @contextmanager
    def _failing(self, batches: Sequence[Batch] = ()) -> Iterator[None]:
        """Whatever goes wrong within closes the unit, and only a cancellation goes on."""
        try:
            yield
        except (HeadwaterError, KafkaError, OSError) as error:
            if batches:
                self._flow.pace(_largest(batches), DEADLINE_S)
            self._fail(error)
        except Exception as error:
            known = state_error(error, self._path)
            if known is None:
                starts = {batch.topic: batch.start for batch in batches}
                log.exception("unit_crashed", partition=self.partition, starts=starts)
            self._fail(known or error)
        except BaseException:
            # Cancelled between a commit and its index, the unit would take the batch twice.
            self._fail(HeadwaterError("cancelled with a batch in hand"))
            raise

    async def _live(self) -> None:
        """Open, and after each failure let go of everything, wait, and open again."""
        pause = FIRST_PAUSE_S
        while True:
            self._failed.clear()
            with self._failing():
                await self._open()
            opened = time.monotonic()
            await self._failed.wait()
            metrics.REOPENED.inc()
            async with self._lock:
                await unbroken(self._shut())
            if time.monotonic() - opened > SETTLED_S:
                pause = FIRST_PAUSE_S
            await asyncio.sleep(pause)
            while not await self._confirmed():  # noqa: ASYNC110 - the group tells nobody
                await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _confirmed(self) -> bool:
        """Whether the partition is still ours, so that a woken zombie and the new owner do not fence each other."""
        try:
            return await self._confirm()
        except (HeadwaterError, KafkaError, OSError) as error:
            self.trouble.tell(error)
            return False

    async def _open(self) -> None:
        began = time.monotonic()
        self._enter(State.OPENING)
        store = self._store = open_store(self._path)
        async with _answered("say which topics it has"):
            self._known = await self._incarnations()
        why = store.fits(self._cluster_id(), self._settings.partitions)
        why = store.of({topic: self._known[topic] for topic in STATE}) or why
        if why:
            log.warning("state_wiped", partition=self.partition, why=why)
            store.wipe()
        self._mark(store)
        restorer = Restorer(self._settings, self.partition, store)
        try:
            async with _answered("say where its logs begin and end"):
                await restorer.open()
            self._mark(store)
            await restorer.catch_up()
            transactions = self._transactions = Transactions(self._settings, self.partition)
            async with _answered("take the producer"):
                await transactions.open()
            await restorer.catch_up()
            async with _answered("say what is committed"):
                self.positions = await restorer.committed(INPUTS, self._known)
        finally:
            await unbroken(restorer.close())
        self.windows = UnitWindows(store, int(time.time() // 60))
        self.upkeep.begin()
        self._enter(State.OPEN)
        self.last_commit = time.monotonic()
        self.rewind()
        seconds = time.monotonic() - began
        metrics.RESTORE_SECONDS.observe(seconds)
        log.info(
            "unit_open",
            partition=self.partition,
            restored=restorer.records,
            seconds=round(seconds, 2),
            rate=round(restorer.records / max(seconds, 0.001)),
            **self.trouble.over(),
        )

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
        self._fetch_again(batch)
        return None

    async def _process(self, batches: Sequence[Batch]) -> None:
        store = self._store
        if store is None:
            raise HeadwaterError("the unit is not open")
        began = time.monotonic()
        outcomes: list[Outcome] = []
        view: View = store
        for batch in batches:
            outcome = self._compute(batch, view)
            if outcome is None:
                for part in batch.halves() if len(batches) == 1 else batches:
                    await self._process([part])
                return
            outcomes.append(outcome)
            view = Ahead(view, outcome.puts)
        computed = time.monotonic()
        await self._commit(outcomes, batches)
        committed = self.last_commit
        for batch, outcome in zip(batches, outcomes, strict=True):
            self.positions[batch.topic] = batch.next
            self.highwaters[batch.topic] = batch.highwater
            metrics.count(outcome, len(batch.records))
        metrics.TRANSACTION_SECONDS.observe(committed - computed)
        seconds = time.monotonic() - began
        metrics.BATCH_SECONDS.observe(seconds)
        self._flow.pace(_largest(batches), seconds)

    async def _commit(self, outcomes: Sequence[Outcome], batches: Sequence[Batch] = ()) -> None:
        """Write outcomes, with their batches' next offsets, in one transaction; then index them."""
        store, transactions, windows = self._store, self._transactions, self.windows
        if store is None or transactions is None or windows is None:
            raise HeadwaterError("the unit is not open")
        whole, *others = outcomes
        for outcome in others:
            whole.puts |= outcome.puts
            for place, records in outcome.outputs.items():
                whole.into(*place).extend(records)
        offsets = {
            TopicPartition(batch.topic, self.partition): OffsetAndMetadata(batch.next, self._known.get(batch.topic, ""))
            for batch in batches
        }
        ends = await transactions.commit(whole.outputs, offsets)
        self.last_commit = time.monotonic()
        store.latest = max(store.latest, *(outcome.latest for outcome in outcomes))
        store.write(
            whole.puts,
            {
                topic: end
                for (topic, partition), end in ends.items()
                if partition == self.partition and topic not in INPUTS
            },
        )
        for outcome in outcomes:
            windows.change(outcome.pane_changes)

    def _compute(self, batch: Batch, view: View) -> Outcome | None:
        """The batch's outcome; None where only its halves, one after the other, can show which record is to blame."""
        scope = self.scope()
        try:
            return apply(batch.topic, batch.records, view, scope)
        except Exception:
            log.exception("batch_failed", topic=batch.topic, partition=self.partition, start=batch.start)
        try:
            outcome, problems = apply_without_poison(batch.topic, batch.records, view, scope)
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

    def _mark(self, store: Store) -> None:
        """Note in a store that was perhaps just wiped what it belongs to."""
        store.begin(self._cluster_id(), self._settings.partitions)
        store.of({topic: self._known[topic] for topic in STATE})

    def _cluster_id(self) -> str:
        return self._known[STATE[0]].partition("/")[0]

    def _enter(self, state: State) -> None:
        self.state = move(self.state, state)

    def _fail(self, error: Exception) -> None:
        if self.state is State.CLOSING:
            return  # whoever has the partition next takes the batch
        self._enter(State.FAILED)
        self._hold()
        self._failed.set()
        self.trouble.tell(error)

    async def _shut(self) -> None:
        """Let go of everything, whatever fails; to be run `unbroken`."""
        windows, self.windows = self.windows, None
        transactions, self._transactions = self._transactions, None
        store, self._store = self._store, None
        if windows is not None:
            windows.close()
        for close in (transactions and transactions.close, store and partial(asyncio.to_thread, store.close)):
            try:
                if close:
                    await close()
            except Exception as error:  # noqa: BLE001 - what comes next must be let go of too
                # What could not be written out is read again from Kafka.
                self.trouble.tell(state_error(error, self._path) or error)

    @property
    def store(self) -> Store | None:
        """The store while the unit is open."""
        return self._store if self.state is State.OPEN else None

    @property
    def _path(self) -> Path:
        return self._settings.state_dir / self._settings.app / str(self.partition)


@asynccontextmanager
async def _answered(what: str) -> AsyncIterator[None]:
    """Kafka's client tries some things for ever; nobody is to wait so long without a word."""
    try:
        async with asyncio.timeout(ANSWER_S):
            yield
    except TimeoutError:
        raise Unavailable(f"Kafka did not {what} within {ANSWER_S:.0f} s") from None


def _is_small(batch: Batch) -> bool:
    return len(batch.records) <= LARGE_BATCH


def _largest(batches: Iterable[Batch]) -> int:
    """Records of the largest one: what is fetched at once is bounded for each by itself."""
    return max(len(batch.records) for batch in batches)


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
