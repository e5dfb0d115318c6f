"""``headwater bench`` and ``headwater bench all``: every part in one table, and what of it is kept.

Rule: a run takes the parts in the order of the flow, and what one has made is what the next is measured on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from streams.cli.bench import collector, latency, restore, sink, worker
from streams.cli.bench.figures import Result, Run, progress

PARTS: Final = {
    "worker": worker,
    "collector": collector,
    "sink": sink,
    "restore": restore,
    "latency": latency,
}
"""Part -> its module, which has `FIGURES` and `RATIOS`."""
_VISITORS: Final = 1_000_000
_RATE: Final = 5_000
_SECONDS: Final = 20.0
_SAMPLES: Final = 50
_STEADY_S: Final = 5.0


def all_(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Which: {', '.join(PARTS)}; all by default.")] = None,
    *,
    events: Annotated[
        int, typer.Option(help="Events through the worker; a tenth as many through HTTP, each.")
    ] = 300_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of everything; the median counts.")] = 3,
    json_: Annotated[
        bool, typer.Option("--json", help="Print JSON: each figure's median, lowest and highest.")
    ] = False,
    check: Annotated[Path | None, typer.Option(help="Fail where a ratio is a fifth worse than in this file.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the ratios in this file.")] = None,
    page: Annotated[Path | None, typer.Option(help="Put the figures into this JSON, and the page beside it.")] = None,
) -> None:
    """Measure every part, and print one table."""
    from schemas.errors import ConfigurationError
    from streams.cli.bench import kept
    from streams.cli.bench.figures import describe, machine, today
    from streams.cli.bench.page import add

    chosen = parts or list(PARTS)
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        raise ConfigurationError(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    about = machine()
    results = asyncio.run(measure(chosen, events, runs))
    if page is not None:
        add(page, results, about)
    found = kept.ratios(results, {name: PARTS[name].RATIOS for name in chosen})
    if keep is not None:
        kept.keep(keep, found)
    if json_:
        summary: dict[str, Any] = {"machine": about, "date": today(), "runs": runs}
        print(json.dumps(summary | {result.name: result.summary() for result in results}))
    else:
        _print(results, f"{today()}, {describe(about)}")
    if check is not None:
        for line in kept.check(check, found):
            print(line, file=sys.stderr)


async def measure(parts: list[str], events: int, runs: int) -> list[Result]:
    """All runs of `parts`."""
    from streams.cli.bench.stage import open_stage
    from streams.simulator.load import Load

    load = Load(events=events, visitors=_VISITORS)
    requests = events // 10
    conditions = {
        "worker": worker.describe(load),
        "collector": collector.describe(requests),
        "sink": sink.describe(events),
        "restore": restore.describe(events),
        "latency": latency.describe(_RATE, _SECONDS),
    }
    results = {part: Result(part, PARTS[part].FIGURES, conditions[part]) for part in PARTS if part in parts}

    def take(part: str, run: Run) -> None:
        result = results.get(part)
        if result is not None:
            result.runs.append(run)

    for run in range(runs):
        if results.keys() & {"worker", "sink", "restore"}:
            async with open_stage(load) as stage:
                progress(f"run {run + 1} of {runs}: worker")
                take("worker", await worker.measure(stage, load))
                if "sink" in results:
                    progress(f"run {run + 1} of {runs}: sink")
                    take("sink", await sink.measure(stage, run))
                if "restore" in results:
                    progress(f"run {run + 1} of {runs}: restore")
                    take("restore", await restore.measure(stage, run))
        if "collector" in results:
            async with open_stage() as stage:
                progress(f"run {run + 1} of {runs}: collector")
                take("collector", await collector.measure(stage, requests, _STEADY_S, run))
    if "latency" in results:
        progress("latency")
        take("latency", await latency.measure(_RATE, _SECONDS, _SAMPLES))
    return list(results.values())


def _print(results: list[Result], where: str) -> None:
    from streams.cli.bench.figures import table, wide_console

    console = wide_console()
    console.print(where, markup=False)
    for result in results:
        console.print(f"{result.name}: {result.conditions}", markup=False)
    console.print()
    console.print(table(results))
