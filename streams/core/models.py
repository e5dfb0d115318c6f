"""Attribution models: exact integer weights over a journey's candidates.

Rule: a model is a function from the candidates' ages and a mark for Direct to one non-negative integer a candidate;
only proportions matter. All models are always computed (contract, section 3).
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemas.reasons import Model

HALF_LIFE_MS: Final = 7 * 86_400_000
"""Time decay halves every 7 days (facts, section 2)."""
_SCALE: Final = 10**60
"""Weights of time decay are computed to 60 digits."""
_BITS: Final = 320
"""Of the powers in `_POWERS`: as many more digits as their product, and how they are made, can make wrong."""
_STEP: Final = 10
"""Bits of an age that a table of powers is for: three of them are a half-life and more."""


def last_touch(ages: Sequence[int], direct: Sequence[bool]) -> list[int]:
    """All to the latest candidate."""
    return [0] * (len(ages) - 1) + [1]


def first_touch(ages: Sequence[int], direct: Sequence[bool]) -> list[int]:
    """All to the earliest candidate."""
    return [1] + [0] * (len(ages) - 1)


def last_non_direct(ages: Sequence[int], direct: Sequence[bool]) -> list[int]:
    """All to the latest candidate that is not Direct; to the latest one where all are."""
    weights = [0] * len(ages)
    index = len(ages) - 1
    while index > 0 and direct[index]:
        index -= 1
    weights[len(ages) - 1 if direct[index] else index] = 1
    return weights


def linear(ages: Sequence[int], direct: Sequence[bool]) -> list[int]:
    """The same to each."""
    return [1] * len(ages)


def time_decay(ages: Sequence[int], direct: Sequence[bool]) -> list[int]:
    """Halved for every 7 days of age, by the millisecond; computed to 60 digits."""
    youngest = min(ages)
    return [_decay(age - youngest) for age in ages]


def position_based(ages: Sequence[int], direct: Sequence[bool]) -> list[int]:
    """40 % each to the first and the latest, 20 % shared by those between; 50/50 of two, 100 of one."""
    count = len(ages)
    if count <= 2:
        return [1] * count
    middle = count - 2
    return [2 * middle, *([1] * middle), 2 * middle]


def _powers() -> list[list[int]]:
    """Of each step the decay over 0, 1, 2 ... times its unit; the unit of the first one is a millisecond."""
    exact = Context(prec=110)
    unit = int(exact.multiply(exact.power(2, exact.divide(Decimal(-1), Decimal(HALF_LIFE_MS))), Decimal(1 << _BITS)))
    found = []
    for _ in range(3):
        powers = [1 << _BITS]
        for _ in range(1 << _STEP):
            powers.append(powers[-1] * unit >> _BITS)
        unit = powers.pop()
        found.append(powers)
    return found


_POWERS: Final = _powers()
_LOW: Final = (1 << _STEP) - 1


def _decay(age: int) -> int:
    halvings, age = divmod(age, HALF_LIFE_MS)
    power = _POWERS[0][age & _LOW] * _POWERS[1][age >> _STEP & _LOW] * _POWERS[2][age >> 2 * _STEP]
    return power * _SCALE >> 3 * _BITS + halvings


WEIGHTS: Final[dict[Model, Callable[[Sequence[int], Sequence[bool]], list[int]]]] = {
    "last_touch": last_touch,
    "last_non_direct": last_non_direct,
    "first_touch": first_touch,
    "linear": linear,
    "time_decay": time_decay,
    "position_based": position_based,
}
"""Model -> weights of candidates in journey order: ages in ms before the conversion, and which are Direct."""
