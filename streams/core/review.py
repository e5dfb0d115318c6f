"""What a change of the registry changes in what is known already.

Rule: the final result is a function of all events, the registry included (contract, section 3): entries that come late
count as if they had come in time. So the state is looked at again, page by page: touches are classified, judged and
credited, orders merged, and statements of cost placed under the registry in force; what differs is emitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.core.clicks import classify_again
from streams.core.conversions import merge_again
from streams.core.costs import emptied, joined, place_again
from streams.core.outcome import Outcome, dumps
from streams.core.panes import emit_panes
from streams.core.state import VISITOR_PREFIX, spend_key
from streams.core.visitors import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from schemas.registry import CampaignEntry, SiteEntry
    from streams.core.outcome import Scope
    from streams.core.state import View

RANGES: Final = ((b"o", b"p"), (b"s", b"t"), (b"v", b"w"))
"""Where orders, statements of cost and visitors are in the state: from, and up to before."""


def traces(entry: SiteEntry | CampaignEntry) -> bytes:
    """What the value of a state entry, in lower case, holds if a registry entry can matter to it; b'' in any."""
    if entry.kind == "site":
        return b'"site":' + orjson.dumps(entry.site).lower()
    return orjson.dumps(entry.campaign).lower() if entry.campaign.isascii() else b""


def review(page: Iterable[tuple[bytes, bytes]], view: View, scope: Scope, now: int, known: Sequence[bytes]) -> Outcome:
    """What the registry in force changes in a `page` of the state: entries by key, of `RANGES`.

    `now` is when the registry changed (ms), `known` the `traces` of what changed.
    """
    outcome = Outcome("campaigns", scope)
    visitors: dict[bytes, None] = {}
    statements: dict[bytes, tuple[bytes, dict[str, Any]]] = {}
    for key, value in page:
        lower = value.lower()
        if not any(trace in lower for trace in known):
            continue
        kind = key[:1]
        if kind == b"v":
            visitors[key[:VISITOR_PREFIX]] = None
        elif kind == b"o":
            merge_again(outcome, view, orjson.loads(value), now)
        elif kind == b"s":
            _place(statements, key, orjson.loads(value), view, scope)
    for visitor in visitors:
        Visitor(visitor[1:], view, scope).review(outcome, classify_again, now)
    for state_key, (key, statement) in statements.items():
        outcome.state("spend", key, state_key, dumps(statement))
    emit_panes(outcome, view)
    return outcome


def _place(
    statements: dict[bytes, tuple[bytes, dict[str, Any]]],
    state_key: bytes,
    stored: dict[str, Any],
    view: View,
    scope: Scope,
) -> None:
    """Put a statement where it belongs now, by state key; `statements` holds what this page has changed before."""
    statement = statements[state_key][1] if state_key in statements else stored
    again = place_again(statement, scope.registry)
    if again is None:
        return
    key, place, fresh = again
    target = spend_key(place)
    if target != state_key:
        statements[state_key] = key, emptied(statement)
        there = statements[target][1] if target in statements else None
        if there is None:
            value = view.get_many([target])[0]
            there = orjson.loads(value) if value is not None else None
        if there is not None:
            fresh = joined(fresh, there)
    statements[target] = place, fresh
