"""``headwater bench sink``: committed results in Kafka to rows on view, sink and engine as processes of their own.

Rule: what is read are the outputs of a real worker; the clock runs from the first rows that are in to the last, CPU
from the start of consuming. At the end the view ``touches`` must hold as many rows as the topic has records, else the
run counts nothing.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streams.cli.bench.figures import Figure, Ratios, Result, Run, tell, tell_run

if TYPE_CHECKING:
    from schemas.settings import Settings
    from streams.cli.bench.stage import Stage

FIGURES: Final = (
    Figure("rows_per_s", "rows/s", goal=200_000, more=True),
    Figure("cpu_us_per_row", "us of CPU a row, sink", 2),
    Figure("read_us", "  floor: Kafka's client alone", 2),
    Figure("parse_us", "  floor: orjson alone", 2),
    Figure("times_floor", "  times both floors together", 1),
    Figure("engine_cpu_us_per_row", "us of CPU a row, engine", 2),
    Figure("memory_mb", "MB of memory"),
)
RATIOS: Final[Ratios] = {"times_floor": ("cpu_us_per_row", ("read_us", "parse_us"))}
TOPICS: Final = ("touches", "attributions", "panes", "spend", "dead-letters")
_WATCHED: Final = ("headwater_sink_rows_total",)


def sink(
    *,
    events: Annotated[int, typer.Option(help="Events that a worker has made results of before.")] = 400_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs, each into an empty database; the median counts.")] = 3,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, a line a run and the medians last.")] = False,
) -> None:
    """Time the sink: from committed results in Kafka to rows in ClickHouse's engine."""
    asyncio.run(_sink(events, runs, json_=json_))


async def _sink(events: int, runs: int, *, json_: bool) -> None:
    from streams.cli.bench import worker
    from streams.cli.bench.stage import open_stage
    from streams.simulator.load import Load

    load = Load(events=events)
    result = Result("sink", FIGURES, describe(load.events))
    async with open_stage(load) as stage:
        await worker.measure(stage, load)
        for run in range(runs):
            tell_run(result, await measure(stage, run), json_=json_)
    tell(result, json_=json_)


def describe(events: int) -> str:
    """The conditions in words."""
    return f"1 sink and 1 engine: the results of {events:,} events (touches, attributions, panes)"


async def measure(stage: Stage, number: int) -> Run:
    """Run `number` over what lies in the stage's output topics, as a group and into a database of its own."""
    from sinks.clickhouse.migrate import migrate
    from streams.cli.bench.stage import Counters, follow

    floor = json.loads(
        await stage.run("streams.cli.bench.floors", "read", stage.settings.kafka, *TOPICS, label="floor")
    )
    expected = sum(floor["records"].values())
    async with stage.engine() as engine:
        await engine.until_ready("/ping")
        update = {"clickhouse_port": engine.port, "clickhouse_database": f"bench_{number}"}
        settings = stage.settings.model_copy(update=update)
        await asyncio.to_thread(migrate, settings)
        variables = {name: str(value) for name, value in update.items()}
        role = stage.role("sink", app=f"bench-{number}", log_level="WARNING", **variables)
        async with role, Counters(role.port, *_WATCHED) as counters:
            begun = await role.until_ready()
            engine_begun = engine.sample()
            first = len(role.samples)
            await follow(role, counters, rows, expected)
            ended, engine_ended = role.sample(), engine.sample()
            samples = role.samples[first:]
        await _check(settings, floor["records"]["touches"])
    # From the first rows that are in, since there is no knowing how long they had been under way.
    start = next(sample for sample in samples if sample.done)
    if start.done >= expected:
        start = begun
    return {
        "rows": expected,
        "seconds": round(ended.at - begun.at, 3),
        "rows_per_s": round((expected - start.done) / (ended.at - start.at)),
        "cpu_us_per_row": round((ended.cpu - begun.cpu) / expected * 1e6, 2),
        "engine_cpu_us_per_row": round((engine_ended.cpu - engine_begun.cpu) / expected * 1e6, 2),
        "read_us": floor["read_us"],
        "parse_us": floor["parse_us"],
        "times_floor": round((ended.cpu - begun.cpu) / expected * 1e6 / (floor["read_us"] + floor["parse_us"]), 2),
        "memory_mb": round(ended.memory / 1e6, 1),
    }


def rows(counters: dict[str, float]) -> float:
    """How many rows are in."""
    return sum(value for name, value in counters.items() if name.startswith("headwater_sink_rows_total"))


async def _check(settings: Settings, touches: int) -> None:
    """Raise `Unavailable` where the view does not hold what the topic does."""
    from schemas.errors import Unavailable
    from sinks.clickhouse.server import Server

    server = Server(settings)
    try:
        found = await server.query("SELECT count() AS found FROM touches")
    finally:
        await server.close()
    if int(found[0]["found"]) != touches:
        raise Unavailable(f"the sink is wrong: {found[0]['found']} touches on view, {touches} in Kafka")
