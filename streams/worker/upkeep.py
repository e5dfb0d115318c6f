"""What a unit does to its state by itself, between batches: apply a late registry, forget what is out of date.

Rule: what it changes goes through the unit, in transactions without an input's offset; what is not done when the unit
closes is begun anew.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from streams.core import expiry
from streams.core.review import RANGES, review
from streams.worker import metrics

if TYPE_CHECKING:
    from streams.worker.registry_feed import RegistryFeed
    from streams.worker.store import Store
    from streams.worker.unit import Unit

log = structlog.get_logger()

FIRST_SWEEP_MS: Final = 60_000
SWEEP_EVERY_MS: Final = 6 * 3_600_000
SWEEP_PAUSE_S: Final = 0.01
"""Between pages, which take some milliseconds each."""


class Upkeep:
    """The reviews and sweeps of one unit."""

    def __init__(self, unit: Unit, registry: RegistryFeed) -> None:
        self._unit = unit
        self._registry = registry
        self._next_sweep = 0

    def begin(self) -> None:
        """The unit is about to open."""
        self._next_sweep = self._unit.clock() + FIRST_SWEEP_MS

    async def review(self) -> None:
        """Where the registry has changed, look again at all that is known.

        Where it changes once more meanwhile, the rest is left: it is begun anew.
        """
        unit, target = self._unit, self._registry.position
        store = unit.store
        if store is None or (since := store.reviewed) == target:
            return
        # A topic that was created again says nothing of what came after what.
        known = self._registry.traces_since(since) if since < target else [b""]
        began = time.monotonic()

        async def look(page: list[tuple[bytes, bytes]], store: Store) -> None:
            outcome = review(page, store, unit.scope(), self._registry.changed_ms, known)
            if any(outcome.outputs.values()):
                await unit.emit(outcome)
                metrics.count(outcome, 0)

        def is_current() -> bool:
            return self._registry.position == target

        if not await unit.look_through(RANGES, look, is_current):
            return
        async with unit.between_batches() as store:
            if store is not None and is_current():
                store.note_review(target)
                seconds = round(time.monotonic() - began, 2)
                log.info("registry_applied", partition=unit.partition, position=target, seconds=seconds)

    async def sweep(self) -> None:
        """When it is time, forget what nothing can need any more."""
        unit = self._unit
        store = unit.store
        if store is None or unit.clock() < self._next_sweep:
            return
        # Neither a clock that runs ahead nor an event that says it came tomorrow makes anything older than it is.
        now = min(unit.clock(), store.latest)
        began = time.monotonic()
        forgotten: Counter[str] = Counter()
        renewed = 0

        async def look(page: list[tuple[bytes, bytes]], store: Store) -> None:
            nonlocal forgotten, renewed
            found = expiry.expire(page, store, unit.scope(), now)
            if found.renewals.puts:
                await unit.emit(found.renewals)
            store.forget(found.keys)
            forgotten += found.counts
            renewed += len(found.renewals.puts)

        if not await unit.look_through(expiry.RANGES, look, pause=SWEEP_PAUSE_S):
            return
        async with unit.between_batches() as store:
            if store is not None:
                store.forget([], *expiry.panes_end(now))
                self._next_sweep = unit.clock() + SWEEP_EVERY_MS
                metrics.swept(forgotten, renewed)
                seconds = round(time.monotonic() - began, 2)
                log.info(
                    "state_swept", partition=unit.partition, renewed=renewed, seconds=seconds, forgotten=dict(forgotten)
                )
