"""Explanations: why a touch is no candidate of a conversion, and why a candidate earns nothing under a model.

Rule: `Journey.candidates` and the models decide, this only says why; a touch has no reason exactly where it is a
candidate, and a candidate has no reason exactly where it has weight (tests compare both on random journeys).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from streams.core.journeys import DIRECT
from streams.core.models import WEIGHTS
from streams.core.registry import MAX_LOOKBACK_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.reasons import Model
    from streams.core.journeys import Journey, Touch

NoCandidate = Literal[
    "invalid",
    "internal",
    "continuation",
    "arrival",
    "after_conversion",
    "lookback",
    "visitor_named_late",
    "impression_beside_click",
    "beyond_500",
]
"""Why a touch is no candidate (contract, section 3, rules 1 to 4)."""

NoCredit = Literal["not_last", "not_first", "direct_passed_over", "not_last_non_direct"]
"""Why a candidate earns nothing under a model."""

NO_CANDIDATE: Final[tuple[NoCandidate, ...]] = get_args(NoCandidate)
NO_CREDIT: Final[tuple[NoCredit, ...]] = get_args(NoCredit)

TEXTS: Final[dict[NoCandidate | NoCredit, str]] = {
    "invalid": "invalid",
    "internal": "internal, a return from the site itself or a payment or login provider",
    "continuation": "continuation of an earlier touch's visit",
    "arrival": "arrival of a click of ours, which counts instead",
    "after_conversion": "after the conversion",
    "lookback": "older than its lookback",
    "visitor_named_late": "more than 90 days older than the event that named the visitor",
    "impression_beside_click": "an impression beside clicks or landings",
    "beyond_500": "between the first and the latest 499 candidates",
    "not_last": "a later touch takes it all",
    "not_first": "an earlier touch takes it all",
    "direct_passed_over": "Direct, passed over",
    "not_last_non_direct": "a later touch that is not Direct takes it all",
}
"""What a reason says to a person."""


class Why(NamedTuple):
    """A reason, what is known about it, and the event id of the other touch it is about ('' where there is none)."""

    reason: NoCandidate
    detail: str = ""
    other: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A touch of the journey: its place among the candidates (0 is the first; None: it is none), else why not."""

    touch: Touch
    place: int | None
    reasons: list[Why] = field(default_factory=list)


def judge(journey: Journey, conversion_time: int, named_at: int = 0) -> list[Judged]:
    """Every touch of `journey`, in order, with regard to a conversion; times in ms, `named_at` as `Journey` has it."""
    places = {id(touch): place for place, touch in enumerate(journey.candidates(conversion_time, named_at))}
    clicks = {
        touch["click_id"]: touch["event_id"]
        for touch in journey.touches
        if touch["type"] == "click" and "click_id" in touch
    }
    reasons: list[list[Why]] = []
    latest: Touch | None = None
    clicked = False
    for touch, role in zip(journey.touches, journey.roles, strict=True):
        own = _own_reasons(journey, touch, conversion_time, named_at)
        if role:
            own.insert(0, _of_role(touch, role, latest, clicks))
        reasons.append(own)
        if touch["type"] != "impression":
            latest = touch
            clicked = clicked or not (own or (touch["type"] == "landing" and touch["channel"] == DIRECT))
    found = []
    for touch, own in zip(journey.touches, reasons, strict=True):
        place = places.get(id(touch))
        if place is None and not own:
            # Nothing about itself: what else was there kept it out.
            own.append(Why("impression_beside_click" if clicked and touch["type"] == "impression" else "beyond_500"))
        found.append(Judged(touch, place, own))
    return found


def weightless(model: Model, candidates: Sequence[Touch]) -> list[NoCredit | None]:
    """For each candidate in journey order why it has no weight under `model`; None where it has some."""
    direct = [touch["channel"] == DIRECT for touch in candidates]
    weights = WEIGHTS[model]([0] * len(candidates), direct) if candidates else []
    found: list[NoCredit | None] = []
    for index, weight in enumerate(weights):
        if weight:
            found.append(None)
        elif model == "first_touch":
            found.append("not_first")
        elif model == "last_non_direct" and not all(direct):
            found.append("direct_passed_over" if direct[index] else "not_last_non_direct")
        else:
            found.append("not_last")
    return found


def _own_reasons(journey: Journey, touch: Touch, conversion_time: int, named_at: int) -> list[Why]:
    """Why the touch itself is no candidate, its role aside; a lookback in ms."""
    found = []
    if not touch["valid"]:
        found.append(Why("invalid", ", ".join(touch["invalid_reasons"])))
    age = conversion_time - touch["time"]
    if age < 0:
        found.append(Why("after_conversion"))
    else:
        lookback = journey.lookback(touch)
        if not lookback or age > lookback:
            found.append(Why("lookback", str(lookback)))
        elif named_at - touch["time"] > MAX_LOOKBACK_MS:
            found.append(Why("visitor_named_late"))
    return found


def _of_role(touch: Touch, role: Any, latest: Touch | None, clicks: dict[str, str]) -> Why:
    if role == "arrival":
        return Why("arrival", other=clicks.get(touch["hw_cid"], ""))
    if role == "continuation" and latest is not None:
        return Why("continuation", other=latest["event_id"])
    return Why(role)
