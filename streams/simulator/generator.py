"""The simulator's door: so many lines of events of a shop, ending at a given time, and the truth about them.

Rule: the same count, seed, end and keys give the same bytes; no clock is read. Lines are in the order in which they
arrive, which is not the order in which things happened; what claims another event's identity comes last, in a part of
its own, so that which of the two was first is never in doubt.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

import orjson

from streams.simulator.click_ids import DEFAULT_KEYS
from streams.simulator.faults import broken_lines, collide, misshapen, mistimed
from streams.simulator.journeys import DAY, HOUR, MINUTE, SECOND, Event, Visitor, make_visitor, pick_way
from streams.simulator.orders import place_orders
from streams.simulator.shop import CURRENCY, registry
from streams.simulator.spending import state_costs
from streams.simulator.truth import Knowledge, Truth, tell_truth

SPAN_MS: Final = 6 * DAY + 12 * HOUR
"""How far back touches go: touches older than 7 days at their receipt are refused."""
BUYERS: Final = 0.045
DENIALS: Final = 0.015
VERDICTS: Final = 0.015
DUPLICATES: Final = 0.02
BROKEN: Final = 0.003
MISSHAPEN: Final = 0.004
MISTIMED: Final = 0.003
COLLISIONS: Final = 0.001
COSTS: Final = 0.01
"""Lines about costs, of all lines, where there are to be any; `MOST_COSTS` at most."""
MOST_COSTS: Final = 240
CLOCK_OFFSETS: Final = (-3 * DAY, -7 * HOUR, -11 * MINUTE, 25 * MINUTE, 2 * HOUR, 5 * DAY)


class Line(NamedTuple):
    """One line: an event, or `raw` bytes that are none. `outcome`: accepted, duplicate, or the reason of its refusal.

    An event bears ``received_at``, as if it had come then, and, if its sender tells, ``sent_at``.
    """

    outcome: str
    event: Event | None = None
    raw: bytes = b""

    def dump(self) -> bytes:
        """The bytes of this line, without a line end."""
        return self.raw if self.event is None else orjson.dumps(self.event)


@dataclass(frozen=True, slots=True)
class Simulation:
    """A simulated shop. `first`: lines in the order of arrival; `last`: lines that must come after all of those.

    `registry`: ``sites`` and ``campaigns`` as ``headwater campaigns apply`` takes them, to be applied beforehand.
    """

    seed: int
    end_ms: int
    first: list[Line]
    last: list[Line]
    registry: dict[str, list[dict[str, Any]]]
    known: Knowledge
    truth: Truth

    @property
    def lines(self) -> list[Line]:
        """All lines, in order."""
        return self.first + self.last


def simulate(events: int, seed: int, end_ms: int, keys: str = DEFAULT_KEYS, *, costs: bool = False) -> Simulation:
    """Simulate a shop in exactly `events` lines, up to `end_ms` (milliseconds since the epoch).

    `keys` sign click ids (``name:secret,...``, as in the settings); `costs`: some lines are statements of cost, which a
    collector takes as imports only. Raises `ValueError` for fewer than one event.
    """
    if events < 1:
        raise ValueError("a simulation has at least one event")
    rng = Random(f"{seed}/{events}/{end_ms}")  # noqa: S311 - a simulation, nothing secret
    faults = {name: int(events * part) for name, part in _FAULT_PARTS.items()}
    known = Knowledge()
    about_costs = min(int(events * COSTS), MOST_COSTS) if costs else 0
    written = _write_visitors(rng, events - sum(faults.values()) - about_costs, end_ms, keys, known)
    lines = [Line("accepted", event) for event in written]
    repeatable = [event for event in written if event["type"] != "verdict"]
    repeated = rng.sample(repeatable, min(faults["duplicates"], len(repeatable)))
    lines += [Line("duplicate", _repeat(rng, event, end_ms)) for event in repeated]
    touched = [event for event in written if event["type"] in {"click", "landing", "conversion"}]
    collided = rng.sample(touched, min(faults["collisions"], len(touched)))
    last = [Line("id_collision", collide(rng, event) | {"received_at": end_ms}) for event in collided]
    lines += [Line("malformed", raw=raw) for raw in broken_lines(rng, faults["broken"])]
    lines += [Line("schema", misshapen(rng, end_ms) | {"received_at": end_ms}) for _ in range(faults["misshapen"])]
    for _ in range(faults["mistimed"]):
        event, reason = mistimed(rng, end_ms)
        lines.append(Line(reason, event | {"received_at": end_ms}))
    if about_costs:
        spent, claiming = state_costs(rng, about_costs, SPAN_MS, end_ms, known)
        lines += [Line(outcome, event) for outcome, event in spent]
        last += [Line("id_collision", event) for event in claiming]
    first = _in_order_of_arrival(rng, lines, end_ms)
    counts = Counter(line.outcome for line in first + last)
    accepted, duplicates = counts.pop("accepted", 0), counts.pop("duplicate", 0)
    truth = tell_truth(known, CURRENCY, accepted, duplicates, dict(counts))
    return Simulation(seed, end_ms, first, last, registry(end_ms), known, truth)


def _write_visitors(rng: Random, events: int, end: int, keys: str, known: Knowledge) -> list[Event]:
    """Exactly `events` events of visitors, with ``received_at``; what they mean goes to `known`."""
    written: list[Event] = []
    while len(written) < events:
        visitor = _one_visitor(rng, end, keys)
        if len(written) + len(visitor.events) > events:
            # The last few places: visitors of one page each.
            visitor = Visitor(rng, f"v{rng.getrandbits(64):016x}", end, keys)
            way = pick_way(rng)
            while way.form == "click":
                way = pick_way(rng)
            visitor.enter(end - rng.randint(HOUR, SPAN_MS), way)
        for event in visitor.events:
            event.setdefault("received_at", min(event["time"] + _delay(rng), max(end, event["time"])))
            if "sent_at" not in event and rng.random() < 0.15:
                event["sent_at"] = event["received_at"] - rng.randint(20, 2000)
        written += visitor.events
        known.add(visitor.known)
    return written


def _one_visitor(rng: Random, end: int, keys: str) -> Visitor:
    buyer = rng.random() < BUYERS
    visitor = make_visitor(rng, end - SPAN_MS, end, keys, buyer=buyer)
    if buyer:
        place_orders(visitor)
    if visitor.free and rng.random() < (0.1 if buyer else VERDICTS):
        visitor.judge(rng.choice(visitor.free))
    elif rng.random() < DENIALS:
        visitor.deny()
    elif rng.random() < 0.05:
        _set_clock_wrong(rng, visitor)
    return visitor


def _set_clock_wrong(rng: Random, visitor: Visitor) -> None:
    """Let the sender of one event go by a wrong clock, where being off by a moment after correction changes nothing.

    Corrected times depend on when the event arrives, to the millisecond; so only a visitor's single touch, or an
    order's single event well after all touches, is sent like that.
    """
    conversions = [event for event in visitor.events if event["type"] in {"conversion", "adjustment"}]
    touches = visitor.known.touches
    if not conversions and len(visitor.events) == 1:
        event = visitor.events[0]
    elif len(conversions) == 1 and all(
        touch.kind != "impression" and touch.time < conversions[0]["time"] - 5 * MINUTE for touch in touches
    ):
        event = conversions[0]
    else:
        return
    event["received_at"] = min(event["time"] + _delay(rng), max(visitor.end, event["time"]))
    offset = rng.choice(CLOCK_OFFSETS)
    event["time"] += offset
    event["sent_at"] = event["received_at"] + offset


def _delay(rng: Random) -> int:
    """How long an event is on its way: mostly moments, now and then hours or days."""
    chance = rng.random()
    if chance < 0.9:
        return rng.randint(20, 5 * SECOND)
    return rng.randint(MINUTE, 2 * HOUR) if chance < 0.96 else rng.randint(2 * HOUR, 2 * DAY)


def _repeat(rng: Random, event: Event, end: int) -> Event:
    """The same event sent again: byte for byte, or at another time, or written in another order."""
    chance = rng.random()
    if chance < 0.4:
        return event
    shift = rng.choice((0, SECOND, 30 * SECOND, HOUR))
    shift = min(shift, max(end - event["received_at"], 0))
    again = event | {"received_at": event["received_at"] + shift}
    if "sent_at" in event:
        again["sent_at"] = event["sent_at"] + shift
    else:
        again["sent_at"] = again["received_at"] - rng.randint(20, 60 * SECOND)
    return dict(reversed(again.items())) if chance > 0.8 else again


def _in_order_of_arrival(rng: Random, lines: list[Line], end: int) -> list[Line]:
    def arrival(line: Line) -> int:
        if line.event is not None and line.outcome in {"accepted", "duplicate"}:
            return int(line.event["received_at"])
        return end - rng.randint(0, SPAN_MS)

    return sorted(lines, key=arrival)


_FAULT_PARTS: Final = {
    "duplicates": DUPLICATES,
    "broken": BROKEN,
    "misshapen": MISSHAPEN,
    "mistimed": MISTIMED,
    "collisions": COLLISIONS,
}
