"""Orders: what pixel, postback, import and adjustments say of one conversion, merged.

Rule: an order is a pure function of its set of facts (contract, section 3, rules 6 and 7). First of the two steps:
the merged conversion goes on to its visitor's journey by ``orders-by-visitor``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.core.events import MAX_ADJUSTMENT_AGE_MS, moment
from streams.core.ids import read_click_id

if TYPE_CHECKING:
    from schemas.events import Event
    from streams.core.registry import Registry

Fact = dict[str, Any]
Order = dict[str, Any]

_KEPT = (
    "event_id",
    "type",
    "time",
    "fp",
    "visitor_id",
    "user_id",
    "click_id",
    "value_micros",
    "currency",
    "status",
    "adjustment",
    "received_at",
)
_STATUS_OF = {"approve": "approved", "reject": "rejected"}


def fact_of(event: Event) -> Fact:
    """What is kept of a conversion or adjustment."""
    fact = {name: event[name] for name in _KEPT if name in event}
    if "visitor_id" not in fact and "click_id" in fact:
        click = read_click_id(fact["click_id"])
        if click is not None:
            fact["visitor_id"] = click.visitor_id
    return fact


def merge(facts: list[Fact], site: str, registry: Registry) -> Order | None:
    """The conversion that `facts` tell of; None while only adjustments are known.

    Fields: time, visitor_id, named_at (when the event was that names the visitor), user_id, click_id ('' where not
    stated), status, currency, value_micros (before a
    rejection takes it away), revision (how many facts are known).
    """
    told = sorted((fact for fact in facts if fact["type"] == "conversion"), key=moment)
    if not told:
        return None
    time = told[0]["time"]
    told = [fact for fact in told if counts(fact, time)]
    worth = next((fact for fact in told if "value_micros" in fact), None)
    money = worth or next((fact for fact in told if "currency" in fact), told[0])
    currency = money.get("currency") or registry.site(site, money["time"]).currency
    value = worth["value_micros"] if worth else 0
    stating = [fact for fact in told if "status" in fact]
    status = stating[0]["status"] if stating else "approved"
    changes = [fact for fact in facts if fact["type"] == "adjustment" and counts(fact, time)]
    for change in sorted([*stating[1:], *changes], key=moment):
        kind = change.get("adjustment")
        if kind == "retract":
            status = "retracted"
            break
        if kind == "restate":
            value = change["value_micros"]
        else:
            status = _STATUS_OF[kind] if kind else change["status"]
    naming = next((fact for fact in told if "visitor_id" in fact), told[0])
    return {
        "time": time,
        "visitor_id": naming.get("visitor_id", ""),
        "named_at": naming["time"],
        "user_id": _first(told, "user_id"),
        "click_id": _first(told, "click_id"),
        "status": status,
        "currency": currency,
        "value_micros": value,
        "revision": len(facts),
    }


def counts(fact: Fact, time: int) -> bool:
    """Whether what is said of a conversion at that time (ms) counts: not by when it says it was, nor when it came."""
    happened, received = fact["time"] - time, fact["received_at"] - time
    return bool(happened <= MAX_ADJUSTMENT_AGE_MS and abs(received) <= MAX_ADJUSTMENT_AGE_MS)


def _first(facts: list[Fact], name: str) -> str:
    return next((fact[name] for fact in facts if name in fact), "")
