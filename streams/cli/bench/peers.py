"""``headwater bench peers``: the same topic through Faust, Quix Streams, Kafka Streams and headwater, results compared.

Rule: each peer is written as its documentation would write it (``tests/benchmarks/peers``), runs alone, as one process,
on the same topic in the same broker, and is watched by the results that it commits: a run that ends with other counts
than the truth, or other events, scores nothing. The clock and the processor time run from when its consumer group has
its partitions to the last result; *warm* leaves out the first fifth of the results, since Java compiles meanwhile. It
is told of those alone that work on all steps of the job at once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streams.cli.bench.figures import Figure, Result, Run, progress, tell, tell_run
from streams.cli.bench.peer_results import Follower, check_events, difference, truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.cli.bench.peer_setup import Tools
    from streams.cli.bench.stage import Role, Sample, Stage

PEERS: Final = {
    "headwater": "headwater",
    "kafka-streams-exactly-once": "Kafka Streams, exactly once",
    "kafka-streams-at-least-once": "Kafka Streams, at least once",
    "quix-exactly-once": "Quix Streams, exactly once",
    "quix-at-least-once": "Quix Streams, at least once",
    "faust": "Faust, an event at a time, at least once",
}
JOBS: Final = {
    "yahoo": "Yahoo Streaming Benchmark: filter, join, count by campaign in windows of 10 s",
    "deduplicate": "deduplicate, forward, count by minute and campaign",
}
_FIGURES: Final = (
    ("events_per_s", "events/s", 0),
    ("cpu_us_per_event", "us of CPU an event", 2),
    ("warm_events_per_s", "events/s, warm", 0),
    ("warm_cpu_us_per_event", "us of CPU, warm", 2),
    ("memory_mb", "MB", 0),
)
FIGURES: Final = tuple(
    Figure(f"{peer}.{name}", label, digits, group=title)
    for peer, title in PEERS.items()
    for name, label, digits in _FIGURES
)
DUPLICATES: Final = 0.05
_COLD: Final = 0.2
_LIMIT_S: Final = 900.0
_START_S: Final = 60.0
_POLL_S: Final = 0.05
_STEPS: Final = 8
"""Fewer steps in which results came say nothing about the time between them."""
_QUIET_S: Final = 3.0
_WARMED: Final = ("headwater", "kafka-streams")
"""What has a figure of its own for when it is warm."""


def peers(
    names: Annotated[list[str] | None, typer.Argument(help=f"Which: {', '.join(PEERS)}; all by default.")] = None,
    *,
    events: Annotated[int, typer.Option(help="Events in the topic.")] = 300_000,
    job: Annotated[list[str] | None, typer.Option(help=f"Which job: {', '.join(JOBS)}; both by default.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs, each of a new broker; the median counts.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, a line a run and the medians last.")] = False,
    page: Annotated[Path | None, typer.Option(help="Put the figures into this JSON, and the page beside it.")] = None,
) -> None:
    """Compare with Kafka Streams, Quix Streams and Faust, on the same topic in the same run."""
    from schemas.errors import ConfigurationError
    from streams.cli.bench.page import add

    chosen, jobs = names or list(PEERS), job or list(JOBS)
    unknown = [name for name in chosen if name not in PEERS] + [name for name in jobs if name not in JOBS]
    if unknown:
        raise ConfigurationError(f"not known: {', '.join(unknown)}; peers {', '.join(PEERS)}; jobs {', '.join(JOBS)}")
    for name in jobs:
        result = Result(f"peers: {name}", FIGURES, f"{JOBS[name]}; {events:,} events, one process each")
        for _ in range(runs):
            tell_run(result, asyncio.run(measure(name, chosen, events)), json_=json_)
        tell(result, json_=json_)
        if page is not None:
            add(page, [result])


async def measure(job: str, chosen: list[str], events: int) -> Run:
    """One run of a job: all peers, one after the other, on one broker."""
    from streams.cli.bench.peer_setup import set_up
    from streams.cli.bench.stage import open_stage
    from streams.simulator.load import AdEvents, Load, campaign_of_ads

    progress("setting up")
    tools = await set_up(
        quix=any(peer.startswith("quix") for peer in chosen), java=any(peer.startswith("kafka") for peer in chosen)
    )
    load = AdEvents(events=events) if job == "yahoo" else Load(events=events, conversions=0.0, duplicates=DUPLICATES)
    found: Run = {}
    async with open_stage(load) as stage:
        (stage.directory / "ads.json").write_text(json.dumps(campaign_of_ads()))
        counts, ids = truth(job, load, stage.end_ms)
        for peer in chosen:
            progress(f"{job}: {peer}")
            problem, run = await _measure_peer(stage, tools, job, peer, counts, ids, events)
            if problem:
                print(f"{job}: {peer} scores nothing: {problem}", file=sys.stderr)
            found |= {f"{peer}.{name}": value for name, value in run.items()}
    return found


async def _measure_peer(
    stage: Stage, tools: Tools, job: str, peer: str, counts: Mapping[str, int], ids: set[str], events: int
) -> tuple[str, Run]:
    """Why a peer's results count nothing ("" where they are right), and its figures."""
    name = f"{peer}-{job}"
    from deploy.local.process import last_line

    topics = ("panes", "touches") if peer == "headwater" else (f"{name}-counts", f"{name}-events")
    if peer != "headwater":
        await _create(stage, topics)
    total = sum(counts.values())
    role = _program(stage, tools, job, peer, name)
    async with Follower(stage.settings.kafka, topics[0], stage.settings.partitions) as follower:
        async with role:
            begun = await _assigned(stage, role, "headwater" if peer == "headwater" else name)
            await _follow(role, follower, total)
            ended = role.sample()
        problem = "" if follower.sums() == counts else difference(follower.sums(), counts)
    if problem and (line := last_line(role.log)):
        problem += f"; its log ends: {line}"
    if not problem and job == "deduplicate":
        problem = await check_events(stage, topics[1], ids)
    if problem:
        return problem, {}
    found = _figures(begun, role.samples, ended, total, events)
    return "", found | (_warm(role.samples, total, events) if peer.startswith(_WARMED) else {})


def _program(stage: Stage, tools: Tools, job: str, peer: str, name: str) -> Role:
    """The peer's process."""
    from deploy.local.java import java
    from deploy.local.ports import free_port
    from streams.cli.bench.peer_setup import SOURCES

    kafka, ads, state = stage.settings.kafka, str(stage.directory / "ads.json"), str(stage.directory / name)
    guarantee = "exactly-once" if peer.endswith("exactly-once") else "at-least-once"
    if peer == "headwater":
        port = free_port()
        variables = {"worker_metrics_port": str(port), "worker_state_dir": state, "log_level": "WARNING"}
        return stage.program((sys.executable, str(SOURCES / "headwater_peer.py"), job, ads), name, port, variables)
    if peer == "faust":
        return stage.program((sys.executable, str(SOURCES / "faust_peer.py"), job, name, kafka, state, ads), name)
    if peer.startswith("quix"):
        return stage.program(
            (tools.python, str(SOURCES / "quix_peer.py"), job, name, guarantee, kafka, state, ads), name
        )
    streams = "exactly_once_v2" if guarantee == "exactly-once" else "at_least_once"
    argv = (java(), "-Xmx1g", "-cp", tools.classpath, "KafkaStreamsPeer", job, name, streams, kafka, state, ads)
    return stage.program(argv, name)


async def _create(stage: Stage, topics: tuple[str, ...]) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=stage.settings.kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, stage.settings.partitions, 1) for topic in topics])
    finally:
        await admin.close()


async def _assigned(stage: Stage, role: Role, group: str) -> Sample:
    """Wait until the peer's consumer group has its partitions."""
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    from schemas.errors import Unavailable

    admin = AIOKafkaAdminClient(bootstrap_servers=stage.settings.kafka)
    await admin.start()
    try:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            role.sample()
            try:
                (answer,) = await admin.describe_consumer_groups([group])
                if any(found[2] == "Stable" for found in answer.groups):
                    return role.sample()
            except KafkaError:
                pass
            await asyncio.sleep(_POLL_S)
    finally:
        await admin.close()
    raise Unavailable(f"{group} did not join its group in {_START_S:.0f} s")


async def _follow(role: Role, follower: Follower, total: int) -> None:
    """Sample until all is counted or the time is up; then read on for a moment: too much is wrong too."""
    began = time.monotonic()
    while (done := await follower.read()) < total and time.monotonic() - began < _LIMIT_S:
        role.sample(done)
    role.sample(done)
    until = time.monotonic() + _QUIET_S
    while time.monotonic() < until:
        done = await follower.read()


def _figures(begun: Sample, samples: list[Sample], ended: Sample, total: int, events: int) -> Run:
    last = next(sample for sample in samples if sample.done >= total)
    return {
        "events_per_s": round(events / (last.at - begun.at)),
        "cpu_us_per_event": round((last.cpu - begun.cpu) / events * 1e6, 2),
        "memory_mb": round(ended.memory / 1e6, 1),
    }


def _warm(samples: list[Sample], total: int, events: int) -> Run:
    cold = next(sample for sample in samples if sample.done >= _COLD * total)
    last = next(sample for sample in samples if sample.done >= total)
    if len({sample.done for sample in samples if sample.at >= cold.at}) < _STEPS:
        return {}
    share = (last.done - cold.done) / total
    return {
        "warm_events_per_s": round(share * events / (last.at - cold.at)),
        "warm_cpu_us_per_event": round((last.cpu - cold.cpu) / (share * events) * 1e6, 2),
    }
