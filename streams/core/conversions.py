"""The two steps of a conversion: facts become an order, an order is credited to its visitor's journey.

Rule: ``conversions`` is partitioned by order and ``orders-by-visitor`` by visitor. The order's unit knows whose the
conversion is; when a fact changes that, the old visitor's unit withdraws its credits (design, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from schemas.errors import Refused
from schemas.reasons import CAUSES
from schemas.topics import LARGE_BYTES
from streams.core.attribution import attribute, withdraw
from streams.core.events import MAX_ADJUSTMENT_AGE_MS, accept
from streams.core.ids import conversion_id, partition_of, visitor_hash
from streams.core.orders import fact_of, merge
from streams.core.outcome import Outcome, dumps
from streams.core.panes import emit_panes
from streams.core.state import attribution_key, order_key
from streams.core.visitors import Visitor, report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import Event
    from schemas.reasons import Cause
    from streams.core.orders import Order
    from streams.core.outcome import Record, Scope
    from streams.core.state import View

MAX_ORDER_BYTES: Final = LARGE_BYTES // 2
"""An order with more facts than fit takes no further ones."""
MANY_FACTS: Final = 64
"""Fewer facts than this always fit: one takes at most 12 kB."""
_TEXTS: Final = ("site", "conversion_id", "action", "order_id", "visitor_id", "status", "currency")
_NUMBERS: Final = ("time", "value_micros", "revision")
_ID_LENGTH: Final = 32
_SAME: Final = ("time", "visitor_id", "named_at", "user_id", "click_id", "status", "currency", "value_micros")


def order_partition_key(event: Event) -> str:
    """What ``conversions`` is partitioned by: order id, else the conversion's event id."""
    key: str = event.get("order_id") or event.get("conversion_event_id") or event["event_id"]
    return key


def apply_conversions(records: Sequence[Record], view: View, scope: Scope) -> Outcome:
    """What the records of ``conversions`` change: orders, and what goes on to the visitors' units."""
    outcome = Outcome("conversions", scope, read=len(records))
    read: list[tuple[Record, Event, str]] = []
    for record in records:
        try:
            event = accept(record.value, record.timestamp, "conversions")
        except Refused as error:
            outcome.refuse(record, error)
            continue
        place = partition_of(order_partition_key(event), scope.partitions)
        if place != scope.partition:
            outcome.move(record, place)
            continue
        named = conversion_id(
            event["site"],
            event.get("action", ""),
            event.get("order_id", ""),
            event.get("conversion_event_id") or event["event_id"],
        )
        read.append((record, event, named))

    names = list({name for _, _, name in read})
    found = view.get_many([order_key(name) for name in names])
    orders: dict[str, dict[str, Any]] = {
        name: orjson.loads(value) for name, value in zip(names, found, strict=True) if value is not None
    }
    before = {name: order["merged"] for name, order in orders.items()}
    changed: dict[str, int] = {}
    for record, event, name in read:
        try:
            fresh = _add_fact(orders, name, event, scope)
        except Refused as error:
            outcome.refuse(record, error)
            continue
        if fresh:
            outcome.accepted += 1
            changed[name] = max(changed.get(name, 0), event["received_at"])
            outcome.latest = max(outcome.latest, event["received_at"])
        else:
            outcome.duplicate += 1
    for name, now in changed.items():
        order = orders[name]
        outcome.state("orders", name.encode(), order_key(name), dumps(order))
        _pass_on(outcome, view, order, before.get(name), now)
    emit_panes(outcome, view)
    return outcome


def _add_fact(orders: dict[str, dict[str, Any]], name: str, event: Event, scope: Scope) -> bool:
    """Add an event to its order; False where it is known already. Raises `Refused`."""
    order = orders.get(name)
    fact = fact_of(event)
    facts = order["facts"] if order else []
    for known in facts:
        if known["event_id"] == fact["event_id"]:
            if known["fp"] == fact["fp"]:
                return False
            raise Refused("id_collision", f"event_id {fact['event_id']} came before with other content")
    merged = order["merged"] if order else None
    if merged and max(event["time"], event["received_at"]) - merged["time"] > MAX_ADJUSTMENT_AGE_MS:
        kind = "an adjustment" if event["type"] == "adjustment" else "told again"
        raise Refused("too_old", f"{kind} more than 180 d after its conversion")
    if len(facts) > MANY_FACTS and len(orjson.dumps(facts)) > MAX_ORDER_BYTES:
        raise Refused("too_large", f"the order has {len(facts):,} events already; there is no room for more")
    facts = [*facts, fact]
    merged = merge(facts, event["site"], scope.registry)
    orders[name] = {
        "site": event["site"],
        "conversion_id": name,
        "action": event["action"] if event["type"] == "conversion" else (order or event).get("action", ""),
        "order_id": event.get("order_id", ""),
        "merged": merged,
        "facts": facts,
    }
    return True


def merge_again(outcome: Outcome, view: View, order: dict[str, Any], now: int) -> None:
    """Merge an `order` record's facts under another registry; emit it, and pass it on, where the conversion differs."""
    before = order["merged"]
    merged = merge(order["facts"], order["site"], outcome.scope.registry)
    if merged != before:
        order = order | {"merged": merged}
        key = order["conversion_id"]
        outcome.state("orders", key.encode(), order_key(key), dumps(order))
        _pass_on(outcome, view, order, before, now, "registry")


def _pass_on(
    outcome: Outcome, view: View, order: dict[str, Any], before: Order | None, now: int, cause: Cause = "adjustment"
) -> None:
    """Send the merged conversion to its visitor's unit, or credit it here where no visitor is known."""
    merged = order["merged"]
    if merged is None or (before is not None and all(merged[name] == before.get(name) for name in _SAME)):
        return
    whole = {name: order[name] for name in ("site", "conversion_id", "action", "order_id")} | merged
    visitor_id = merged["visitor_id"]
    if before is not None and before["visitor_id"] != visitor_id:
        cause = "moved"
        if before["visitor_id"]:
            gone = {"order": whole | {"visitor_id": before["visitor_id"]}, "gone": True, "cause": cause, "at": now}
            outcome.send("orders-by-visitor", before["visitor_id"], dumps(gone))
        else:
            _credit_nobody(outcome, view, whole, now, moved=True)
    if visitor_id:
        here = {"order": whole, "gone": False, "cause": cause, "at": now}
        outcome.send("orders-by-visitor", visitor_id, dumps(here))
    else:
        _credit_nobody(outcome, view, whole, now, cause)


def _credit_nobody(
    outcome: Outcome, view: View, order: Order, now: int, cause: Cause = "adjustment", *, moved: bool = False
) -> None:
    """Credit a conversion without a visitor to Direct; or withdraw that credit once a visitor is known."""
    value = view.get_many([attribution_key(b"", order["conversion_id"])])[0]
    old = orjson.loads(value) if value is not None else None
    if moved:
        if old is not None and not old["withdrawn"]:
            report(outcome, b"", withdraw(old) | {"revision": order["revision"]}, old, "moved", now)
        return
    if old is None:
        outcome.unmatched += 1
    result = attribute(order | {"visitor_id": ""}, ()) | {"order": order}
    report(outcome, b"", result, old, cause, now)


def apply_orders_by_visitor(records: Sequence[Record], view: View, scope: Scope) -> Outcome:
    """What the records of ``orders-by-visitor`` change: attributions and their panes."""
    outcome = Outcome("orders-by-visitor", scope, read=len(records))
    visitors: dict[bytes, Visitor] = {}
    for record in records:
        try:
            order, gone, cause, now = _told(record.value)
        except Refused as error:
            outcome.refuse(record, error)
            continue
        place = partition_of(order["visitor_id"], scope.partitions)
        if place != scope.partition:
            outcome.move(record, place)
            continue
        name = visitor_hash(order["site"], order["visitor_id"])
        visitor = visitors.get(name)
        if visitor is None:
            visitor = visitors[name] = Visitor(name, view, scope)
        outcome.accepted += 1
        outcome.latest = max(outcome.latest, now)
        if gone:
            visitor.lose_order(outcome, order["conversion_id"], order["revision"], now)
        else:
            visitor.take_order(outcome, order, cause, now)
    emit_panes(outcome, view)
    return outcome


def _told(value: bytes | None) -> tuple[Order, bool, Cause, int]:
    """What a record of ``orders-by-visitor`` says: the order, whether it went elsewhere, why, and when (ms).

    Raises `Refused`: the topic is headwater's own, but anybody can write to it.
    """
    try:
        told = orjson.loads(value or b"")
        order, gone, cause, now = told["order"], told["gone"], told["cause"], told["at"]
        texts = all(type(order[name]) is str for name in _TEXTS)
        numbers = all(type(number) is int for number in (now, *(order[name] for name in _NUMBERS)))
        right = (
            texts and numbers and type(gone) is bool and cause in CAUSES and len(order["conversion_id"]) == _ID_LENGTH
        )
        bytes.fromhex(order["conversion_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refused("malformed", f"not a record of headwater's own: {error}") from None
    if not right:
        raise Refused("malformed", "not a record of headwater's own: a field of a wrong type")
    return order, gone, cause, now
