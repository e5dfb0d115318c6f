"""``headwater demo``: the local stack, a simulated shop sent over HTTP, and ClickHouse compared with the truth.

Rule: what the demo believes it reads from ClickHouse and Kafka, never from a worker, so any process may die on the way.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
from functools import partial
from pathlib import Path
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from deploy.local.stack import LocalStack
    from schemas.settings import Settings
    from streams.simulator import Simulation, Truth
    from streams.simulator.compare import Difference, Measured
    from streams.simulator.sender import Sent

MARK: Final = ".demo"
"""Names a data directory as the demo's own: it is emptied before each run."""
PATIENCE: Final = 120.0
"""Seconds without any progress in ClickHouse after which waiting ends."""
SETTLED: Final = 45.0
"""The same where all counts are reached, and only figures differ: longer than a killed worker takes to come back."""
POLL: Final = 0.3
EXAMPLE: Final = "SELECT model, channel, sum(conversions), sum(revenue) FROM kpis GROUP BY ALL"


def demo(
    events: Annotated[int, typer.Option(min=1, help="Events of the simulated shop.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Another seed, another shop.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    exit: Annotated[bool, typer.Option("--exit", help="Stop when the comparison is made.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Last line on stdout: the figures as one JSON object.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Directory of all data; default: HEADWATER_DATA_DIR.")] = None,
) -> None:
    """Run everything here, send a simulated shop through it, and check every figure against the truth.

    Ends with status 1 where ClickHouse and the truth differ, be it by a millionth.
    """
    from pydantic import SecretStr
    from rich.console import Console

    from schemas.settings import Settings
    from streams.cli.demo_tables import WIDE

    settings = Settings() if data_dir is None else Settings(data_dir=data_dir)
    if not settings.api_keys.get_secret_value():
        # The shop imports its costs, for which it needs a key.
        settings = settings.model_copy(update={"api_keys": SecretStr(f"demo:{secrets.token_hex(16)}")})
    console = Console(stderr=json)
    if not console.is_terminal:
        console = Console(stderr=json, width=WIDE)
    empty_directory(settings.data_dir)
    sys.exit(asyncio.run(_run(settings, console, events, seed, workers, stay=not exit, json=json)))


def empty_directory(directory: Path) -> None:
    """Make `directory` an empty one of the demo.

    Raises `ConfigurationError` where it holds other data, or a stack runs in it.
    """
    from deploy.local.supervisor import lock
    from schemas.errors import ConfigurationError

    if directory.exists() and not directory.is_dir():
        raise ConfigurationError(f"{directory} is no directory")
    if directory.is_dir() and any(directory.iterdir()):
        if not (directory / MARK).is_file():
            raise ConfigurationError(
                f"{directory} holds data that is not the demo's: choose another --data-dir, or remove it"
            )
        descriptor = lock(directory)
        try:
            for entry in directory.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name not in {"lock", MARK}:
                    entry.unlink()
        finally:
            os.close(descriptor)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARK).write_text("Data of `headwater demo`, which empties this directory when it starts.\n")


async def _run(
    settings: Settings, console: Console, events: int, seed: int, workers: int, *, stay: bool, json: bool
) -> int:
    """The whole demo; returns the exit status."""
    from deploy.local.stack import LocalStack

    status = console.status("starting Kafka, ClickHouse's engine, collector, worker, sink and page")

    def on_ready(name: str, address: str) -> None:
        console.print(f"[green]ready[/] {name:<12} {address}", highlight=False)

    stack = LocalStack(settings, workers=workers, on_ready=on_ready)
    code = 130
    try:
        status.start()
        async with stack:
            status.stop()
            code = await _show(stack, console, events, seed, json=json)
            if stay and code == 0:
                _tell_how_to_go_on(stack.settings, console)
                await _stay(stack.settings, seed)
    except asyncio.CancelledError:
        if not stack.interrupted:
            raise
    finally:
        status.stop()
    return code


async def _show(stack: LocalStack, console: Console, events: int, seed: int, *, json: bool) -> int:
    """Send, wait, compare, and print; returns the exit status."""
    import orjson

    from streams.cli.demo_tables import channel_tables, cost_table, difference_table
    from streams.simulator import simulate
    from streams.simulator.compare import Difference
    from streams.simulator.ledger import read_ledger
    from streams.simulator.shop import CURRENCY, registry

    settings = stack.settings
    end = _now()
    await _apply_registry(settings, registry(end))
    keys = settings.click_id_keys.get_secret_value()
    simulation = await asyncio.to_thread(simulate, events, seed, end, keys, costs=True)
    started = monotonic()
    sent, found, differing = await _send_and_wait(settings, simulation, console)
    ledger = await read_ledger(settings)
    truth = simulation.truth
    if ledger.accepted != truth.accepted:
        differing.append(Difference("accepted", str(truth.accepted), str(ledger.accepted)))
    most = truth.duplicates + sent.repeated.total()
    if not truth.duplicates <= ledger.duplicates <= most:
        differing.append(Difference("duplicates", f"{truth.duplicates} to {most}", str(ledger.duplicates)))
    seconds = monotonic() - started
    for table in channel_tables(found, CURRENCY, console.width):
        console.print(table)
    console.print(cost_table(found, CURRENCY))
    conversions = sum(found.statuses.values())
    console.print(
        f"{events:,} events: {ledger.accepted:,} accepted, {ledger.duplicates:,} duplicates, "
        f"{ledger.dead_letters:,} dead letters; {conversions:,} conversions; {seconds:.1f} s"
    )
    if differing:
        console.print(difference_table(differing))
        console.print("[bold red]truth: differs[/]")
    else:
        console.print("[bold green]truth: equal[/], to the millionth, under every model", highlight=False)
    if json:
        figures = {
            "events": events,
            "accepted": ledger.accepted,
            "duplicates": ledger.duplicates,
            "dead_letters": ledger.dead_letters,
            "conversions": conversions,
            "truth": "differs" if differing else "equal",
            "seconds": round(seconds, 3),
        }
        print(orjson.dumps(figures).decode(), flush=True)
    return 1 if differing else 0


async def _apply_registry(settings: Settings, registry: dict[str, Any]) -> None:
    """Register the shop's sites and campaigns as `headwater campaigns apply` does, from a file that stays there."""
    import yaml

    from streams.cli.campaigns import write_registry
    from streams.cli.registry_file import read_registry_file

    file = settings.data_dir / "shop.yaml"
    file.write_text(yaml.safe_dump(registry, sort_keys=False), encoding="utf-8")
    await write_registry(settings, read_registry_file(file))


async def _send_and_wait(
    settings: Settings, simulation: Simulation, console: Console
) -> tuple[Sent, Measured, list[Difference]]:
    """Send all events, and wait until ClickHouse says what the truth says, or says something else for good."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from streams.collector.keys import read_setting
    from streams.simulator.sender import send

    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    expected = _expected(simulation.truth)
    url = f"http://{settings.collector_host}:{settings.collector_port}"
    api_key = read_setting(settings.api_keys.get_secret_value(), "api_keys")[0][1].decode()
    with Progress(*columns, console=console) as progress:
        sending = progress.add_task("sent over HTTP", total=len(simulation.lines))
        arriving = progress.add_task("arrived in ClickHouse", total=expected)

        def on_arrival(count: int) -> None:
            progress.update(arriving, completed=min(count, expected))

        watching = asyncio.create_task(_watch(settings, on_arrival))
        try:
            on_progress = partial(progress.advance, sending)
            sent = await send(simulation, url, now=_now, api_key=api_key, on_progress=on_progress)
        finally:
            watching.cancel()
        found, differing = await _settle(settings, simulation.truth, sent, on_arrival)
    return sent, found, differing


async def _watch(settings: Settings, on_arrival: Callable[[int], None]) -> None:
    """Tell again and again how much has arrived, until cancelled."""
    while True:
        count, _ = await _ask(settings, complete=False)
        if count is not None:
            on_arrival(count)
        await asyncio.sleep(POLL)


async def _settle(
    settings: Settings, truth: Truth, sent: Sent, on_arrival: Callable[[int], None]
) -> tuple[Measured, list[Difference]]:
    """Wait until nothing differs, twice in a row, or until nothing changes any more.

    Raises `Unavailable` where ClickHouse did not answer to the end.
    """
    from schemas.errors import Unavailable
    from streams.simulator.compare import differences

    changed_at = monotonic()
    before: tuple[int | None, Measured | None] = (None, None)
    equal = 0
    while True:
        count, found = await _ask(settings, complete=before[0] is not None and before[0] >= _expected(truth))
        if count is not None:
            on_arrival(count)
            if (count, found) != before:
                before, changed_at = (count, found), monotonic()
        differing = differences(truth, found, sent.repeated) if found else None
        equal = equal + 1 if differing == [] else 0
        if found and equal == 2:
            return found, []
        if monotonic() - changed_at > (PATIENCE if differing is None else SETTLED):
            _, found = await _ask(settings, complete=True)
            if found is None:
                raise Unavailable("ClickHouse does not answer; its log is in the data directory")
            return found, differences(truth, found, sent.repeated)
        await asyncio.sleep(POLL)


async def _ask(settings: Settings, *, complete: bool) -> tuple[int | None, Measured | None]:
    """How many rows there are, and, if `complete`, all figures; None where ClickHouse does not answer just now."""
    from schemas.errors import HeadwaterError
    from sinks.clickhouse.connection import connect
    from streams.cli.demo_figures import count_rows, measure
    from streams.simulator.shop import SITE

    def ask() -> tuple[int | None, Measured | None]:
        try:
            with connect(settings) as client:
                return count_rows(client, SITE), measure(client, SITE) if complete else None
        except HeadwaterError:
            return None, None

    return await asyncio.to_thread(ask)


async def _stay(settings: Settings, seed: int) -> None:
    """Keep the shop open for who looks at the page, until cancelled."""
    from random import Random

    from streams.simulator.open_shop import stay_open

    url = f"http://{settings.collector_host}:{settings.collector_port}"
    keys = settings.click_id_keys.get_secret_value()
    await stay_open(url, keys, Random(f"open {seed}"), now=_now)  # noqa: S311 - a simulation, nothing secret


def _tell_how_to_go_on(settings: Settings, console: Console) -> None:
    where = "" if settings.data_dir == Path(".headwater").resolve() else f"HEADWATER_DATA_DIR={settings.data_dir} "
    lines = (
        "",
        f"page       http://{settings.page_host}:{settings.page_port}",
        f"collector  http://{settings.collector_host}:{settings.collector_port}",
        f"clickhouse http://{settings.clickhouse_host}:{settings.clickhouse_port}",
        f"kafka      {settings.kafka}",
        f'ask        {where}headwater sql "{EXAMPLE}"',
        "Open the page: the shop stays open, somebody comes every few seconds, and the figures move.",
        f"The table above, live: http://{settings.page_host}:{settings.page_port}/?period=30d",
        "Ctrl-C stops everything.",
    )
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _expected(truth: Truth) -> int:
    """How many touches, conversions and dead letters ClickHouse must hold in the end."""
    return truth.touches + truth.conversions + sum(truth.dead_letters.values())


def _now() -> int:
    return time_ns() // 1_000_000
