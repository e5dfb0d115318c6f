"""Exact money: shares of an amount that sum to it, to the last micro.

Rule: integers inside, exact weights, largest remainder on the absolute value, equal remainders to the earlier touch,
then the sign (contract, section 3, rule 5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MILLION: Final = 1_000_000


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Shares of `amount` in proportion to `weights` (non-negative integers, not all zero), in their order.

    The shares sum to `amount` exactly; each has its sign, or is zero.
    """
    if not amount:
        return [0] * len(weights)
    if len(weights) == 1:
        return [amount]
    total = sum(weights)
    size = abs(amount)
    shares = []
    remainders = []
    for weight in weights:
        share, remainder = divmod(size * weight, total)
        shares.append(share)
        remainders.append(remainder)
    left = size - sum(shares)
    if left:
        # A stable sort keeps the earlier touch first among equal remainders.
        for index in sorted(range(len(shares)), key=remainders.__getitem__, reverse=True)[:left]:
            shares[index] += 1
    return shares if amount >= 0 else [-share for share in shares]
