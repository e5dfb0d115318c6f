"""What `headwater bench` measures is right and complete; how fast things are is never asserted here."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schemas.errors import ConfigurationError
from streams.cli.bench import bench, collector, kept, restore, sink, whole, worker
from streams.cli.bench.figures import Figure, Result, table
from streams.cli.bench.http_load import Sender, bodies, percentile, post
from streams.cli.bench.page import add, render
from streams.cli.bench.peer_results import truth
from streams.cli.bench.samples import Sample, Samples, figures
from streams.cli.bench.stage import open_stage
from streams.simulator.load import AdEvents, Load

PAGE = Path("docs/benchmarks.json")


def test_every_benchmark_is_a_command():
    """What the issue names can be called by that name, and says what it does."""
    answer = CliRunner().invoke(bench, ["--help"])
    assert answer.exit_code == 0
    for name in ("all", "worker", "restore", "collector", "sink", "latency", "peers"):
        assert name in answer.output


def test_a_part_that_is_not_there_is_said():
    """A mistyped part is one clear error, before anything is started."""
    with pytest.raises(ConfigurationError, match="no such part: wroker"):
        whole.all_(["wroker"])


def test_of_several_runs_the_median_counts():
    """Median, lowest and highest are those of the runs that have the figure."""
    result = Result("part", (Figure("rate", "events/s", goal=5, more=True),), "conditions", [])
    result.runs += [{"rate": 3.0}, {"rate": 9.0}, {"rate": 4.0, "rare": 1.0}]
    assert result.medians() == {"rate": 4.0, "rare": 1.0}
    assert result.summary()["rate"] == {"median": 4.0, "low": 3.0, "high": 9.0}
    assert table([result]).row_count == 1  # what has no label is not shown


def test_a_fifth_worse_fails(tmp_path: Path):
    """A ratio up to a fifth above the kept one passes; beyond, it is named; one that was never kept is an error."""
    file = tmp_path / "kept.json"
    kept.keep(file, {"worker.times_floor": 10.0})
    kept.keep(file, {"sink.times_floor": 2.0})
    assert len(kept.check(file, {"worker.times_floor": 12.0, "sink.times_floor": 1.0})) == 2
    with pytest.raises(kept.Slower, match=r"worker.times_floor 12\.10, kept 10\.00"):
        kept.check(file, {"worker.times_floor": 12.1})
    with pytest.raises(ConfigurationError, match="restore"):
        kept.check(file, {"restore.times_floor": 1.0})


def test_the_least_disturbed_run_is_compared():
    """Other work on the machine can only raise a time, so the lowest of the runs is taken, of floors too."""
    runs = [{"cpu": 14.0, "read": 1.0, "parse": 1.0}, {"cpu": 12.0, "read": 2.0, "parse": 3.0}]
    results = [Result("worker", (), "", runs), Result("latency", (), "", [{"p50_ms": 1.0}])]
    assert kept.ratios(results, {"worker": {"ratio": ("cpu", ("read", "parse"))}}) == {"worker.ratio": 6.0}


def test_kept_ratios_cover_every_part_that_has_one():
    """`make bench-check` compares all parts that have a floor."""
    found = json.loads(Path("tests/benchmarks/kept.json").read_text())
    named = {f"{name}.{ratio}" for name, part in whole.PARTS.items() for ratio in part.RATIOS}
    assert set(found) == named


def test_the_page_is_what_the_figures_say():
    """docs/benchmarks.md is generated from docs/benchmarks.json, and not edited."""
    assert PAGE.with_suffix(".md").read_text() == render(json.loads(PAGE.read_text()), PAGE.name)


def test_a_new_measurement_replaces_its_own_section(tmp_path: Path):
    """Other sections of the page stay, with the machine and the day they were measured on."""
    file = tmp_path / "page.json"
    figures = (Figure("rate", "events/s", goal=1000, more=True),)
    for name, rate in (("worker", 1.0), ("sink", 2.0), ("worker", 1234.5)):
        add(file, [Result(name, figures, "one process", [{"rate": rate}])])
    page = file.with_suffix(".md").read_text()
    assert page.count("## worker") == page.count("## sink") == 1
    assert "| events/s | 1,234 | ≥ 1,000 |" in page
    assert "`headwater " in page


def test_percentiles_are_nearest_ranks():
    """The p-th percentile is the smallest value that a share p does not exceed."""
    assert [percentile(range(1, 101), share) for share in (0.0, 0.5, 0.99, 0.999, 1.0)] == [1, 50, 99, 100, 100]


async def test_a_stalled_server_shows_in_the_latencies():
    """At a rate, a request counts from when it was due, also where no connection was free for it (no omission)."""
    stall, interval = 0.2, 0.001
    served = 0
    closed = asyncio.Event()

    async def serve(reader, writer):
        nonlocal served
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n{}")
            served += 1
            if served == 1:
                await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=stall)
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok")
        writer.close()
        await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sender = Sender("127.0.0.1", server.sockets[0].getsockname()[1], connections=1)
    await sender.open()
    try:
        await sender.steadily([post(b"{}", number) for number in range(50)], 1 / interval)
    finally:
        sender.close()
        await closed.wait()
        server.close()
        await server.wait_closed()
    assert sender.statuses == Counter({202: 50})
    assert min(sender.latencies) >= stall - 50 * interval


def test_bodies_state_what_clients_state():
    """Every event is sent once, and bears nothing that the collector adds."""
    arrays = [json.loads(body) for body in bodies(25, 10, seed=1)]
    assert [len(array) for array in arrays] == [10, 10, 5]
    events = [event for array in arrays for event in array]
    assert len({event["event_id"] for event in events}) == 25
    assert not any({"ip", "received_at", "user_agent"} & event.keys() for event in events)


def test_duplicates_are_repeated_events():
    """A share of the events comes again, unchanged; the others are the same as without."""
    plain = list(Load(events=500).make(10**12))
    repeated = list(Load(events=500, duplicates=0.1).make(10**12))
    again = Counter(repeated) - Counter(plain)
    assert 20 < sum(again.values()) < 80
    assert list(dict.fromkeys(repeated)) == plain


def test_the_truth_counts_each_view_and_each_first_event():
    """What peers are compared with: the views by campaign and window, and the events without their repetitions."""
    counts, ids = truth("yahoo", AdEvents(events=300), 10**12)
    values = [json.loads(value) for _, _, value in AdEvents(events=300).make(10**12)]
    assert sum(counts.values()) == sum(event["event_type"] == "view" for event in values)
    assert not ids
    counts, ids = truth("deduplicate", Load(events=300, conversions=0.0, duplicates=0.2), 10**12)
    assert sum(counts.values()) == len(ids) == 300


def test_latency_is_counted_from_the_acknowledgement():
    """Parts of a latency: until the worker has committed, and from there until the row is on view."""
    found = Samples(queries=[0.01])
    for number in range(1, 101):
        kind = "touches" if number % 10 else "credits"
        found.all.append(Sample(str(number), kind, 0, 0.0, 1.0, 1.0 + number / 1000, 1.0 + number / 500))
    run = figures(found, [0.002])
    assert (run["p50_ms"], run["committed_p50_ms"], run["sink_p50_ms"]) == (98.0, 49.0, 49.0)
    assert (run["credits_p99_ms"], run["answer_p50_ms"], run["samples"]) == (200.0, 2.0, 100)


@pytest.mark.integration
async def test_parts_are_measured_on_what_the_part_before_has_made():
    """Worker, sink, restore and collector in a row: every figure that a table shows is there, and each run is right."""
    load = Load(events=2_000, visitors=500, campaigns=20)
    async with open_stage(load) as stage:
        found = {worker: await worker.measure(stage, load)}
        async with asyncio.TaskGroup() as group:
            drained = group.create_task(sink.measure(stage, 0))
            loaded = group.create_task(collector.measure(stage, requests=400, seconds=0.2, before=load.events))
        found |= {sink: drained.result(), collector: loaded.result()}
        found[restore] = await restore.measure(stage, 0)
    for part, run in found.items():
        shown = {figure.name for figure in part.FIGURES if not figure.name.startswith("steady")}
        assert shown <= run.keys()
        assert all(run[ratio] >= 0 for ratio in part.RATIOS)  # so little takes no measurable time
    assert found[sink]["rows"] > load.events * 0.98
    assert found[restore]["records"] >= found[sink]["rows"]
