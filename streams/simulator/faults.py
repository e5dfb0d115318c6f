"""What goes wrong on the way: retries, clocks that are off, and events that must be refused, each with its reason.

Rule: a fault never changes the truth; it adds to the counts of duplicates or dead letters, or travels oddly. Fourth
step of the simulator: journeys and orders -> faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streams.simulator.journeys import DAY, HOUR, Event
from streams.simulator.shop import SITE, shop_url

if TYPE_CHECKING:
    from random import Random

FAR_FUTURE: Final = 32_503_680_000_000
"""The year 3000."""


def broken_lines(rng: Random, count: int) -> list[bytes]:
    """`count` lines that are no JSON objects: ``malformed``."""
    lines = []
    for _ in range(count):
        mark = f"{rng.getrandbits(64):016x}"
        lines.append(
            rng.choice(
                (
                    f'{{"event_id": "bad-{mark}", "type": "landing", "time": 17'.encode(),
                    f"GET /pixel.gif?e={mark} HTTP/1.1".encode(),
                    b"\xff\xfe\x00garbage " + mark.encode(),
                    f'"{mark}"'.encode(),
                    f"event_id=bad-{mark}&type=click".encode(),
                )
            )
        )
    return lines


def misshapen(rng: Random, end: int) -> Event:
    """An object that breaks the schema in one way: ``schema``."""
    event: dict[str, Any] = {
        "event_id": f"bad-{rng.getrandbits(64):016x}",
        "type": "landing",
        "time": end - rng.randint(HOUR, DAY),
        "site": SITE,
        "visitor_id": f"b{rng.getrandbits(64):016x}",
        "url": shop_url("/"),
    }
    fault: dict[str, Any] = rng.choice(
        (
            {"time": None},
            {"time": "yesterday"},
            {"time": "2026-01-01T00:00:00"},
            {"time": True},
            {"visitor_id": 4711},
            {"visitor_id": ""},
            {"event_id": "x" * 65},
            {"event_id": None},
            {"site": None},
            {"type": "teleport"},
            {"type": None},
            {"url": ["a", "list"]},
            {"cost": "12,50"},
            {"cost": -1},
            {"cost": 1, "currency": "EURO"},
            {"type": "conversion", "action": None},
            {"type": "conversion", "action": "purchase", "value": "NaN"},
            {"type": "conversion", "action": "purchase", "status": "maybe"},
            {"type": "adjustment", "adjustment": "restate", "action": "purchase", "order_id": "o-1"},
            {"type": "adjustment", "adjustment": "retract"},
            {"type": "verdict", "valid": "no", "touch_event_id": "lan-1"},
            {"type": "consent"},
        )
    )
    event |= fault
    return event


def mistimed(rng: Random, end: int) -> tuple[Event, str]:
    """An event that is refused for its time, and the reason."""
    event: Event = {
        "event_id": f"off-{rng.getrandbits(64):016x}",
        "type": "landing",
        "time": 0,
        "site": SITE,
        "visitor_id": f"b{rng.getrandbits(64):016x}",
        "url": shop_url("/"),
    }
    order = {"type": "conversion", "action": "purchase", "order_id": f"b-{rng.getrandbits(48):012x}", "value": 1}
    kind = rng.randrange(5)
    if kind == 0:
        return event | {"time": end - rng.randint(8 * DAY, 60 * DAY)}, "too_old"
    if kind == 1:
        return event | order | {"time": end - rng.randint(36 * DAY, 300 * DAY)}, "too_old"
    if kind == 2:
        return event | {"time": FAR_FUTURE}, "in_future"
    if kind == 3:
        return event | order | {"time": end + rng.randint(2 * DAY, 300 * DAY)}, "in_future"
    return event | {"time": end + rng.randint(2 * DAY, 9 * DAY)}, "in_future"


def collide(rng: Random, event: Event) -> Event:
    """`event`'s identity with other content: ``id_collision``, if it comes after `event`."""
    if event["type"] == "conversion":
        return event | {"value": rng.randint(100_000, 200_000)}
    return event | {"content": f"other-{rng.getrandbits(32):08x}"}
