"""``make soak``: 40 simulated days, day by day, after as many as the state remembers; memory and disk must stay flat.

Rule: a real worker on a real Kafka; only its clock is ours. The state is filled first with all that it ever holds at
once, in steps of ten days; then each day's events come, the clock goes on, and the state is swept.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from deploy.local.ports import free_port
from schemas.topics import DAY_MS, PANES_DAYS
from streams.cli.bench.stage import Counters, Role, Stage, follow, open_stage
from streams.simulator.load import produce
from tests.soak.days import Days

STEP_DAYS = 10
FULL_DAYS = PANES_DAYS + 3 * STEP_DAYS
GROWTH = 1.1
"""The last ten days over the first ten; compactions come and go."""
WATCHED = (
    "headwater_records_read_total",
    "headwater_sweeps_total",
    "headwater_forgotten_entries_total",
    "headwater_renewed_entries_total",
)


class Day(NamedTuple):
    """What a day ended with: bytes on disk and in memory, entries forgotten and renewed until then."""

    disk: int
    memory: int
    forgotten: int
    renewed: int


def main() -> None:
    """Run it; ends with 1 where something grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=40, help="days that are looked at")
    parser.add_argument("--events", type=int, default=1_000, help="events a day")
    arguments = parser.parse_args()
    sys.exit(asyncio.run(soak(arguments.days, arguments.events)))


async def soak(days: int, events: int) -> int:
    """The exit status."""
    async with open_stage() as stage:
        clock = stage.directory / "clock"
        today = stage.end_ms // DAY_MS
        start = today - days - FULL_DAYS
        clock.write_text(str(start * DAY_MS))
        argv = (sys.executable, "-m", "tests.soak.clocked_worker", str(clock))
        port = free_port()
        role = stage.program(argv, "worker", port, {"worker_metrics_port": str(port), "worker_memory_mb": "32"})
        async with role, Counters(port, *WATCHED) as counters:
            await role.until_ready()
            go = partial(advance, stage, role, counters, clock, events)
            for first in range(start, today - days, STEP_DAYS):
                filled = await go(first, first + STEP_DAYS)
            print(f"filled with {today - days - start} days of {events} events: {told(filled)}", flush=True)
            found = []
            for day in range(today - days, today):
                found.append(await go(day, day + 1))
                print(f"day {len(found)}: {told(found[-1])}", flush=True)
    return verdict(found)


async def advance(stage: Stage, role: Role, counters: Counters, clock: Path, events: int, first: int, last: int) -> Day:
    """Send the events of some days, let them pass, and have the state swept."""
    read = partial(total, "headwater_records_read_total")
    before = await counters.read()
    load = Days(first, last, events)
    count = sum(1 for _ in load.make())
    await produce(stage.settings, load, stage.end_ms)
    await follow(role, counters, read, read(before) + count)
    clock.write_text(str(last * DAY_MS))
    swept = partial(total, "headwater_sweeps_total")
    await follow(role, counters, swept, swept(await counters.read()) + stage.settings.partitions)
    now = await counters.read()
    disk = sum(file.stat().st_size for file in stage.settings.state_dir.rglob("*") if file.is_file())
    forgotten = int(total("headwater_forgotten_entries_total", now))
    return Day(disk, role.sample().memory, forgotten, int(total("headwater_renewed_entries_total", now)))


def total(name: str, found: dict[str, float]) -> float:
    """A metric's sum over its labels."""
    return sum(value for series, value in found.items() if series.partition("{")[0] == name)


def told(day: Day) -> str:
    """A day in words."""
    return (
        f"{day.disk / 1e6:.1f} MB on disk, {day.memory / 1e6:.0f} MB of memory, "
        f"{day.forgotten:,} forgotten, {day.renewed:,} renewed"
    )


def verdict(found: list[Day]) -> int:
    """Compare the end with the beginning; says so, and returns the exit status."""
    tenth = max(1, len(found) // 4)
    flat = True
    for name in ("disk", "memory"):
        first = median(getattr(day, name) for day in found[:tenth])
        last = median(getattr(day, name) for day in found[-tenth:])
        flat = flat and last <= first * GROWTH
        print(f"{name}: {first / 1e6:.1f} MB at the beginning, {last / 1e6:.1f} MB at the end")
    print("flat" if flat else "NOT FLAT")
    return 0 if flat else 1


if __name__ == "__main__":
    main()
