"""What a change of the registry changes in what is known already.

Rule: the final result is a function of all events, the registry included (contract, section 3): entries that come late
count as if they had come in time. So the state is looked at again, page by page: touches are classified, judged and
credited, orders merged, and statements of cost settled under the registry in force; what differs is emitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from streams.core.clicks import classify_again
from streams.core.conversions import merge_again
from streams.core.costs import Statements
from streams.core.outcome import Outcome
from streams.core.panes import emit_panes
from streams.core.state import VISITOR_PREFIX
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
    statements = Statements(view, scope.registry)
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
            statements.look_at(key, orjson.loads(value))
    for visitor in visitors:
        Visitor(visitor[1:], view, scope).review(outcome, classify_again, now)
    statements.settle(outcome)
    emit_panes(outcome, view)
    return outcome
