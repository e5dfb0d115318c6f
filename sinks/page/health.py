"""Health of tracking: what the roles say, judged, in words that need no manual.

Rule: pure. Each figure has a state (``good``, ``attention``, ``bad``, ``unknown``) and, where it is not good, a
sentence that says what it means for the figures on the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from schemas.reasons import OUTCOMES
from schemas.topics import INPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinks.page.roles import Role

SOURCES: Final = ("clicks", "conversions", "costs")
"""Topics that senders write to; what lies between the worker's two steps is not counted again."""
COMMIT_AGE_S: Final = (15.0, 60.0)
"""Time since a commit with work waiting: past the first attention, past the second bad (pitfalls of the client: a
partition that reads and does not commit for a minute does not recover by itself)."""
SINK_LAG_S: Final = (10.0, 60.0)
LAG_EVENTS: Final = 100_000
"""More than this waiting is worth attention even while it is being worked off."""
REFUSED_SHARE: Final = 0.05
_ORDER: Final = ("good", "unknown", "attention", "bad")


def counters(roles: Sequence[Role]) -> dict[str, dict[str, float]]:
    """Process -> outcome -> events so far: of the worker's sources, and what collectors refused at the door."""
    found = {}
    for role in roles:
        counts: dict[str, float] = {
            outcome: sum(sum(role.find("headwater_events_total", topic=topic, outcome=outcome)) for topic in SOURCES)
            for outcome in OUTCOMES
        }
        counts["dead_letter"] += sum(role.find("headwater_collector_events_total", outcome="dead_letter"))
        if role.state != "away":
            found[role.name] = counts
    return found


def judge(roles: Sequence[Role], rates: Mapping[str, float] | None) -> dict[str, Any]:
    """The verdict, its reasons, and each figure with its state."""
    lag = _waiting(roles)
    age = max((value for role in roles for value in role.find("headwater_commit_age_seconds")), default=None)
    sink = max((value for role in roles for value in role.find("headwater_sink_lag_seconds")), default=None)
    lost = sum(value for role in roles for value in role.find("headwater_lost_records_total"))
    figures = {
        "lag": _figure(lag, "attention" if (lag or 0) > LAG_EVENTS else "good"),
        "commit_age": _figure(age, _level(age, COMMIT_AGE_S)),
        "sink_lag": _figure(sink, _level(sink, SINK_LAG_S)),
        "refused": _refused(rates),
    }
    problems = [*_away(roles), *_slow(figures)]
    if lost:
        problems.append(("bad", f"Kafka deleted {lost:,.0f} events before they were read. They are lost."))
    verdict = max((state for state, _ in problems), key=_ORDER.index, default="good")
    if verdict == "good" and not roles:
        verdict = "unknown"
    return {
        "verdict": verdict,
        "problems": [{"state": state, "text": text} for state, text in problems],
        "figures": figures,
        "rates": None if rates is None else {name: round(rates.get(name, 0.0), 3) for name in OUTCOMES},
        "roles": [
            {"name": role.name, "address": role.address, "state": role.state, "reason": role.reason} for role in roles
        ],
    }


def _away(roles: Sequence[Role]) -> list[tuple[str, str]]:
    meaning = {
        "collector": "New events are not taken in.",
        "worker": "Events wait in Kafka and are counted later; none is lost.",
        "sink": "Results wait in Kafka and are shown later; none is lost.",
    }
    found = []
    for role in roles:
        if role.state == "up":
            continue
        kind = role.name.partition("-")[0]
        what = "does not answer" if role.state == "away" else f"is not ready: {role.reason}"
        text = f"{role.name} {what.rstrip('.')}. {meaning.get(kind, '')}".strip()
        found.append(("bad" if role.state == "away" else "attention", text))
    return found


def _slow(figures: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    texts = {
        "lag": "{:,.0f} events wait to be counted; the latest figures are incomplete until then.",
        "commit_age": "A part of the events has not moved on for {:,.0f} s, though there is work.",
        "sink_lag": "Results reach ClickHouse {:,.0f} s late; the page is behind by that much.",
        "refused": "{:.0f} % of the events of the last minute were refused; see the reasons below.",
    }
    return [
        (figure["state"], texts[name].format(100 * figure["value"] if name == "refused" else figure["value"]))
        for name, figure in figures.items()
        if figure["state"] in {"attention", "bad"}
    ]


def _refused(rates: Mapping[str, float] | None) -> dict[str, Any]:
    total = sum((rates or {}).values())
    share = (rates or {}).get("dead_letter", 0.0) / total if total else None
    return _figure(share, "attention" if (share or 0.0) > REFUSED_SHARE else "good")


def _figure(value: float | None, state: str) -> dict[str, Any]:
    return {"value": value, "state": "unknown" if value is None else state}


def _level(value: float | None, limits: tuple[float, float]) -> str:
    if value is None or value <= limits[0]:
        return "good"
    return "attention" if value <= limits[1] else "bad"


def _waiting(roles: Sequence[Role]) -> float | None:
    """Records that the worker has not taken yet, over all partitions; None where nobody says."""
    found = [value for role in roles for topic in INPUTS for value in role.find("headwater_consumer_lag", topic=topic)]
    return sum(found) if found else None
