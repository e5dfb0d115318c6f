"""``headwater bench worker``: the whole worker, from events in Kafka to committed results, everything on.

Rule: the clock runs from the moment all units are open to the last commit; *steady* leaves out the first quarter of the
events, when caches and stores are still cold. Beside it stand its floors, over the same topics in the same run.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streams.cli.bench.figures import Figure, Ratios, Result, Run, tell, tell_run

if TYPE_CHECKING:
    from streams.cli.bench.stage import Counters, Role, Sample, Stage
    from streams.simulator.load import Load

FIGURES: Final = (
    Figure("events_per_s", "events/s", goal=80_000, more=True),
    Figure("steady_events_per_s", "events/s, steady"),
    Figure("cpu_us_per_event", "us of CPU an event", 2, goal=12),
    Figure("steady_cpu_us_per_event", "us of CPU an event, steady", 2),
    Figure("read_us", "  floor: Kafka's client alone", 2),
    Figure("parse_us", "  floor: orjson alone", 2),
    Figure("times_floor", "  times both floors together", 1),
    Figure("memory_mb", "MB of memory", 0),
    Figure("state_bytes_per_touch", "bytes of state a touch", 0, goal=120),
)
RATIOS: Final[Ratios] = {"times_floor": ("cpu_us_per_event", ("read_us", "parse_us"))}
"""What `make bench-check` compares: ratio -> the figure, and the floors under it."""
_PROFILER: Final = Path(sys.executable).with_name("py-spy")
_WATCHED: Final = ("headwater_events_total", "headwater_restore_seconds_count")
_COLD: Final = 0.25


def worker(  # noqa: PLR0913 - options
    *,
    events: Annotated[int, typer.Option(help="Events that lie in Kafka before the worker starts.")] = 400_000,
    conversions: Annotated[float, typer.Option(help="Share of conversions.")] = 0.01,
    campaigns: Annotated[int, typer.Option(help="Number of campaigns.")] = 1_000,
    visitors: Annotated[int, typer.Option(help="Number of visitors.")] = 200_000,
    workers: Annotated[int, typer.Option(min=1, max=4, help="Worker processes.")] = 1,
    before: Annotated[int, typer.Option(help="Events taken before the clock runs, for a large state.")] = 0,
    runs: Annotated[int, typer.Option(min=1, help="Runs, each from an empty state; the median counts.")] = 3,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, a line a run and the medians last.")] = False,
    profile: Annotated[Path | None, typer.Option(help="Write a py-spy profile of the last run there.")] = None,
) -> None:
    """Time the whole worker: from events in Kafka to committed results, everything on."""
    from streams.simulator.load import Load

    load = Load(events=before + events, visitors=visitors, campaigns=campaigns, conversions=conversions)
    result = Result("worker", FIGURES, describe(load, workers, before))
    for run in range(runs):
        wanted = profile if run == runs - 1 else None
        tell_run(result, asyncio.run(_run(load, workers, before, wanted)), json_=json_)
    tell(result, json_=json_)


def describe(load: Load, workers: int = 1, before: int = 0) -> str:
    """The conditions in words."""
    processes = "1 worker" if workers == 1 else f"{workers} workers"
    state = f" after {before:,} more" if before else ""
    return (
        f"{processes}: {load.events - before:,} events{state}, {load.conversions:.1%} conversions, "
        f"{load.campaigns:,} campaigns, {load.visitors:,} visitors"
    )


async def _run(load: Load, workers: int, before: int, profile: Path | None) -> Run:
    from streams.cli.bench.stage import open_stage

    async with open_stage(load) as stage:
        return await measure(stage, load, workers=workers, before=before, profile=profile)


async def measure(stage: Stage, load: Load, *, workers: int = 1, before: int = 0, profile: Path | None = None) -> Run:
    """One run over the load that lies in the stage's topics; its outputs lie there afterwards."""
    from streams.cli.bench.stage import Counters, follow

    base = stage.settings.state_dir
    async with AsyncExitStack() as stack:
        roles: list[Role] = []
        counters: list[Counters] = []
        for number in range(workers):
            state = str(base / str(number))
            role = stage.role("worker", label=f"worker-{number}", worker_state_dir=state, log_level="WARNING")
            roles.append(await stack.enter_async_context(role))
            counters.append(await stack.enter_async_context(Counters(role.port, *_WATCHED)))
        follower = _Together(counters)
        await follow(roles[0], follower, opened, stage.settings.partitions)
        for role in roles[1:]:
            role.sample()
        profiler = await start_profiler(profile, roles[0].pid) if profile is not None else None
        if before:
            await follow(roles[0], follower, read, before)
        begun = [role.sample() for role in roles]
        first = len(roles[0].samples)
        await follow(roles[0], follower, read, load.events)
        ended = [role.sample() for role in roles]
    if profiler is not None:
        await profiler.wait()
    found = figures(load.events - before, begun, ended)
    if workers == 1:
        found |= _steady(roles[0].samples[first:], before, load.events)
    state_bytes = sum(file.stat().st_size for file in base.rglob("*.sst"))
    floor = json.loads(
        await stage.run(
            "streams.cli.bench.floors", "read", stage.settings.kafka, "clicks", "conversions", label="floor"
        )
    )
    found |= {name: floor[name] for name in ("read_us", "parse_us")}
    found["times_floor"] = round(found["cpu_us_per_event"] / (floor["read_us"] + floor["parse_us"]), 2)
    found["state_bytes_per_touch"] = round(state_bytes / max(1, floor["records"]["clicks"]), 1)
    return found


def figures(events: int, begun: list[Sample], ended: list[Sample]) -> Run:
    """What all processes together did between two moments."""
    seconds = ended[0].at - begun[0].at
    cpu = sum(end.cpu - begin.cpu for begin, end in zip(begun, ended, strict=True))
    return {
        "events": events,
        "seconds": round(seconds, 3),
        "memory_mb": round(sum(end.memory for end in ended) / 1e6, 1),
        "events_per_s": round(events / seconds),
        "cpu_us_per_event": round(cpu / events * 1e6, 2),
    }


def _steady(samples: list[Sample], before: int, events: int) -> Run:
    warm = next((s for s in samples if s.done >= before + _COLD * (events - before)), None)
    last = samples[-1]
    if warm is None or warm.done >= last.done:
        return {}
    done = last.done - warm.done
    return {
        "steady_events_per_s": round(done / (last.at - warm.at)),
        "steady_cpu_us_per_event": round((last.cpu - warm.cpu) / done * 1e6, 2),
    }


def opened(counters: dict[str, float]) -> float:
    """How many units have opened."""
    return sum(value for name, value in counters.items() if name.startswith("headwater_restore_seconds_count"))


def read(counters: dict[str, float]) -> float:
    """How many input records are done with (those from ``orders-by-visitor`` apart)."""
    return sum(
        value
        for name, value in counters.items()
        if name.startswith("headwater_events_total{") and "orders-by-visitor" not in name
    )


class _Together:
    """The counters of several processes as if of one."""

    def __init__(self, all_: list[Counters]) -> None:
        self._all = all_

    async def read(self) -> dict[str, float]:
        """All series, those of different processes told apart."""
        found = await asyncio.gather(*(counters.read() for counters in self._all))
        return {f"{name} {number}": value for number, one in enumerate(found) for name, value in one.items()}


async def start_profiler(file: Path, pid: int) -> asyncio.subprocess.Process:
    """Record what a process does until it ends, into `file`; wait for what this returns."""
    return await asyncio.create_subprocess_exec(
        str(_PROFILER),
        *("record", "--gil", "-r", "250", "-f", "raw", "-d", "60", "-o", str(file), "-p", str(pid)),
        stdout=asyncio.subprocess.DEVNULL,
    )
