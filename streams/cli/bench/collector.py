"""``headwater bench collector``: the front door under load from another process, every check on, ``acks=all``.

Rule: an event counts when Kafka has it, and at the end Kafka must have exactly those that were answered for. First as
many requests as it takes, of one event each and of 100; then at half that rate, evenly, for the latencies.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from streams.cli.bench.figures import Figure, Ratios, Result, Run, progress, tell, tell_run

if TYPE_CHECKING:
    from streams.cli.bench.stage import Role, Stage

FIGURES: Final = (
    Figure("requests_per_cpu_s", "requests of one event a CPU second", goal=10_000, more=True),
    Figure("requests_per_s", "requests of one event a second"),
    Figure("cpu_us_per_request", "us of CPU a request", 1),
    Figure("serve_us", "  floor: the bare server", 1),
    Figure("times_floor", "  times the floor", 1),
    Figure("array_events_per_s", "events/s in arrays of 100", goal=80_000, more=True),
    Figure("array_cpu_us_per_event", "us of CPU an event in arrays", 2),
    Figure("p50_ms", "ms at half the rate, p50", 1),
    Figure("p99_ms", "ms at half the rate, p99", 1, goal=25),
    Figure("p999_ms", "ms at half the rate, p99.9", 1),
    Figure("start_s", "seconds to start", 2, goal=2),
    Figure("memory_mb", "MB of memory"),
    Figure("memory_growth_mb", "MB gained under the flood", 1),
)
RATIOS: Final[Ratios] = {"times_floor": ("cpu_us_per_request", ("serve_us",))}
CONNECTIONS: Final = 64
EACH: Final = 100
"""Events of a large request."""
_STEADY_CONNECTIONS: Final = 256
_WARM: Final = 2_000


def collector(
    *,
    requests: Annotated[
        int, typer.Option(help="Requests of one event; half as many large ones have 100 each.")
    ] = 30_000,
    seconds: Annotated[float, typer.Option(help="How long latencies are measured.")] = 5.0,
    runs: Annotated[int, typer.Option(min=1, help="Runs, each of a new process; the median counts.")] = 3,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, a line a run and the medians last.")] = False,
) -> None:
    """Time the collector: HTTP requests until Kafka has acknowledged their events."""
    asyncio.run(_collector(requests, seconds, runs, json_=json_))


async def _collector(requests: int, seconds: float, runs: int, *, json_: bool) -> None:
    from streams.cli.bench.stage import open_stage

    result = Result("collector", FIGURES, describe(requests))
    for run in range(runs):
        async with open_stage() as stage:
            tell_run(result, await measure(stage, requests, seconds, run), json_=json_)
    tell(result, json_=json_)


def describe(requests: int) -> str:
    """The conditions in words."""
    return f"1 collector, {CONNECTIONS} connections: {requests:,} requests of one event, {requests // 20:,} of {EACH}"


async def measure(stage: Stage, requests: int, seconds: float, number: int = 0, before: int = 0) -> Run:
    """One run on a stage whose input topics hold `before` events."""
    from deploy.local.ports import free_port
    from schemas.errors import Unavailable

    found: Run = {}
    role = stage.role("collector", label=f"collector-{number}", trusted_proxies="127.0.0.1", log_level="WARNING")
    sent = before
    async with role:
        ready = await role.until_ready()
        found["start_s"] = round(ready.at - role.started, 2)
        await _load(role, events=_WARM, each=1, seed=1)
        warm = role.sample()
        single = await _load(role, events=requests, each=1, seed=2)
        after_single = role.sample()
        cpu = single["cpu"] / requests
        found |= {
            "requests": requests,
            "requests_per_cpu_s": round(1 / cpu),
            "requests_per_s": round(requests / single["seconds"]),
            "cpu_us_per_request": round(cpu * 1e6, 1),
        }
        events = requests // 20 * EACH
        array = await _load(role, events=events, each=EACH, seed=3)
        found["array_events_per_s"] = round(events / array["seconds"])
        found["array_cpu_us_per_event"] = round(array["cpu"] / events * 1e6, 2)
        rate = requests / single["seconds"] / 2
        steady = await _load(role, events=max(100, int(rate * seconds)), each=1, seed=4, rate=rate)
        found |= {name: steady[name] for name in ("p50_ms", "p99_ms", "p999_ms")}
        found["memory_mb"] = round(role.sample().memory / 1e6, 1)
        found["memory_growth_mb"] = round((after_single.memory - warm.memory) / 1e6, 1)
        sent += _WARM + requests + events + steady["requests"]
    floor = json.loads(
        await stage.run(
            "streams.cli.bench.floors", "read", stage.settings.kafka, "clicks", "conversions", label="floor"
        )
    )
    if sum(floor["records"].values()) != sent:
        raise Unavailable(f"the collector is wrong: {sent} events acknowledged, {floor['records']} in Kafka")
    port = free_port()
    bare = stage.program((sys.executable, "-m", "streams.cli.bench.floors", "serve", str(port)), "bare-server", port)
    async with bare:
        await bare.until_ready()
        await _load(bare, events=_WARM, each=1, seed=1)
        floor_run = await _load(bare, events=requests, each=1, seed=2)
    found["serve_us"] = round(floor_run["cpu"] / requests * 1e6, 1)
    found["times_floor"] = round(cpu * 1e6 / found["serve_us"], 2)
    return found


async def _load(role: Role, *, events: int, each: int, seed: int, rate: float = 0.0) -> dict[str, Any]:
    """Load `role` from another process; what that found, and the `cpu` seconds that `role` used meanwhile."""
    from schemas.errors import Unavailable

    orders = {
        "port": role.port,
        "events": events,
        "each": each,
        "seed": seed,
        "rate": rate,
        "connections": _STEADY_CONNECTIONS if rate else CONNECTIONS,
    }
    progress(f"  {events:,} events, {each} a request" + (f", {rate:,.0f} requests/s" if rate else ""))
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "streams.cli.bench.http_load", json.dumps(orders)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    if client.stdin is None or client.stdout is None:
        raise Unavailable("the load cannot be started")
    try:
        await client.stdout.readline()
        begun = role.sample()
        client.stdin.write(b"\n")
        line = await client.stdout.readline()
        ended = role.sample()
    finally:
        if client.returncode is None and not client.stdout.at_eof():
            client.stdin.close()
        await client.wait()
    if not line:
        raise Unavailable("the load ended without a result")
    found: dict[str, Any] = json.loads(line)
    if found["failed"]:
        raise Unavailable(f"the collector refused requests: {found['failed']} (status: how many)")
    return found | {"cpu": ended.cpu - begun.cpu}
