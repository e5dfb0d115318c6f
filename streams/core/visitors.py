"""A visitor with conversions, consents or verdicts: what is known of them, judged and attributed again.

Rule: a new fact touches only what it can change; what differs is emitted once a batch, old contribution out of the
panes, new one in (design, section 4).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from streams.core.attribution import attribute_journey, differs, withdraw
from streams.core.events import MAX_ADJUSTMENT_AGE_MS, STATEMENTS
from streams.core.horizon import CONSENT_MS, REACH_MS
from streams.core.journeys import Journey, Validity
from streams.core.outcome import dumps
from streams.core.panes import add_attribution, add_touch
from streams.core.registry import MAX_LOOKBACK_MS
from streams.core.state import ALWAYS, VISITOR_PREFIX, attribution_key, visitor_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from schemas.reasons import Cause
    from streams.core.attribution import Attribution
    from streams.core.orders import Order
    from streams.core.outcome import Outcome, Scope
    from streams.core.registry import Registry
    from streams.core.state import View

Touch = dict[str, Any]


class Visitor:
    """One visitor of one site: touches and statements by state key, attributions by conversion id."""

    def __init__(self, visitor: bytes, view: View, scope: Scope, fresh: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Load a visitor (16 bytes of hash) from `view`, and what the batch itself has put (`fresh`) on top."""
        self.hash = visitor
        self.scope = scope
        self.touches: dict[bytes, Touch] = {}
        self.statements: dict[bytes, dict[str, Any]] = {}
        self.attributions: dict[str, Attribution] = {}
        self.until = 0
        """Up to when (ms) a touch can change what is known: what the visitor's mark is to say."""
        for key, value in chain(view.scan(visitor_key(visitor)), fresh):
            kind = key[VISITOR_PREFIX : VISITOR_PREFIX + 1]
            if kind == b"t":
                self.know(key, orjson.loads(value))
            else:
                attribution = orjson.loads(value)
                self.attributions[attribution["conversion_id"]] = attribution
                self.until = max(self.until, attribution["conversion_time"])

    def know(self, key: bytes, record: dict[str, Any]) -> None:
        """Take a touch, consent or verdict into account."""
        if record["type"] in STATEMENTS:
            self.statements[key] = record
            self.until = ALWAYS
        else:
            self.touches[key] = record

    def validity(self) -> Validity:
        """What the known statements say of touches."""
        statements = self.statements.values()
        return Validity(
            (s for s in statements if s["type"] == "consent"), (s for s in statements if s["type"] == "verdict")
        )

    def judge(self, outcome: Outcome, new: set[bytes], stated: Sequence[int]) -> None:
        """Judge the `new` touches, and again those that statements made `stated` (ms) reach; emit what changed."""
        validity = self.validity()
        since = min(stated, default=0) - REACH_MS
        until = max(stated) + CONSENT_MS if stated else since
        for key, touch in self.touches.items():
            is_new = key in new
            if not (is_new or since <= touch["time"] <= until):
                continue
            site = self.scope.registry.site(touch["site"], touch["time"])
            reasons = validity.reasons(touch, site.consent_default)
            if not is_new:
                if reasons == touch["invalid_reasons"]:
                    continue
                add_touch(outcome.pane_changes, touch, -1)
            touch["invalid_reasons"] = reasons
            touch["valid"] = not reasons
            outcome.invalid.update(reasons)
            add_touch(outcome.pane_changes, touch)
            outcome.state("touches", touch["visitor_id"].encode(), key, dumps(touch))

    def review(self, outcome: Outcome, classify_again: Callable[[Touch, Registry], Touch], now: int) -> None:
        """Classify, judge and attribute all again, under another registry; emit what differs."""
        validity, registry = self.validity(), self.scope.registry
        for key, old in self.touches.items():
            touch = classify_again(old, registry)
            reasons = validity.reasons(touch, registry.site(touch["site"], touch["time"]).consent_default)
            touch["invalid_reasons"] = reasons
            touch["valid"] = not reasons
            if touch == old:
                continue
            self.touches[key] = touch
            add_touch(outcome.pane_changes, old, -1)
            add_touch(outcome.pane_changes, touch)
            outcome.invalid.update(reason for reason in reasons if reason not in old["invalid_reasons"])
            outcome.state("touches", touch["visitor_id"].encode(), key, dumps(touch))
        self.attribute(outcome, "registry", now)

    def attribute(self, outcome: Outcome, cause: Cause, now: int, span: tuple[int, int] | None = None) -> None:
        """Attribute again the conversions that touches within `span` (ms) can change (None: all); emit what differs."""
        known = [a["order"] for a in self.attributions.values() if not a["withdrawn"]]
        orders = [(order, self._policy(order)) for order in known]
        if span is not None and all(policy != "once_per_click" for _, policy in orders):
            orders = [
                (order, policy)
                for order, policy in orders
                if policy == "once_per_visitor" or span[0] <= order["time"] <= span[1] + 2 * MAX_LOOKBACK_MS
            ]
        self._attribute(outcome, orders, cause, now)

    def take_order(self, outcome: Outcome, order: Order, cause: Cause, now: int) -> None:
        """Attribute a conversion that is new here, or of which new facts are known."""
        others = [
            a["order"]
            for a in self.attributions.values()
            if not a["withdrawn"] and a["conversion_id"] != order["conversion_id"]
        ]
        orders = [(other, self._policy(other)) for other in others]
        orders = [(other, policy) for other, policy in orders if policy != "once_per_order"]
        self._attribute(outcome, [*orders, (order, self._policy(order))], cause, now)

    def lose_order(self, outcome: Outcome, conversion_id: str, revision: int, now: int) -> None:
        """Withdraw a conversion that turned out to be another visitor's."""
        old = self.attributions.get(conversion_id)
        if old is None or old["withdrawn"]:
            return
        self._report(outcome, withdraw(old) | {"revision": revision}, old, "moved", now)
        self.attribute(outcome, "moved", now)

    def _policy(self, order: Order) -> str:
        """The duplicate policy that a conversion is under."""
        return self.scope.registry.site(order["site"], order["time"]).policy(order["action"])

    def _attribute(self, outcome: Outcome, orders: list[tuple[Order, str]], cause: Cause, now: int) -> None:
        """Attribute `orders` (with their duplicate policies) to the journey as it is known; emit what differs."""
        if not orders:
            return
        journey = Journey(orders[0][0]["site"], self.touches.values(), self.scope.registry)
        for result in attribute_journey(journey, orders):
            # What came in time has been heard by now; what the result rests on may be forgotten.
            if now - result["conversion_time"] > MAX_ADJUSTMENT_AGE_MS:
                continue
            self._report(outcome, result, self.attributions.get(result["conversion_id"]), cause, now)

    def _report(self, outcome: Outcome, result: Attribution, old: Attribution | None, cause: Cause, now: int) -> None:
        self.until = max(self.until, result["conversion_time"])
        if report(outcome, self.hash, result, old, cause, now, self.until):
            self.attributions[result["conversion_id"]] = result


def report(
    outcome: Outcome,
    visitor: bytes,
    result: Attribution,
    old: Attribution | None,
    cause: Cause,
    now: int,
    until: int | None = None,
) -> bool:
    """Emit an attribution as a new version, and move its panes, where it differs from the `old` one; says whether.

    `result` is completed in place: version, cause, first_reported_at and last_changed_at (ms). Where only the event
    that names the visitor is another one, the same version is written again, for later events to go by. `until` is the
    visitor's mark.
    """
    if old is not None and not differs(result, old):
        if result["order"].get("named_at") == old["order"].get("named_at"):
            return False
        result |= {name: old[name] for name in ("version", "cause", "first_reported_at", "last_changed_at")}
        _emit(outcome, visitor, result, until)
        return True
    if old is not None:
        add_attribution(outcome.pane_changes, old, -1)
    elif cause != "moved":
        cause = "first"
    result["version"] = old["version"] + 1 if old else 1
    result["cause"] = cause
    result["first_reported_at"] = old["first_reported_at"] if old else now
    result["last_changed_at"] = max(now, old["last_changed_at"]) if old else now
    add_attribution(outcome.pane_changes, result)
    outcome.causes[cause] += 1
    _emit(outcome, visitor, result, until)
    return True


def _emit(outcome: Outcome, visitor: bytes, attribution: Attribution, until: int | None) -> None:
    conversion_id, visitor_id = attribution["conversion_id"], attribution["visitor_id"]
    outcome.state(
        "attributions",
        f"{conversion_id}|{visitor_id}".encode(),
        attribution_key(visitor, conversion_id),
        dumps(attribution),
        until=until,
    )
