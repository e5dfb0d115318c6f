"""Expiry: what of the state can be forgotten, since no event that is still taken can need it.

Rule: pure, and without effect on any result (`streams.core.horizon` says why). A touch stays as long as a conversion
of its visitor that it may belong to; what is needed for longer than its topic keeps it is written again (a renewal:
the same record with the time of its renewal), so that a restore finds it too.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import orjson

from streams.core.events import STATEMENTS
from streams.core.horizon import (
    CONSENTS_MS,
    CONVERSIONS_MS,
    PANES_MS,
    RENEWAL_MS,
    SESSION_MS,
    TOUCHES_MS,
    WITNESS_MS,
)
from streams.core.journeys import arrived
from streams.core.outcome import Outcome, dumps
from streams.core.panes import MINUTE_MS
from streams.core.registry import MAX_LOOKBACK_MS
from streams.core.state import ALWAYS, VISITOR_PREFIX, mark_key, pane_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.core.outcome import Scope
    from streams.core.registry import Registry
    from streams.core.state import View

Entry = tuple[bytes, bytes]
RANGES: Final = ((b"o", b"p"), (b"s", b"t"), (b"u", b"w"))
"""Where orders, statements of cost, attributions and visitors are in the state: from, and up to before."""
KINDS: Final = ("touch", "statement", "attribution", "order", "spend")
"""Kinds of entries that are swept one by one; panes go by the range."""
_TIME: Final = re.compile(rb'"time":(\d+)')
"""An event's time in its record; within a text the quotes would be escaped."""


@dataclass(slots=True)
class Forgotten:
    """What a sweep comes to: state keys to delete, renewals to commit, and counts by kind of what was forgotten."""

    renewals: Outcome
    keys: list[bytes] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, key: bytes) -> None:
        """Forget an entry."""
        self.keys.append(key)
        self.counts[kind] += 1


def expire(page: Sequence[Entry], view: View, scope: Scope, now: int) -> Forgotten:
    """What can be forgotten `now` (ms) of a `page` of state entries in order of keys, of `RANGES`."""
    found = Forgotten(Outcome("touches", scope))
    others = [entry for entry in page if entry[0][:1] != b"v"]
    for key, value in others:
        kind = key[:1]
        record = orjson.loads(value)
        if kind == b"o" and _order_time(record) < now - CONVERSIONS_MS:
            found.add("order", key)
        elif kind == b"u" and record["conversion_time"] < now - CONVERSIONS_MS:
            found.add("attribution", key)
        elif kind == b"s" and max(record.get("to", 0), record["time"]) < now - PANES_MS:
            found.add("spend", key)
    visitors = [(key, value) for key, value in page if key[:1] == b"v"]
    groups = [(prefix, list(group)) for prefix, group in groupby(visitors, key=lambda entry: entry[0][:VISITOR_PREFIX])]
    marks = view.get_many([mark_key(prefix) for prefix, _ in groups])
    for (prefix, group), mark in zip(groups, marks, strict=True):
        if mark is not None or _has_old(group, now):
            # Its entries may lie on another page too.
            _expire_visitor(view.scan(prefix), mark_key(prefix) if mark is not None else None, now, found)
    return found


def panes_end(now: int) -> tuple[bytes, bytes]:
    """The range of panes that nothing can change any more."""
    return pane_key(0, b""), pane_key(max(0, now - PANES_MS) // MINUTE_MS, b"")


def _has_old(group: Iterable[Entry], now: int) -> bool:
    oldest = now - TOUCHES_MS
    return any(int(told[1]) < oldest for _, value in group if (told := _TIME.search(value)))


def _order_time(order: dict[str, Any]) -> int:
    """When the conversion was; where only adjustments are known, when the latest came."""
    merged = order["merged"]
    time: int = merged["time"] if merged else max(fact["received_at"] for fact in order["facts"])
    return time


def _expire_visitor(entries: Iterable[Entry], mark: bytes | None, now: int, found: Forgotten) -> None:
    registry = found.renewals.scope.registry
    touches: dict[bytes, dict[str, Any]] = {}
    statements: dict[bytes, dict[str, Any]] = {}
    conversions: dict[bytes, dict[str, Any]] = {}
    for key, value in entries:
        record = orjson.loads(value)
        is_conversion = key[VISITOR_PREFIX : VISITOR_PREFIX + 1] == b"c"
        of_kind = conversions if is_conversion else statements if record["type"] in STATEMENTS else touches
        of_kind[key] = record
    known = {key: one for key, one in conversions.items() if _is_known(one, registry, now)}
    open_ = [one["conversion_time"] for one in known.values() if not one["withdrawn"]]
    times = sorted(time for time in open_ if time >= now - CONVERSIONS_MS)
    kept = {key: touch for key, touch in touches.items() if _is_needed(touch["time"], times, now)}
    ids = {touch["event_id"] for touch in kept.values()}
    spoken = {key: one for key, one in statements.items() if _is_in_force(one, ids, now)}
    gone = touches.keys() - kept.keys()
    for name, keys in (
        ("touch", gone),
        ("statement", statements.keys() - spoken.keys()),
        ("attribution", conversions.keys() - known.keys()),
    ):
        for key in keys:
            found.add(name, key)
    if mark is not None and not (known or spoken):
        found.keys.append(mark)
    arrivals = _arrivals(kept, [touches[key] for key in gone])
    for key, record in (kept | spoken).items():
        if key in arrivals or now - record.get("renewed", record["time"]) > RENEWAL_MS:
            visitor = record["visitor_id"].encode()
            until = ALWAYS if key in spoken else None
            found.renewals.state("touches", visitor, key, dumps(record | {"renewed": now}), until=until)


def _is_needed(time: int, conversions: Sequence[int], now: int) -> bool:
    """Whether a touch is young enough, or may belong to one of the known conversions (times in ms, ordered)."""
    if time >= now - TOUCHES_MS:
        return True
    following = bisect_left(conversions, time)
    return following < len(conversions) and conversions[following] <= time + MAX_LOOKBACK_MS + SESSION_MS


def _is_known(attribution: dict[str, Any], registry: Registry, now: int) -> bool:
    """Whether something may still be said of a conversion, or another one be its duplicate."""
    time = attribution["conversion_time"]
    policy = registry.site(attribution["site"], time).policy(attribution["action"])
    return bool(time >= now - (CONVERSIONS_MS if policy == "once_per_order" else WITNESS_MS))


def _is_in_force(statement: dict[str, Any], ids: set[str], now: int) -> bool:
    """Whether a touch that is known, or may still come, can be within a consent's or verdict's reach."""
    if statement["type"] == "consent":
        return bool(statement["time"] >= now - CONSENTS_MS)
    return statement["time"] >= now - TOUCHES_MS or statement["touch_event_id"] in ids


def _arrivals(kept: dict[bytes, dict[str, Any]], gone: Iterable[dict[str, Any]]) -> set[bytes]:
    """Keys of the landings that arrived from clicks now `gone`; that they did is noted in them."""
    clicks: dict[str, list[int]] = {}
    for touch in gone:
        if touch["type"] == "click" and "click_id" in touch:
            clicks.setdefault(touch["click_id"], []).append(touch["time"])
    found = set()
    for key, touch in kept.items() if clicks else ():
        if "arrived" not in touch and arrived(touch, clicks.get(touch.get("hw_cid", ""), ())):
            touch["arrived"] = True
            found.add(key)
    return found
