"""``headwater bench restore``: a worker whose disk is empty, until all its state is there again from Kafka.

Rule: the state is what a real worker left in its output topics. A unit says how many records it restored and how long
it took; all units of the process restore at once, so the slowest of them is the clock.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streams.cli.bench.figures import Figure, Ratios, Result, Run, tell, tell_run

if TYPE_CHECKING:
    from streams.cli.bench.stage import Stage

FIGURES: Final = (
    Figure("records_per_s", "records/s", goal=400_000, more=True),
    Figure("cpu_us_per_record", "us of CPU a record", 2),
    Figure("read_us", "  floor: Kafka's client alone", 2),
    Figure("times_floor", "  times the floor", 1),
    Figure("seconds", "seconds", 2),
    Figure("memory_mb", "MB of memory"),
)
RATIOS: Final[Ratios] = {"times_floor": ("cpu_us_per_record", ("read_us",))}
_WATCHED: Final = ("headwater_restore_seconds_count",)


def restore(
    *,
    events: Annotated[int, typer.Option(help="Events that a worker has made state of before.")] = 400_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs, each from an empty disk; the median counts.")] = 3,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, a line a run and the medians last.")] = False,
    profile: Annotated[Path | None, typer.Option(help="Write a py-spy profile of the last run there.")] = None,
) -> None:
    """Time a restore: a worker's whole state, from Kafka into an empty disk."""
    asyncio.run(_restore(events, runs, profile, json_=json_))


async def _restore(events: int, runs: int, profile: Path | None, *, json_: bool) -> None:
    from streams.cli.bench import worker
    from streams.cli.bench.stage import open_stage
    from streams.simulator.load import Load

    load = Load(events=events)
    result = Result("restore", FIGURES, describe(load.events))
    async with open_stage(load) as stage:
        await worker.measure(stage, load)
        for run in range(runs):
            found = await measure(stage, run, profile if run == runs - 1 else None)
            tell_run(result, found, json_=json_)
    tell(result, json_=json_)


def describe(events: int) -> str:
    """The conditions in words."""
    return f"1 worker, empty disk: the state after {events:,} events"


async def measure(stage: Stage, number: int, profile: Path | None = None) -> Run:
    """Run `number` over what lies in the stage's output topics."""
    from schemas.topics import STATE
    from streams.cli.bench import worker
    from streams.cli.bench.stage import Counters, follow

    floor = json.loads(await stage.run("streams.cli.bench.floors", "read", stage.settings.kafka, *STATE, label="floor"))
    label = f"restore-{number}"
    state = str(stage.directory / label)
    role = stage.role("worker", label=label, worker_state_dir=state, log_level="INFO")
    async with role, Counters(role.port, *_WATCHED) as counters:
        profiler = await worker.start_profiler(profile, role.pid) if profile is not None else None
        await follow(role, counters, worker.opened, stage.settings.partitions)
        ended = role.sample()
    if profiler is not None:
        await profiler.wait()
    records, seconds = _told(role.log)
    begun = min(role.samples, key=lambda sample: abs(sample.at - (ended.at - seconds)))
    cpu = (ended.cpu - begun.cpu) / records * 1e6
    return {
        "records": records,
        "seconds": seconds,
        "records_per_s": round(records / seconds),
        "cpu_us_per_record": round(cpu, 2),
        "read_us": floor["read_us"],
        "times_floor": round(cpu / floor["read_us"], 2),
        "memory_mb": round(ended.memory / 1e6, 1),
    }


def _told(log: Path) -> tuple[int, float]:
    """What the units of a worker say in its log: records of all, seconds of the slowest."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    opened = [line for line in lines if line.get("event") == "unit_open"]
    return sum(line["restored"] for line in opened), max(line["seconds"] for line in opened)
