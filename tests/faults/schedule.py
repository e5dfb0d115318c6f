"""Schedules: which faults come when, from a seed alone.

Rule: the same seed and number give the same schedule, so a run can be told by two numbers. Each lane has a deck in
which every fault lies as often as it weighs, shuffled anew when it is used up: so no kind is left out for long. A round
takes a few of each lane; lanes run at once, and the field settles after each round.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults import server_faults, worker_faults  # noqa: F401 - they enter their faults
from tests.faults.faults import FAULTS, Fault

TAKEN = {"worker": (1, 2), "sink": (0, 1, 1, 2), "collector": (0, 0, 1)}
"""How many faults of a lane a round may have."""
RARE_FROM = 40
"""From so many faults on, those that take minutes are among them."""


@dataclass(frozen=True)
class Planned:
    """A fault and its own chance."""

    fault: Fault
    seed: str


def schedule(seed: int, count: int, names: Sequence[str] = (), most_rounds: int = 100) -> list[list[Planned]]:
    """Rounds of `count` faults in all, or of each of `names` once, in at most so many rounds, where they are given."""
    chance = random.Random(seed)
    if names:
        decks = {lane: [FAULTS[name] for name in sorted(names) if FAULTS[name].lane == lane] for lane in TAKEN}
        left = {lane: iter(chance.sample(deck, len(deck))) for lane, deck in decks.items()}
        each = {lane: max(-(-len(deck) // most_rounds), *TAKEN[lane]) for lane, deck in decks.items()}
        count = len(names)
    else:
        known = [fault for fault in FAULTS.values() if count >= RARE_FROM or not fault.long]
        left = {lane: _deck([fault for fault in known if fault.lane == lane], chance) for lane in TAKEN}
    rounds: list[list[Planned]] = []
    planned = 0
    while planned < count:
        taken = []
        for lane, choices in TAKEN.items():
            number = each[lane] if names else chance.choice(choices)
            taken += [fault for _, fault in zip(range(number), left[lane], strict=False)]
        taken = taken[: count - planned]
        rounds.append([Planned(fault, f"{seed}/{planned + place}") for place, fault in enumerate(taken)])
        planned += len(taken)
    return rounds


def _deck(faults: Sequence[Fault], chance: random.Random) -> Iterator[Fault]:
    """Faults without end, each as often as it weighs."""
    deck = [fault for fault in faults for _ in range(fault.weight)]
    while True:
        yield from chance.sample(deck, len(deck))
