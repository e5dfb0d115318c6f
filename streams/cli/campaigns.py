"""``headwater campaigns``: the registry of sites and campaigns.

Rule: a file says what is to be; what that changes is shown before it is done, and what the file does not name stays as
it is. Where nobody is there to be asked (no terminal) it is done at once.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.registry_topic import read_registry, write_registry

if TYPE_CHECKING:
    from schemas.registry import CampaignEntry, SiteEntry
    from streams.cli.registry_diff import Change

__all__ = ["campaigns", "write_registry"]

campaigns = typer.Typer(help="The registry of sites and campaigns.", no_args_is_help=True)
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@campaigns.command()
def apply(
    file: Annotated[Path, typer.Argument(help="YAML with `sites` and `campaigns`.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    json: _Json = False,
) -> None:
    """Write the sites and campaigns of FILE into the registry; nothing is written unless all of it is right."""
    from schemas.settings import current_settings
    from streams.cli.registry_diff import compare
    from streams.cli.registry_file import read_registry_file

    settings = current_settings()
    wanted = read_registry_file(file)
    there = asyncio.run(read_registry(settings))
    changes = compare(wanted, there)
    written = [change.entry for change in changes if change.what != "same"]
    if not json:
        _show(changes, others=len(there.keys() - {entry.key for entry in wanted}))
    ask = not (yes or dry_run or json) and sys.stdin.isatty()
    if written and ask and not typer.confirm(f"Write {_number(len(written), 'change')}?", default=True):
        raise typer.Abort
    if written and not dry_run:
        asyncio.run(write_registry(settings, written))
    if json:
        _print_json({"written": not dry_run and bool(written), "changes": [change.as_json() for change in changes]})
    elif written:
        typer.echo("nothing written (--dry-run)" if dry_run else f"{_number(len(written), 'change')} written")


@campaigns.command("list")
def list_(
    site: Annotated[str, typer.Option(help="Only this site and its campaigns.")] = "",
    json: _Json = False,
) -> None:
    """List the sites and campaigns that are in force now."""
    from schemas.settings import current_settings

    entries = [entry for entry in asyncio.run(read_registry(current_settings())).values() if site in {"", entry.site}]
    current = _in_force(entries)
    if json:
        _print_json([_described(entry, entries) for entry in current])
        return
    _print_table(current, entries)


@campaigns.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a site or campaign.")],
    site: Annotated[str, typer.Option(help="The campaign's site, where several have one of that name.")] = "",
    json: _Json = False,
) -> None:
    """Show all periods of the site or campaign NAME, as a file that `apply` takes."""
    import yaml

    from schemas.errors import ConfigurationError
    from schemas.settings import current_settings
    from streams.cli.registry_diff import stated

    entries = [
        entry
        for entry in asyncio.run(read_registry(current_settings())).values()
        if (entry.site if entry.kind == "site" else entry.campaign) == name and site in {"", entry.site}
    ]
    if not entries:
        raise ConfigurationError(f"there is no site or campaign {name!r}; `headwater campaigns list` shows all")
    entries.sort(key=lambda entry: entry.valid_from)
    if json:
        _print_json([_described(entry, entries) for entry in entries])
        return
    current = _in_force(entries)
    for heading, kind in (("sites", "site"), ("campaigns", "campaign")):
        of_kind = [entry for entry in entries if entry.kind == kind]
        if of_kind:
            typer.echo(f"{heading}:")
        for entry in of_kind:
            typer.echo(f"# {_force(entry, current)}")
            typer.echo(yaml.safe_dump([stated(entry)], sort_keys=False, allow_unicode=True), nl=False)


def _show(changes: list[Change], others: int) -> None:
    from streams.cli.registry_diff import describe

    for change in changes:
        if change.what != "same":
            typer.echo("\n".join(describe(change)))
    same = sum(change.what == "same" for change in changes)
    told = [f"{same} as they are"] if same else []
    told += [f"{others} not in the file, which stay"] if others else []
    past = [change for change in changes if change.what == "changed" and not change.entry.valid_from]
    if told:
        typer.echo(f"besides: {', '.join(told)}")
    if past:
        typer.echo("a change without `valid_from` holds for the past too, for all that comes in from now on")


def _in_force(entries: list[SiteEntry | CampaignEntry]) -> list[SiteEntry | CampaignEntry]:
    """Of each name the entry that holds now, sites first."""
    import time

    from streams.cli.registry_diff import titles

    now = time.time_ns() // 1_000_000
    found: dict[tuple[str, ...], SiteEntry | CampaignEntry] = {}
    for entry in sorted(entries, key=lambda entry: entry.valid_from):
        if entry.valid_from <= now:
            found[tuple(titles(entry).values())] = entry
    return sorted(found.values(), key=lambda entry: (entry.kind != "site", *titles(entry).values()))


def _force(entry: SiteEntry | CampaignEntry, current: list[SiteEntry | CampaignEntry]) -> str:
    import time

    if entry in current:
        return "in force now"
    return "to come" if entry.valid_from > time.time_ns() // 1_000_000 else "past"


def _described(entry: SiteEntry | CampaignEntry, entries: list[SiteEntry | CampaignEntry]) -> dict[str, Any]:
    from streams.cli.registry_diff import moment

    force = _force(entry, _in_force(entries))
    return entry.model_dump(mode="json") | {"valid_from": moment(entry.valid_from), "in_force": force == "in force now"}


def _print_table(current: list[SiteEntry | CampaignEntry], entries: list[SiteEntry | CampaignEntry]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from streams.cli.registry_diff import moment, titles

    periods = [tuple(titles(entry).values()) for entry in entries]
    sites = Table("site", "domains", "currency", "time zone", "valid from", box=SIMPLE_HEAD, pad_edge=False)
    table = Table("campaign", "site", "source / medium", "channel", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("goals", justify="right")
    table.add_column("periods", justify="right")
    table.add_column("valid from")
    for entry in current:
        since = moment(entry.valid_from) or "the beginning"
        if entry.kind == "site":
            cells = [entry.site, ", ".join(entry.domains), entry.currency, entry.timezone, since]
            sites.add_row(*(Text(cell) for cell in cells))
            continue
        came = " / ".join(part for part in (entry.source, entry.medium) if part)
        number = periods.count(tuple(titles(entry).values()))
        cells = [entry.campaign, entry.site, came, entry.channel, str(len(entry.destinations)), str(number), since]
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(width=None if sys.stdout.isatty() else 140)
    shown = [one for one in (sites, table) if one.row_count]
    for one in shown:
        console.print(one)
    if not shown:
        typer.echo("nothing is registered; `headwater campaigns apply FILE` does")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _print_json(value: object) -> None:
    import orjson

    typer.echo(orjson.dumps(value).decode())
