"""Attribution: who earns a conversion, under every model at once.

Rule: ``attribute(journey, order, policy) -> credits`` is pure; the credits of one model sum exactly to the value, their
weights to one million (contract, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from schemas.reasons import MODELS
from streams.core.horizon import SAME_MS
from streams.core.journeys import DIRECT
from streams.core.models import WEIGHTS
from streams.core.money import MILLION, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.core.journeys import Journey, Touch
    from streams.core.orders import Order

Attribution = dict[str, Any]
COUNTED: Final = frozenset({"approved", "pending"})

_DIMENSIONS: Final = (
    "channel",
    "source",
    "medium",
    "campaign",
    "content",
    "term",
    "ad_group",
    "ad",
    "partner",
    "variant",
    "audience",
)
_HISTORY: Final = frozenset({"version", "cause", "first_reported_at", "last_changed_at", "revision"})
"""Fields of an attribution that tell how it came about; all others are its result."""


def attribute(order: Order, candidates: Sequence[Touch], *, duplicate: bool = False) -> Attribution:
    """The result of attributing `order` (with site, conversion_id, action, order_id) to `candidates` in journey order.

    `duplicate` says that the site's duplicate policy lets another conversion stand for this one. Money in micros,
    weights in millionths.
    """
    time = order["time"]
    status = "duplicate" if duplicate else order["status"]
    counted = status in COUNTED
    reported = order["value_micros"]
    value = reported if counted else 0
    ages = [time - touch["time"] for touch in candidates] or [0]
    direct = [touch["channel"] == DIRECT for touch in candidates] or [True]
    credits_: dict[str, list[list[int]]] = {}
    rejected: dict[str, list[int]] = {}
    for model in MODELS:
        weights = WEIGHTS[model](ages, direct)
        listed = [index for index, weight in enumerate(weights) if weight]
        weights = [weights[index] for index in listed]
        shares = zip(listed, split(MILLION, weights), split(value, weights), strict=True)
        credits_[model] = [[index, weight, share] for index, weight, share in shares]
        if status == "rejected":
            rejected[model] = split(reported, weights)
    attribution: Attribution = {
        "site": order["site"],
        "conversion_id": order["conversion_id"],
        "visitor_id": order["visitor_id"],
        "conversion_time": time,
        "action": order["action"],
        "order_id": order["order_id"],
        "status": status,
        "currency": order["currency"],
        "value_micros": value,
        "value_reported_micros": reported,
        "revision": order["revision"],
        "withdrawn": False,
        "counted": counted,
        "touches": [_shown(touch) for touch in candidates] or [_nobody(time)],
        "credits": credits_,
    }
    if rejected:
        attribution["rejected_micros"] = rejected
    return attribution


def withdraw(attribution: Attribution) -> Attribution:
    """The attribution once its conversion has moved to another visitor: its last credits stay listed, for show."""
    return attribution | {"withdrawn": True}


def differs(new: Attribution, old: Attribution | None) -> bool:
    """Whether two attributions differ in their result."""
    if old is None:
        return True
    return _result(new) != _result(old)


def duplicates(conversions: Iterable[tuple[Order, Sequence[Touch], str]]) -> set[str]:
    """Ids of the conversions that fall out by their site's policy; the earliest of each group stays.

    `conversions`: (order, candidates, policy) for all of a visitor's conversions at one site. One that comes `SAME_MS`
    after the one before it is the first of another group.
    """
    seen: dict[tuple[str, ...], int] = {}
    fallen = set()
    for order, candidates, policy in sorted(conversions, key=lambda c: (c[0]["time"], c[0]["conversion_id"])):
        if policy == "once_per_visitor":
            group: tuple[str, ...] = (policy, order["action"])
        elif policy == "once_per_click":
            click = next((touch for touch in reversed(candidates) if touch["type"] != "impression"), None)
            if click is None:
                continue
            group = (policy, order["action"], click["event_id"])
        else:
            continue
        if group in seen and order["time"] - seen[group] <= SAME_MS:
            fallen.add(order["conversion_id"])
        seen[group] = order["time"]
    return fallen


def attribute_journey(journey: Journey, orders: Sequence[tuple[Order, str]]) -> list[Attribution]:
    """Attribute all of a visitor's conversions: (order, duplicate policy) each, results in the same order."""
    found = [(order, journey.candidates(order["time"], order.get("named_at", 0)), policy) for order, policy in orders]
    fallen = duplicates(found)
    return [
        attribute(order, candidates, duplicate=order["conversion_id"] in fallen) | {"order": order}
        for order, candidates, _ in found
    ]


def _result(attribution: Attribution) -> Attribution:
    result = {name: value for name, value in attribution.items() if name not in _HISTORY}
    result["order"] = attribution["order"] | {"revision": 0, "named_at": 0}
    return result


def _shown(touch: Touch) -> dict[str, Any]:
    shown = {"touch_id": touch["event_id"], "type": touch["type"], "time": touch["time"]}
    for name in _DIMENSIONS:
        shown[name] = touch.get(name, "")
    return shown


def _nobody(time: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"touch_id": "", "type": "", "time": time}
    return shown | dict.fromkeys(_DIMENSIONS, "") | {"channel": DIRECT, "source": "(direct)", "medium": "(none)"}
