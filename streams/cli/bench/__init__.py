"""``headwater bench``: how fast each part is here, measured as whole processes from outside; one module a benchmark."""

from __future__ import annotations

from typing import Annotated

import typer

from streams.cli.bench import collector, latency, peers, restore, sink, whole, worker

bench = typer.Typer(help="Measure headwater on this machine; every part where none is named.")
bench.command("all")(whole.all_)
bench.command("worker")(worker.worker)
bench.command("collector")(collector.collector)
bench.command("sink")(sink.sink)
bench.command("restore")(restore.restore)
bench.command("latency")(latency.latency)
bench.command("peers")(peers.peers)


@bench.callback(invoke_without_command=True)
def _every(
    context: typer.Context,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure headwater on this machine; every part where none is named."""
    if context.invoked_subcommand is None:
        whole.all_(json_=json_)
