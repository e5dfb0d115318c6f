"""The life of a unit: its states, which may follow which, and what is said of whatever keeps it from its work.

Rule: a unit is in one state, and moves only as `MOVES` says. It takes batches in `OPEN` alone; whatever it holds
(store, producer, tasks) it has let go of in `CLOSED`, and before it opens again.

    CLOSED -> OPENING -> OPEN ----> FAILED -> OPENING ...   (a commit failed, or a look at the store)
                 |                    ^
                 +--------------------+                     (the opening did)
    any of these -> CLOSING -> CLOSED                       (the partition was lost, or the worker stops)
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Final

import structlog

log = structlog.get_logger()

REPEATED_S: Final = 60.0
"""What goes on being wrong is told again after so long."""


class State(StrEnum):
    """Where a unit stands; its value is what a person reads."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"
    CLOSING = "closing"


MOVES: Final[dict[State, frozenset[State]]] = {
    State.CLOSED: frozenset({State.OPENING, State.CLOSING}),
    State.OPENING: frozenset({State.OPEN, State.FAILED, State.CLOSING}),
    State.OPEN: frozenset({State.FAILED, State.CLOSING}),
    State.FAILED: frozenset({State.OPENING, State.CLOSING}),
    State.CLOSING: frozenset({State.CLOSED}),
}
"""State -> those that may follow it."""


def move(before: State, after: State) -> State:
    """`after`, where it may follow `before`; anything else is a fault of ours."""
    if after not in MOVES[before]:
        raise AssertionError(f"a unit cannot go from {before} to {after}")
    return after


class Trouble:
    """What keeps a partition from its work: said once, and again where it changes or goes on for a minute."""

    def __init__(self, partition: int) -> None:
        self.text = ""
        """The latest; empty where there is none."""
        self._partition = partition
        self._times = 0
        self._began = self._told = 0.0

    def tell(self, error: Exception) -> None:
        """It failed, for this reason."""
        text, now = str(error) or repr(error), time.monotonic()
        if not self._times:
            self._began = now
        self._times += 1
        if text != self.text or now - self._told >= REPEATED_S:
            self.text, self._told = text, now
            log.warning("unit_failed", partition=self._partition, error=text, times=self._times)

    def over(self) -> dict[str, float]:
        """It works; how often it failed before, and for how long it did not work, where it did not."""
        times, self._times, self.text = self._times, 0, ""
        return {"failures": times, "down_seconds": round(time.monotonic() - self._began, 2)} if times else {}
