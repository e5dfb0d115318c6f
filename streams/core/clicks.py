"""The step from ``clicks`` to ``touches``: deduplicate, judge, classify, count; credit again what a touch changes.

Rule: most visitors never convert, so a touch costs two point look-ups and one record; only a visitor that bears a mark
(conversions, consents or verdicts) is loaded whole. Where `streams.core._plain` is compiled it takes plain touches,
which nearly all are, from their bytes to their records; the code here says what comes out, and takes all others.
A touch that is later than all conversions of its visitor changes none of them (see `_reaches`), and is taken like one
of a visitor without a mark.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import orjson

from schemas.errors import Refused
from streams.core.channels import classify
from streams.core.compiled import compiled
from streams.core.events import STATEMENTS, accept
from streams.core.ids import event_hash, partition_of, visitor_hasher
from streams.core.journeys import NO_STATEMENTS
from streams.core.outcome import Outcome, dumps
from streams.core.panes import add_touch, emit_panes
from streams.core.state import ALWAYS, VISITOR_PREFIX, mark_key, read_mark, visitor_key, write_mark
from streams.core.visitors import Visitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import Event
    from streams.core.outcome import Record, Scope
    from streams.core.registry import Registry
    from streams.core.state import View

CHUNK = 128
"""Records taken through all steps together: few enough to stay in the processor's cache."""
SAID: Final = ("source", "medium", "campaign", "content", "term", "partner", "currency")
"""Fields in whose place a touch record has what the classification found; what was stated is kept under `said`."""
_FOUND: Final = frozenset(
    (*SAID, "said", "channel", "internal", "evidence", "hw_cid", "stated", "quiet", "valid", "invalid_reasons")
)
_Read = tuple["Record", "Event", bytes, bytes]
"""A record, its event, and the state keys of its visitor and of itself; a plain touch stands for all of them."""


def apply_clicks(records: Sequence[Record], view: View, scope: Scope) -> Outcome:
    """What the records of ``clicks`` change. Keys and values of the outcome's outputs are bytes as Kafka has them."""
    outcome = Outcome("clicks", scope, read=len(records))
    batch = _Batch(outcome)
    for start in range(0, len(records), CHUNK):
        batch.apply(records[start : start + CHUNK], view)
    fresh: dict[bytes, list[tuple[bytes, bytes]]] = {visitor: [] for visitor in batch.together}
    if fresh:
        for key, value in outcome.puts.items():
            if key[:VISITOR_PREFIX] in fresh:
                fresh[key[:VISITOR_PREFIX]].append((key, value))
    for visitor, events in batch.together.items():
        _look_again(outcome, Visitor(visitor[1:], view, scope, fresh[visitor]), events)
    emit_panes(outcome, view)
    return outcome


@dataclass(slots=True)
class _Batch:
    """A batch under way, chunk by chunk: what can change something known is put aside, for when all is read."""

    outcome: Outcome
    number: int = field(default_factory=count(1).__next__)
    """No other batch of this process has it."""
    together: dict[bytes, list[tuple[bytes, Event]]] = field(default_factory=dict)
    """State key of a visitor -> state keys and events."""
    waiting: dict[bytes, str] = field(default_factory=dict)
    """State key of an event put aside -> its content's fingerprint."""
    stated: set[bytes] = field(default_factory=set)
    """Visitors with a consent or verdict in the batch."""
    marked: dict[bytes, int] = field(default_factory=dict)
    """Up to when (ms) events of the chunk's visitors are put aside."""
    read: list[_Read] = field(default_factory=list)
    """The chunk's records that are events of this partition."""

    def apply(self, records: Sequence[Record], view: View) -> None:
        """Take one chunk's `records` through all steps."""
        outcome, scope = self.outcome, self.outcome.scope
        read = self.read = []
        if compiled is not None:
            compiled.read_all(records, scope.registry, scope.partitions, scope.partition, read, self._read_one)
        else:
            for record in records:
                self._read_one(record)
        keys, visitors, odd = (_look_ups if compiled is None else compiled.look_ups)(read)
        found = view.get_many(keys)
        self.stated.update(visitor for _, event, visitor, _ in odd if event["type"] in STATEMENTS)
        marked_among = _marked_among if compiled is None else compiled.marked_among
        marked = self.marked = marked_among(visitors, found, len(read), self.stated)
        if compiled is not None:
            touches = outcome.into("touches", scope.partition)
            taken, latest = compiled.settle(
                read,
                found,
                marked,
                outcome.puts,
                self.waiting,
                touches,
                outcome.pane_changes,
                self.number,
                self._take_one,
            )
            outcome.accepted += taken
            outcome.latest = max(outcome.latest, latest)
        else:
            for entry, stored in zip(read, found, strict=False):
                self._take_one(entry, stored)

    def _read_one(self, record: Record) -> None:
        scope = self.outcome.scope
        try:
            event = accept(record.value, record.timestamp, "clicks")
        except Refused as error:
            self.outcome.refuse(record, error)
            return
        named = event["visitor_id"].encode()
        place = partition_of(named, scope.partitions)
        if place != scope.partition:
            self.outcome.move(record, place)
            return
        visitor = b"v" + visitor_hasher(event["site"])(named)
        self.read.append((record, event, visitor, visitor + b"t" + event_hash(event["event_id"])))

    def _take_one(self, entry: Any, stored: bytes | None) -> None:
        outcome = self.outcome
        registry = outcome.scope.registry
        if type(entry) is tuple:
            record, event, visitor, key = entry
        else:
            record, visitor, key = entry.record, entry.visitor, entry.state_key
            event = accept(record.value, record.timestamp, "clicks")
        old = stored or outcome.puts.get(key) or self.waiting.get(key)
        if old is not None:
            _repeat(outcome, record, event, old)
            return
        outcome.accepted += 1
        outcome.latest = max(outcome.latest, event["received_at"])
        touch = to_touch(event, registry)
        if visitor in self.marked and _reaches(touch, self.marked[visitor]):
            self.waiting[key] = event["fp"]
            self.together.setdefault(visitor, []).append((key, touch))
            return
        consent_default = registry.site(touch["site"], touch["time"]).consent_default
        if "consent" in touch or consent_default != "granted":
            reasons = NO_STATEMENTS.reasons(touch, consent_default)
        else:
            reasons = []
        touch["invalid_reasons"] = reasons
        touch["valid"] = not reasons
        outcome.invalid.update(reasons)
        add_touch(outcome.pane_changes, touch)
        outcome.state("touches", touch["visitor_id"].encode(), key, dumps(touch))


def _look_ups(read: list[_Read]) -> tuple[list[bytes], list[bytes], list[_Read]]:
    """The state keys of what was read, then those of its visitors' marks; the visitors; what is no plain touch."""
    visitors = list(dict.fromkeys(visitor for _, _, visitor, _ in read))
    return [*(key for _, _, _, key in read), *map(mark_key, visitors)], visitors, read


def _marked_among(visitors: list[bytes], found: list[bytes | None], start: int, stated: set[bytes]) -> dict[bytes, int]:
    """The marks (ms) of those of `visitors` that have one: in `found`, from `start` on, or for what is `stated`."""
    marked = {v: read_mark(mark) for v, mark in zip(visitors, found[start:], strict=True) if mark is not None}
    return marked | {visitor: ALWAYS for visitor in visitors if visitor in stated}


def _reaches(event: Event, until: int) -> bool:
    """Whether an event can change what is known of its visitor, whose mark says `until` (ms).

    A touch is no candidate of an earlier conversion, and what role it has depends on those before it. But a click with
    an id of ours makes the landings that name it arrivals, be they before it.
    """
    return bool(event["time"] <= until or (event["type"] == "click" and "click_id" in event))


def _repeat(outcome: Outcome, record: Record, event: Event, old: str | bytes) -> None:
    content = old if isinstance(old, str) else orjson.loads(old)["fp"]
    if content == event["fp"]:
        outcome.duplicate += 1
    else:
        outcome.refuse(record, Refused("id_collision", f"event_id {event['event_id']} came before with other content"))


def _look_again(outcome: Outcome, visitor: Visitor, events: list[tuple[bytes, Event]]) -> None:
    """Judge a marked visitor's touches and attribute the conversions that the new events can change."""
    new_touches: dict[bytes, dict[str, Any]] = {}
    stated: list[int] = []
    for key, record in events:
        visitor.know(key, record)
        if record["type"] in STATEMENTS:
            stated.append(record["time"])
            outcome.state("touches", record["visitor_id"].encode(), key, dumps(record), until=ALWAYS)
        else:
            new_touches[key] = record
    visitor.judge(outcome, set(new_touches), stated)
    now = max(record["received_at"] for _, record in events)
    # A click with an id of ours takes the credit from its arrival, which may lie before it.
    everything = bool(stated) or any(touch["type"] == "click" and "click_id" in touch for touch in new_touches.values())
    times = [touch["time"] for touch in new_touches.values()]
    span = None if everything else (min(times), max(times))
    visitor.attribute(outcome, "verdict" if stated else "late_touch", now, span)
    outcome.puts[mark_key(visitor_key(visitor.hash))] = write_mark(visitor.until)


def to_touch(event: Event, registry: Registry) -> dict[str, Any]:  # noqa: C901 - flat: it runs for every event
    """The touch record of an event, all but its validity; a consent or verdict stays as it is."""
    if event["type"] in STATEMENTS:
        return event
    site, time = event["site"], event["time"]
    said = {name: event[name] for name in SAID if name in event}
    found = classify(event, registry)
    event["channel"] = found.channel
    event["source"] = found.source
    event["medium"] = found.medium
    event["campaign"] = found.campaign
    event["content"] = found.content
    event["term"] = found.term
    event["internal"] = found.internal
    if event["type"] != "impression":
        if found.evidence:
            event["evidence"] = event_hash(found.evidence).hex()
        if found.hw_cid:
            event["hw_cid"] = found.hw_cid
        if found.stated:
            event["stated"] = True
        if found.quiet:
            event["quiet"] = True
    if found.campaign and "partner" not in event:
        campaign = registry.campaign(found.campaign, site, time)
        if campaign is not None and campaign.partner:
            event["partner"] = campaign.partner
    if "cost_micros" not in event:
        event["cost_micros"] = 0
    if "currency" not in event:
        event["currency"] = registry.site(site, time).currency
    if said:
        event["said"] = said
    return event


def classify_again(touch: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """A touch record under another registry, all but its validity."""
    return to_touch({n: value for n, value in touch.items() if n not in _FOUND} | touch.get("said", {}), registry)
