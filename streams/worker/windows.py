"""Rolling KPI windows of 5 min, 1 h and 24 h, by event time, for Prometheus.

Rule: a window's totals equal the sum of the stored panes of its minutes at every moment, without the cost in whose
place a statement stands (`stated_costs`). Only totals are kept in memory: when a minute passes, the one that enters and
those that leave are read back from the store's panes. A late correction changes every window that holds its minute; a
statement that comes late has the day read anew.

Nothing here may hold a batch up, and a day of panes is much to read. So all work is done in small pieces, between
which batches get their turn. What is read is the store as it was at one moment; what is committed after that moment
waits in `_pending` until the reading is done. A unit that was just opened works at once, and its windows are complete
when its day is read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.core.compiled import bulk
from streams.core.panes import TRAFFIC, add, read_pane
from streams.core.state import pane_key
from streams.worker.stated_costs import is_stated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streams.worker.stated_costs import Spans
    from streams.worker.store import Store

WINDOWS: Final = {"5m": 5, "1h": 60, "24h": 1440}
"""Label -> minutes, the current one included."""
PIECE: Final = 200
"""Panes read, or series changed, in one go: about two milliseconds."""
Series = tuple[str, str, str, str]
"""site, channel, campaign, currency"""
Page = list[tuple[bytes, bytes]]
_COST: Final = TRAFFIC.index("cost_micros")
_LENGTHS: Final = tuple(WINDOWS.values())


class UnitWindows:
    """The windows over one unit's panes. `minute` is the current one, in minutes since the epoch.

    `totals` is label -> series -> numbers as a pane has them, whole where `complete`.
    """

    def __init__(self, store: Store, minute: int) -> None:
        self.totals: dict[str, dict[Series, list[int]]] = {label: {} for label in WINDOWS}
        self.complete = False
        self.spans: Mapping[tuple[str, str], Spans] = {}
        """What statements cover, as `totals` are to be."""
        self._covered: Mapping[tuple[str, str], Spans] = self.spans
        """The same, as `totals` are."""
        self._store = store
        self._minute = minute
        self._pending: dict[tuple[int, str, str, str, str], list[int]] = {}
        self._closed = False
        self._running: Iterator[None] | None = self._load(self._pages(minute - max(WINDOWS.values()) + 1, minute + 1))

    @property
    def minute(self) -> int:
        """The latest that is in the windows."""
        return self._minute

    def change(self, changes: dict[Any, list[int]]) -> None:
        """Take committed changes of panes into account; keys begin minute, site, channel, campaign, end with currency.

        They are only gathered here, by minute and series, and added to the windows by `advance`.
        """
        if self._closed:
            return
        pending = self._pending
        if bulk is not None:
            bulk.gather(pending, changes)
            return
        for dimensions, numbers in changes.items():
            key = (dimensions[0], *dimensions[1:4], dimensions[7])
            old = pending.get(key)
            pending[key] = numbers if old is None else add(old, numbers)

    async def advance(self, minute: int) -> None:
        """Let time pass up to `minute`, and add what was gathered."""
        for _ in self.pieces(minute):
            await asyncio.sleep(0)

    def pieces(self, minute: int) -> Iterator[None]:
        """As `advance`: each step is a small piece of its work, to be gone on with by whoever advances next."""
        while not self._closed and (self._running or self._pending or self._minute < minute or self._is_outdated()):
            if self._running is None:
                if self._is_outdated():
                    self._running = self._load_again()
                else:
                    self._running = self._pass_minute() if self._minute < minute else self._settle()
            try:
                next(self._running)
            except StopIteration:
                self._running = None
            else:
                yield

    def close(self) -> None:
        """Let go of the store, at once: RocksDB stays open as long as someone reads."""
        self._closed, self.complete = True, False
        if self._running is not None:
            self._running.close()  # type: ignore[attr-defined]  # a generator, as all of them are
        self._running = None

    def _is_outdated(self) -> bool:
        return self._covered is not self.spans

    def _load_again(self) -> Iterator[None]:
        yield from self._settle()
        # Nothing waits now, so these pages hold all that was committed.
        yield from self._load(self._pages(self._minute - max(WINDOWS.values()) + 1, self._minute + 1))

    def _load(self, pages: Iterator[Page]) -> Iterator[None]:
        """Read the day; until that is done what was known before is shown."""
        self._covered = self.spans
        fresh: dict[str, dict[Series, list[int]]] = {label: {} for label in WINDOWS}
        for page in pages:
            for minute, series, numbers in _read(page):
                self._add(minute, series, numbers, fresh)
            yield
        self.totals = fresh
        self.complete = True

    def _settle(self) -> Iterator[None]:
        while self._pending:
            pending, self._pending = self._pending, {}
            if bulk is not None and not self._covered:
                entries = list(pending.items())
                for start in range(0, len(entries), PIECE):
                    end = min(start + PIECE, len(entries))
                    bulk.settle_series(entries, start, end, self._minute, _LENGTHS, tuple(self.totals.values()))
                    yield
                continue
            for count, ((minute, *series), numbers) in enumerate(pending.items(), 1):
                self._add(minute, (series[0], series[1], series[2], series[3]), numbers, self.totals)
                if count % PIECE == 0:
                    yield

    def _pass_minute(self) -> Iterator[None]:
        yield from self._settle()
        # Nothing waits now, so these pages and the totals are of one moment.
        minute = self._minute + 1
        entering = self._pages(minute, minute + 1)
        leaving = {label: self._pages(minute - length, minute - length + 1) for label, length in WINDOWS.items()}
        changes: list[tuple[str, Series, list[int], int]] = []
        for page in entering:
            read = [(series, self._counted(at, series, numbers)) for at, series, numbers in _read(page)]
            changes += [(label, series, numbers, 1) for series, numbers in read for label in WINDOWS]
            yield
        for label, pages in leaving.items():
            for page in pages:
                read = [(series, self._counted(at, series, numbers)) for at, series, numbers in _read(page)]
                changes += [(label, series, numbers, -1) for series, numbers in read]
                yield
        self._minute = minute
        for count, (label, series, numbers, sign) in enumerate(changes, 1):
            _sum(self.totals[label], series, numbers, sign)
            if count % PIECE == 0:
                yield

    def _pages(self, start: int, end: int) -> Iterator[Page]:
        return self._store.pages(pane_key(max(0, start), b""), pane_key(max(0, end), b""), PIECE)

    def _add(self, minute: int, series: Series, numbers: list[int], totals: dict[str, dict[Series, list[int]]]) -> None:
        numbers = self._counted(minute, series, numbers)
        for label, length in WINDOWS.items():
            if self._minute - length < minute <= self._minute:
                _sum(totals[label], series, numbers, 1)

    def _counted(self, minute: int, series: Series, numbers: list[int]) -> list[int]:
        """`numbers` of a minute without the cost in whose place a statement stands."""
        if not numbers[_COST] or not self._covered or not is_stated(self._covered, series[0], series[2], minute):
            return numbers
        return [*numbers[:_COST], 0, *numbers[_COST + 1 :]]


def _sum(table: dict[Series, list[int]], series: Series, numbers: list[int], sign: int) -> None:
    if bulk is not None:
        bulk.sum_series(table, series, numbers, sign < 0)
        return
    totals = table.get(series)
    if totals is None:
        totals = table[series] = [0] * len(numbers)
    elif len(totals) < len(numbers):
        totals.extend([0] * (len(numbers) - len(totals)))
    # In place, and most numbers are 0: a third of the time that new lists take.
    for at, number in enumerate(numbers):
        if number:
            totals[at] += sign * number
    if not any(totals):
        del table[series]


def _read(page: Page) -> Iterator[tuple[int, Series, list[int]]]:
    for _, value in page:
        pane = orjson.loads(value)
        yield pane["minute"], (pane["site"], pane["channel"], pane["campaign"], pane["currency"]), read_pane(pane)
