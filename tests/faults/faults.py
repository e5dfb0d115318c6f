"""All faults by name, and what a fault is.

Rule: a fault is a small function with a name. It returns when the disturbance is over, not when the system has
recovered, so that the next one may meet it in the midst of recovering. What is left to chance comes from the
`random.Random` that is handed in. It returns one line that says what it did.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.field import Field

Act = Callable[[Field, random.Random], Awaitable[str]]


@dataclass(frozen=True)
class Fault:
    """`lane`: faults of one lane come one after another, those of different lanes at once."""

    name: str
    act: Act
    lane: str
    weight: int
    long: bool = False
    """Not in the short run: it takes too long."""


FAULTS: dict[str, Fault] = {}
"""Filled where `worker_faults` and `server_faults` are imported: `tests.faults.schedule` does."""


def fault(lane: str, weight: int = 4, *, long: bool = False) -> Callable[[Act], Act]:
    """Enter a function under its name."""

    def enter(act: Act) -> Act:
        name = act.__name__
        FAULTS[name] = Fault(name, act, lane, weight, long)
        return act

    return enter
