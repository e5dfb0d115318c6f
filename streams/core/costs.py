"""The step from ``costs`` to ``spend``: statements of ad spend, restated by period.

Rule: a statement about the same dimensions and period replaces the earlier one (by time, then event id); its cost is
spread over its hours exactly (contract, section 2).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import orjson

from schemas.errors import Refused
from streams.core.events import accept, moment
from streams.core.ids import partition_of
from streams.core.money import split
from streams.core.outcome import Outcome, dumps
from streams.core.state import spend_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import Event
    from streams.core.outcome import Record, Scope
    from streams.core.registry import Registry
    from streams.core.state import View

HOUR_MS: Final = 3_600_000
_DIMENSIONS: Final = ("site", "campaign", "source", "medium", "channel", "ad_group", "ad", "variant")


def apply_costs(records: Sequence[Record], view: View, scope: Scope) -> Outcome:
    """What the records of ``costs`` change: accepted statements, absolute."""
    outcome = Outcome("costs", scope, read=len(records))
    statements: dict[bytes, dict[str, Any]] = {}
    changed: dict[bytes, bytes] = {}
    for record in records:
        try:
            event = accept(record.value, record.timestamp, "costs")
            place = partition_of(event["campaign"], scope.partitions)
            if place != scope.partition:
                outcome.move(record, place)
                continue
            key = _statement_key(event, scope.registry)
            state_key = spend_key(key)
            if state_key not in statements:
                value = view.get_many([state_key])[0]
                statements[state_key] = orjson.loads(value) if value is not None else {"events": {}}
            fresh = _take(statements, state_key, event, scope.registry)
        except Refused as error:
            outcome.refuse(record, error)
            continue
        if fresh:
            outcome.accepted += 1
            outcome.latest = max(outcome.latest, event["received_at"])
            changed[state_key] = key
        else:
            outcome.duplicate += 1
    for state_key, key in changed.items():
        outcome.state("spend", key, state_key, dumps(statements[state_key]))
    return outcome


def period_of(event: Event, registry: Registry) -> tuple[int, int]:
    """The statement's period in ms: ``from`` and ``to``, or the day ``date`` in the site's time zone."""
    if "date" not in event:
        return event["from"], event["to"]
    zone = ZoneInfo(registry.site(event["site"], event["time"]).timezone)
    start = datetime.fromisoformat(event["date"]).replace(tzinfo=zone)
    end = (start.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    return round(start.timestamp() * 1000), round(end.timestamp() * 1000)


def spread(amount: int, start: int, end: int) -> list[tuple[int, int]]:
    """`amount` over the hours (since the epoch) that [start, end) in ms touches, in proportion, exactly."""
    hours = list(range(start // HOUR_MS, (end - 1) // HOUR_MS + 1))
    overlaps = [min(end, (hour + 1) * HOUR_MS) - max(start, hour * HOUR_MS) for hour in hours]
    return list(zip(hours, split(amount, overlaps), strict=True))


def _statement_key(event: Event, registry: Registry) -> bytes:
    start, end = period_of(event, registry)
    return orjson.dumps([*(event.get(name, "") for name in _DIMENSIONS), start, end])


def _take(statements: dict[bytes, dict[str, Any]], key: bytes, event: Event, registry: Registry) -> bool:
    """Add a statement; False where it is known already. Raises `Refused`."""
    old = statements[key]
    events: dict[str, str] = old["events"]
    known = events.get(event["event_id"])
    if known is not None:
        if known == event["fp"]:
            return False
        raise Refused("id_collision", f"event_id {event['event_id']} came before with other content")
    events = events | {event["event_id"]: event["fp"]}
    later = "time" not in old or old["from"] == old["to"] or moment(old) < moment(event)
    statements[key] = (_statement(event, registry) if later else old) | {"events": events}
    return True


def _statement(event: Event, registry: Registry) -> dict[str, Any]:
    start, end = period_of(event, registry)
    impressions, clicks = event.get("impressions", 0), event.get("clicks", 0)
    hours = [
        [hour, cost, seen, clicked]
        for (hour, cost), (_, seen), (_, clicked) in zip(
            spread(event["cost_micros"], start, end),
            spread(impressions, start, end),
            spread(clicks, start, end),
            strict=True,
        )
    ]
    return {name: event.get(name, "") for name in _DIMENSIONS} | {
        "from": start,
        "to": end,
        "currency": event.get("currency") or registry.site(event["site"], event["time"]).currency,
        "cost_micros": event["cost_micros"],
        "impressions": impressions,
        "clicks": clicks,
        "time": event["time"],
        "event_id": event["event_id"],
        "hours": hours,
        "said": {name: event[name] for name in ("date", "currency") if name in event},
    }


def place_again(statement: dict[str, Any], registry: Registry) -> tuple[bytes, bytes, dict[str, Any]] | None:
    """A statement's key as it is, its key and its record under another registry; None where nothing differs.

    A site's time zone says when its days are, so that the key may differ too.
    """
    if statement["from"] == statement["to"]:  # it went elsewhere before
        return None
    event = {name: value for name, value in statement.items() if value != ""} | statement["said"]
    if "currency" not in statement["said"]:
        del event["currency"]
    fresh = _statement(event, registry) | {"events": statement["events"]}
    key = orjson.dumps([*(statement[name] for name in (*_DIMENSIONS, "from", "to"))])
    place = _statement_key(event, registry)
    return None if (place, fresh) == (key, statement) else (key, place, fresh)


def emptied(statement: dict[str, Any]) -> dict[str, Any]:
    """The record that takes a statement's place where it went elsewhere: it covers nothing."""
    return statement | {
        "to": statement["from"],
        "cost_micros": 0,
        "impressions": 0,
        "clicks": 0,
        "hours": [],
        "events": {},
    }


def joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two statements about the same: the later one holds, and all events are known."""
    holding = max((one, other), key=lambda statement: (statement["from"] != statement["to"], moment(statement)))
    return holding | {"events": one["events"] | other["events"]}
