"""Weights and money of the reference: exact fractions, sorted lists, no cleverness (contract, section 3)."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

HALF_LIFE_MS = 7 * 24 * 60 * 60 * 1000


def micros(amount):
    """Integer micros of a decimal amount in major units, half-even."""
    with localcontext() as context:
        context.prec = 60
        scaled = Decimal(str(amount)) * 1_000_000
        return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def shares(total, weights):
    """`total` split by `weights`: largest remainder on the absolute value, equal ones to the earlier, then the sign."""
    whole = sum(weights)
    exact = [Fraction(weight) * abs(total) / Fraction(whole) for weight in weights]
    parts = [share.numerator // share.denominator for share in exact]
    left = abs(total) - sum(parts)
    by_remainder = sorted(range(len(parts)), key=lambda index: (parts[index] - exact[index], index))
    for index in by_remainder[:left]:
        parts[index] += 1
    return [-part if total < 0 else part for part in parts]


def decayed(ages):
    """Weights that halve every 7 days of age (ms), each a fraction.

    Where all ages differ by whole half-lives they are exact. Otherwise ratios are irrational, no two different weights
    can leave equal remainders, and 120 digits are more than enough to tell which is the larger.
    """
    youngest = min(ages)
    if all((age - youngest) % HALF_LIFE_MS == 0 for age in ages):
        return [Fraction(1, 2 ** ((age - youngest) // HALF_LIFE_MS)) for age in ages]
    with localcontext() as context:
        context.prec = 120
        return [Fraction(Decimal(2) ** (Decimal(youngest - age) / Decimal(HALF_LIFE_MS))) for age in ages]


def weights_of(model, touches, conversion_time):
    """Exact weights of the candidate `touches`, in order, under a model."""
    count = len(touches)
    if model == "linear":
        return [Fraction(1, count)] * count
    if model == "time_decay":
        return decayed([conversion_time - touch["time"] for touch in touches])
    if model == "position_based":
        return by_position(count)
    if model == "last_non_direct":
        others = [index for index in range(count) if touches[index]["channel"] != "Direct"]
        credited = others[-1] if others else count - 1
    else:
        credited = {"first_touch": 0, "last_touch": count - 1}[model]
    return [Fraction(1) if index == credited else Fraction(0) for index in range(count)]


def by_position(count):
    """40/20/40, the middle shared equally; one touch 100; two 50/50."""
    if count <= 2:
        return [Fraction(1, count)] * count
    middle = Fraction(20, 100) / (count - 2)
    return [Fraction(40, 100), *[middle] * (count - 2), Fraction(40, 100)]
