"""The step from ``clicks`` to ``touches``: deduplicate, judge, classify, count; credit again what a touch changes.

Rule: most visitors never convert, so a touch costs two point look-ups and one record; only a visitor that bears a mark
(conversions, consents or verdicts) is loaded whole. Where `streams.core._plain` is compiled it takes plain touches,
which nearly all are, from their bytes to their records; the code here says what comes out, and takes all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from schemas.errors import Refused
from streams.core.channels import classify
from streams.core.compiled import compiled
from streams.core.events import accept
from streams.core.ids import event_hash, partition_of, visitor_hasher
from streams.core.journeys import NO_STATEMENTS
from streams.core.outcome import Outcome, dumps
from streams.core.panes import add_touch, emit_panes
from streams.core.state import VISITOR_PREFIX
from streams.core.visitors import Visitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import Event
    from streams.core.outcome import Record, Scope
    from streams.core.registry import Registry
    from streams.core.state import View

CHUNK = 128
"""Records taken through all steps together: few enough to stay in the processor's cache."""
_STATEMENTS = frozenset({"consent", "verdict"})
_Read = tuple["Record", Any, bytes, bytes]
"""A record, its event (or plain touch), and the state keys of its visitor and of itself."""


def apply_clicks(records: Sequence[Record], view: View, scope: Scope) -> Outcome:
    """What the records of ``clicks`` change. Keys and values of the outcome's outputs are bytes as Kafka has them."""
    outcome = Outcome("clicks", scope, read=len(records))
    together: dict[bytes, list[tuple[bytes, Event]]] = {}
    waiting: dict[bytes, str] = {}
    for start in range(0, len(records), CHUNK):
        _apply_chunk(outcome, records[start : start + CHUNK], view, together, waiting)
    fresh: dict[bytes, list[tuple[bytes, bytes]]] = {visitor: [] for visitor in together}
    if together:
        for key, value in outcome.puts.items():
            if key[:VISITOR_PREFIX] in fresh:
                fresh[key[:VISITOR_PREFIX]].append((key, value))
    for visitor, events in together.items():
        _look_again(outcome, Visitor(visitor[1:], view, scope, fresh[visitor]), events)
    emit_panes(outcome, view)
    return outcome


def _apply_chunk(
    outcome: Outcome,
    records: Sequence[Record],
    view: View,
    together: dict[bytes, list[tuple[bytes, Event]]],
    waiting: dict[bytes, str],
) -> None:
    """Take some records; events of marked visitors go to `together`, their keys and contents to `waiting`."""
    scope = outcome.scope
    partitions, partition, registry = scope.partitions, scope.partition, scope.registry
    read: list[_Read] = []

    def read_one(record: Record) -> None:
        try:
            event = accept(record.value, record.timestamp, "clicks")
        except Refused as error:
            outcome.refuse(record, error)
            return
        named = event["visitor_id"].encode()
        place = partition_of(named, partitions)
        if place != partition:
            outcome.move(record, place)
            return
        visitor = b"v" + visitor_hasher(event["site"])(named)
        read.append((record, event, visitor, visitor + b"t" + event_hash(event["event_id"])))

    if compiled is not None:
        compiled.read_all(records, registry, partitions, partition, read, read_one)
    else:
        for record in records:
            read_one(record)

    visitors = list({visitor for _, _, visitor, _ in read})
    found = view.get_many([*(key for _, _, _, key in read), *(visitor + b"m" for visitor in visitors)])
    marks = found[len(read) :]
    marked = {visitor for visitor, mark in zip(visitors, marks, strict=True) if mark is not None or visitor in together}
    marked.update(v for _, event, v, _ in read if type(event) is dict and event["type"] in _STATEMENTS)

    puts, changes = outcome.puts, outcome.pane_changes
    touches = outcome.into("touches", partition)

    def take_one(entry: _Read, stored: bytes | None) -> None:
        record, event, visitor, key = entry
        if type(event) is not dict:
            event = accept(record.value, record.timestamp, "clicks")
        old = stored or puts.get(key) or waiting.get(key)
        if old is not None:
            _repeat(outcome, record, event, old)
            return
        outcome.accepted += 1
        outcome.latest = max(outcome.latest, event["received_at"])
        touch = to_touch(event, registry)
        if visitor in marked:
            waiting[key] = event["fp"]
            together.setdefault(visitor, []).append((key, touch))
            return
        consent_default = registry.site(touch["site"], touch["time"]).consent_default
        if "consent" in touch or consent_default != "granted":
            reasons = NO_STATEMENTS.reasons(touch, consent_default)
        else:
            reasons = []
        touch["invalid_reasons"] = reasons
        touch["valid"] = not reasons
        if reasons:
            outcome.invalid.update(reasons)
        add_touch(changes, touch)
        puts[key] = value = dumps(touch)
        touches.append((touch["visitor_id"].encode(), value, [("k", key)], None))

    if compiled is not None:
        taken, latest = compiled.settle(read, found, marked, puts, waiting, touches, changes, 0, take_one)
        outcome.accepted += taken
        outcome.latest = max(outcome.latest, latest)
    else:
        for entry, stored in zip(read, found, strict=False):
            take_one(entry, stored)


def _repeat(outcome: Outcome, record: Record, event: Event, old: str | bytes) -> None:
    content = old if isinstance(old, str) else orjson.loads(old)["fp"]
    if content == event["fp"]:
        outcome.duplicate += 1
    else:
        outcome.refuse(record, Refused("id_collision", f"event_id {event['event_id']} came before with other content"))


def _look_again(outcome: Outcome, visitor: Visitor, events: list[tuple[bytes, Event]]) -> None:
    """Judge a marked visitor's touches and attribute the conversions that the new events can change."""
    new_touches: dict[bytes, dict[str, Any]] = {}
    stated = False
    for key, record in events:
        visitor.know(key, record)
        if record["type"] in _STATEMENTS:
            stated = True
            outcome.state("touches", record["visitor_id"].encode(), key, dumps(record), marked=True)
        else:
            new_touches[key] = record
    visitor.judge(outcome, set(new_touches), all_again=stated)
    now = max(record["received_at"] for _, record in events)
    # A click with an id of ours takes the credit from its arrival, which may lie before it.
    everything = stated or any(touch["type"] == "click" and "click_id" in touch for touch in new_touches.values())
    times = [touch["time"] for touch in new_touches.values()]
    span = None if everything else (min(times), max(times))
    visitor.attribute(outcome, "verdict" if stated else "late_touch", now, span)


def to_touch(event: Event, registry: Registry) -> dict[str, Any]:  # noqa: C901 - flat: it runs for every event
    """The touch record of an event, all but its validity; a consent or verdict stays as it is."""
    if event["type"] in _STATEMENTS:
        return event
    site, time = event["site"], event["time"]
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
    return event
