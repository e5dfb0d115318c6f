"""The core's door: a batch of one input topic's records and a view of the state in, an outcome out.

Rule: pure. ``one bad record never stops or taints its neighbours``: a record that the steps cannot handle is found and
refused by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.errors import Refused
from streams.core.clicks import apply_clicks
from streams.core.conversions import apply_conversions, apply_orders_by_visitor
from streams.core.costs import apply_costs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.core.outcome import Outcome, Record, Scope
    from streams.core.state import View

STEPS: Final[dict[str, Callable[[Sequence[Record], View, Scope], Outcome]]] = {
    "clicks": apply_clicks,
    "conversions": apply_conversions,
    "costs": apply_costs,
    "orders-by-visitor": apply_orders_by_visitor,
}
"""Input topic -> its step."""

_CAUSED_BY_DATA: Final = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What a record can make a step raise; a disk or a closed store raises other things, and is no record's fault."""


def apply(topic: str, records: Sequence[Record], view: View, scope: Scope) -> Outcome:
    """What `records` of `topic`, all of partition ``scope.partition``, change."""
    return STEPS[topic](records, view, scope)


def apply_without_poison(topic: str, records: Sequence[Record], view: View, scope: Scope) -> tuple[Outcome, list[str]]:
    """As `apply`, after it failed: records that a step cannot handle go to ``dead-letters`` (``malformed``).

    Each record is tried by itself against the same view. Returns the outcome and what went wrong, a line a record.
    Raises what `apply` raises where no single record is to blame.
    """
    step = STEPS[topic]
    good: list[Record] = []
    bad: list[tuple[Record, str]] = []
    for record in records:
        try:
            step([record], view, scope)
        except _CAUSED_BY_DATA as error:
            bad.append((record, f"{type(error).__name__}: {error}"))
        else:
            good.append(record)
    outcome = step(good, view, scope)
    for record, problem in bad:
        outcome.read += 1
        outcome.refuse(record, Refused("malformed", f"cannot be processed: {problem}"))
    return outcome, [f"offset {record.offset}: {problem}" for record, problem in bad]
