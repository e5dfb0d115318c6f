"""``headwater bench latency``: from an event's acknowledgement to its row on view, through the whole running stack.

Rule: sampled events bear ids of their own and a site of their own, so that asking for them costs ClickHouse next to
nothing, and flow through the same partitions and batches as the rest. The clock of a sample starts when the collector
has answered 202 and stops when a query of the view has returned it. Samples are sent at even times whatever happens,
while another process keeps up the rate.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from streams.cli.bench.figures import Figure, Ratios, Result, Run, progress, tell, tell_run
from streams.cli.bench.samples import CONVERSIONS, POLL_S, Sample, Samples, figures, request, watch_commits, watch_views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.settings import Settings

FIGURES: Final = (
    Figure("p50_ms", "ms until a touch is on view, p50", goal=400),
    Figure("p90_ms", "ms until a touch is on view, p90"),
    Figure("p99_ms", "ms until a touch is on view, p99", goal=1_200),
    Figure("committed_p50_ms", "  of these until it is committed, p50"),
    Figure("committed_p99_ms", "  of these until it is committed, p99"),
    Figure("sink_p50_ms", "  of these from there to the view, p50"),
    Figure("credits_p50_ms", "ms until credits are on view, p50"),
    Figure("credits_p99_ms", "ms until credits are on view, p99"),
    Figure("answer_p50_ms", "ms until the collector answers, p50", 1),
    Figure("answer_p99_ms", "ms until the collector answers, p99", 1),
    Figure("query_ms", "ms that asking takes, p50", 1),
    Figure("batch_ms", "ms of a worker's batch, mean", 1),
    Figure("transaction_ms", "  of these its transaction", 1),
    Figure("batch_events", "  events of a batch, mean", 1),
    Figure("insert_ms", "ms of a sink's insert, mean", 1),
    *(
        Figure(f"{role}_cores", f"{role}: cores in use", 2)
        for role in ("kafka", "clickhouse", "collector", "worker", "sink")
    ),
    Figure("samples", "samples"),
)
RATIOS: Final[Ratios] = {}
_EACH: Final = 10
_WARM_S: Final = 10.0
"""How long the stack runs under the load before samples are taken: Java compiles meanwhile."""
_SETTLE_S: Final = 20.0
_CONNECTIONS: Final = 16


def latency(
    *,
    rate: Annotated[float, typer.Option(min=1, help="Events a second through the whole stack.")] = 5_000,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long samples are taken.")] = 20.0,
    samples: Annotated[float, typer.Option(min=1, help="Samples a second.")] = 50,
    runs: Annotated[int, typer.Option(min=1, help="Runs, each of a new stack; the median counts.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, a line a run and the medians last.")] = False,
) -> None:
    """Time the whole: from an event's acknowledgement by the collector to its row in ClickHouse."""
    result = Result("latency", FIGURES, describe(rate, seconds))
    for _ in range(runs):
        tell_run(result, asyncio.run(measure(rate, seconds, samples)), json_=json_)
    tell(result, json_=json_)


def describe(rate: float, seconds: float) -> str:
    """The conditions in words."""
    return f"the local stack, 1 worker: {rate:,.0f} events/s over HTTP for {seconds:,.0f} s"


async def measure(rate: float, seconds: float, samples_per_s: float) -> Run:
    """One run on a stack of its own."""
    from deploy.local.stack import LocalStack
    from schemas.settings import Settings
    from sinks.clickhouse.server import Server
    from streams.cli.bench.http_load import Sender

    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headwater-bench-")))
        progress("  starting the stack")
        local = await stack.enter_async_context(
            LocalStack(Settings(data_dir=directory, trusted_proxies="127.0.0.1", log_level="WARNING"))
        )
        settings = local.settings
        server = Server(settings)
        stack.push_async_callback(server.close)
        found = Samples()
        sender = Sender("127.0.0.1", settings.collector_port, _CONNECTIONS)
        load = await _start_load(settings, rate, _WARM_S + seconds + 2.0)
        stack.push_async_callback(_end, load)
        watchers = [
            asyncio.create_task(watch_views(server, found)),
            asyncio.create_task(watch_commits(settings, found)),
        ]
        try:
            await asyncio.sleep(_WARM_S)
            await sender.open()
            stack.callback(sender.close)
            progress("  sampling")
            used = _cpu(local.pids)
            began = time.monotonic()
            await _send_samples(sender, found, seconds, samples_per_s)
            elapsed = time.monotonic() - began
            cores = {f"{role}_cores": round((cpu - used[role]) / elapsed, 3) for role, cpu in _cpu(local.pids).items()}
            await _settle(found, watchers)
        finally:
            for task in watchers:
                task.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
        batches = await _batches(settings.worker_metrics_port, settings.sink_metrics_port)
        return figures(found, sender.latencies) | batches | cores


def _cpu(pids: Mapping[str, int]) -> dict[str, float]:
    """Seconds of CPU that each role has used."""
    import psutil

    return {name.partition("-")[0]: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in pids.items()}


async def _batches(worker_port: int, sink_port: int) -> Run:
    """What worker and sink say of their batches: means over the whole run."""
    from streams.cli.bench.stage import Counters

    async def mean(port: int, name: str) -> float:
        async with Counters(port, f"{name}_sum", f"{name}_count") as counters:
            found = await counters.read()
        sums = sum(value for series, value in found.items() if series.startswith(f"{name}_sum"))
        return sums / max(1.0, sum(value for series, value in found.items() if series.startswith(f"{name}_count")))

    return {
        "batch_ms": round(1000 * await mean(worker_port, "headwater_batch_seconds"), 2),
        "transaction_ms": round(1000 * await mean(worker_port, "headwater_transaction_seconds"), 2),
        "batch_events": round(await mean(worker_port, "headwater_batch_events"), 1),
        "insert_ms": round(1000 * await mean(sink_port, "headwater_sink_insert_seconds"), 2),
    }


async def _start_load(settings: Settings, rate: float, seconds: float) -> asyncio.subprocess.Process:
    orders = {
        "port": settings.collector_port,
        "events": int(rate * seconds / _EACH) * _EACH,
        "each": _EACH,
        "seed": 1,
        "rate": rate / _EACH,
        "connections": 64,
    }
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "streams.cli.bench.http_load", json.dumps(orders)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if client.stdin is not None and client.stdout is not None:
        await client.stdout.readline()
        client.stdin.write(b"\n")
    return client


async def _end(load: asyncio.subprocess.Process) -> None:
    """Check that the rate was kept up; raises `Unavailable`."""
    from schemas.errors import Unavailable

    try:
        async with asyncio.timeout(_SETTLE_S):
            output, _ = await load.communicate()
    except TimeoutError:
        load.kill()
        await load.wait()
        raise Unavailable("the collector cannot keep up with the rate") from None
    found = json.loads(output.splitlines()[-1]) if output.strip() else {"failed": "it ended without a result"}
    if found["failed"]:
        raise Unavailable(f"the load failed: {found['failed']}")


async def _send_samples(sender: Any, found: Samples, seconds: float, per_s: float) -> None:
    began = time.perf_counter()
    for number in range(int(seconds * per_s)):
        due = began + number / per_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        conversion = number % CONVERSIONS == CONVERSIONS - 1
        now = time.time_ns() // 1_000_000
        sample = Sample(f"sample-{number:06d}", "credits" if conversion else "touches", now, due)
        found.all.append(sample)
        sender.send(request(sample, number), due, lambda status, sample=sample: _acknowledged(found, sample, status))


def _acknowledged(found: Samples, sample: Sample, status: int) -> None:
    if status == 202:
        sample.acknowledged = time.perf_counter()
        found.awaited[sample.id] = sample


async def _settle(found: Samples, watchers: list[asyncio.Task[None]]) -> None:
    """Wait until all samples are seen. Raises `Unavailable` where one is not acknowledged, or not seen in time."""
    from schemas.errors import Unavailable

    deadline = time.monotonic() + _SETTLE_S
    while any(not sample.seen for sample in found.all):
        for task in watchers:
            if task.done():
                task.result()
        if time.monotonic() > deadline:
            refused = sum(not sample.acknowledged for sample in found.all)
            lost = sum(not sample.seen for sample in found.all) - refused
            raise Unavailable(f"{refused} samples were not acknowledged, {lost} not seen within {_SETTLE_S:.0f} s")
        await asyncio.sleep(POLL_S)
