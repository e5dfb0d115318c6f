"""``headwater bench``: how fast each part is here, measured as a whole process from outside."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from schemas.settings import Settings
    from streams.simulator.load import Load

bench = typer.Typer(help="Measure headwater on this machine.", no_args_is_help=True)

_DEADLINE_S = 300.0
_POLL_S = 0.02
_PROFILER = Path(sys.executable).with_name("py-spy")
_WATCHED = "name[]=headwater_events_total&name[]=headwater_restore_seconds_count"


@bench.callback()
def _group() -> None:
    """Measure headwater on this machine."""


@bench.command()
def worker(
    *,
    events: Annotated[int, typer.Option(help="Events that lie in Kafka before the worker starts.")] = 400_000,
    conversions: Annotated[float, typer.Option(help="Share of conversions.")] = 0.01,
    campaigns: Annotated[int, typer.Option(help="Number of campaigns.")] = 1_000,
    visitors: Annotated[int, typer.Option(help="Number of visitors.")] = 200_000,
    runs: Annotated[int, typer.Option(help="Runs, each from an empty state; the median counts.")] = 3,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, a line a run and the medians last.")] = False,
    profile: Annotated[Path | None, typer.Option(help="Write a py-spy profile of the last run there.")] = None,
) -> None:
    """Time the whole worker: from events in Kafka to committed results, in one process, everything on."""
    from streams.simulator.load import Load

    load = Load(events=events, visitors=visitors, campaigns=campaigns, conversions=conversions)
    found = []
    for run in range(runs):
        figures = asyncio.run(_worker_run(load, profile if run == runs - 1 else None))
        found.append(figures)
        if json_:
            typer.echo(json.dumps(figures))
        else:
            typer.echo(
                f"run {run + 1}: {figures['events_per_s']:,.0f} events/s, {figures['cpu_us_per_event']:.1f} us of CPU "
                f"an event, {figures['memory_mb']:,.0f} MB"
            )
    medians = {name: statistics.median(f[name] for f in found) for name in found[0]}
    if json_:
        typer.echo(json.dumps(medians))
    else:
        low, high = (f([x["events_per_s"] for x in found]) for f in (min, max))
        typer.echo(
            f"median: {medians['events_per_s']:,.0f} events/s ({low:,.0f} to {high:,.0f}), "
            f"{medians['cpu_us_per_event']:.1f} us of CPU an event"
        )


async def _worker_run(load: Load, profile: Path | None) -> dict[str, float]:
    """One run on a broker of its own; CPU is that of the worker's process, from its first batch to its last commit."""
    from deploy.local.kafka import Node
    from schemas.settings import Settings
    from streams.cli.topics import create_topics
    from streams.simulator.load import produce

    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as directory:
        async with Node(Path(directory) / "kafka") as node:
            settings = Settings(kafka=node.address, partitions=4, data_dir=Path(directory), worker_metrics_port=_port())
            await create_topics(settings)
            await produce(settings, load, int(time.time() * 1000))
            return await _measure(settings, load.events, profile)


async def _measure(settings: Settings, events: int, profile: Path | None) -> dict[str, float]:
    import psutil

    environment = os.environ | {
        "HEADWATER_KAFKA": settings.kafka,
        "HEADWATER_PARTITIONS": str(settings.partitions),
        "HEADWATER_DATA_DIR": str(settings.data_dir),
        "HEADWATER_WORKER_METRICS_PORT": str(settings.worker_metrics_port),
        "HEADWATER_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "streams.cli.main", "worker"]
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    profiler = None
    try:
        seen = psutil.Process(process.pid)
        url = f"http://{settings.worker_host}:{settings.worker_metrics_port}/metrics?{_WATCHED}"
        await _until(url, lambda metrics: metrics.get("opened", 0) >= settings.partitions)
        began, used = time.monotonic(), sum(seen.cpu_times()[:2])
        if profile is not None:
            profiler = await asyncio.create_subprocess_exec(
                str(_PROFILER),
                *("record", "--gil", "-r", "250", "-f", "raw", "-d", "60", "-o", str(profile), "-p", str(process.pid)),
                stdout=asyncio.subprocess.DEVNULL,
            )
        await _until(url, lambda metrics: metrics["read"] >= events)
        seconds, cpu = time.monotonic() - began, sum(seen.cpu_times()[:2]) - used
        memory = seen.memory_info().rss / 1e6
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if profiler is not None:
            await profiler.wait()
    return {
        "events": events,
        "seconds": round(seconds, 3),
        "memory_mb": round(memory, 1),
        "events_per_s": round(events / seconds),
        "cpu_us_per_event": round(cpu / events * 1e6, 2),
    }


async def _until(url: str, reached: Any) -> None:
    """Poll the worker's metrics: ``opened`` units, and input records ``read`` (orders-by-visitor apart)."""
    import aiohttp

    from schemas.errors import Unavailable

    deadline = time.monotonic() + _DEADLINE_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            try:
                async with session.get(url) as response:
                    text = await response.text()
            except aiohttp.ClientError:
                text = ""
            found: dict[str, float] = {"opened": 0, "read": 0}
            for line in text.splitlines():
                if line.startswith("headwater_events_total{") and "orders-by-visitor" not in line:
                    found["read"] += float(line.rsplit(" ", 1)[1])
                elif line.startswith("headwater_restore_seconds_count "):
                    found["opened"] = float(line.rsplit(" ", 1)[1])
            if reached(found):
                return
            await asyncio.sleep(_POLL_S)
    raise Unavailable(f"the worker did not get through in {_DEADLINE_S:.0f} s")


def _port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
