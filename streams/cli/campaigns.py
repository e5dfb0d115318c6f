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
        sites = {entry.site for entry in (*there.values(), *wanted) if entry.kind == "site"}
        unknown = sorted({entry.site for entry in wanted} - sites)
        _show(changes, others=len(there.keys() - {entry.key for entry in wanted}), unknown=unknown)
    ask = not (yes or dry_run or json) and _is_asked()
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
    """List the sites and campaigns: the period of each that is in force now, else the one to come."""
    from schemas.settings import current_settings

    entries = [entry for entry in asyncio.run(read_registry(current_settings())).values() if site in {"", entry.site}]
    current = _in_force(entries)
    later = _to_come(entries, current)
    if json:
        _print_json([_described(entry, entries) for entry in (*current, *later)])
        return
    _print_table(current, later, entries)


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


def _show(changes: list[Change], others: int, unknown: list[str]) -> None:
    from streams.cli.registry_diff import describe

    for change in changes:
        if change.what != "same":
            typer.echo("\n".join(describe(change)))
    same = sum(change.what == "same" for change in changes)
    told = [f"{same} as they are"] if same else []
    told += [f"{others} not in the file, which stay"] if others else []
    past = [change for change in changes if change.what == "changed" and change.entry.valid_from <= _now()]
    if told:
        typer.echo(f"{'besides' if same < len(changes) else 'nothing changes'}: {', '.join(told)}")
    if unknown:
        typer.echo(f"not registered, so that defaults hold for them: {', '.join(f'site {name}' for name in unknown)}")
    if past:
        typer.echo("a change of what is in force holds for the past too: what is there already is looked at again")


def _in_force(entries: list[SiteEntry | CampaignEntry]) -> list[SiteEntry | CampaignEntry]:
    """Of each name the entry that holds now, sites first."""
    from streams.cli.registry_diff import name_of

    now = _now()
    found: dict[tuple[str, ...], SiteEntry | CampaignEntry] = {}
    for entry in sorted(entries, key=lambda entry: entry.valid_from):
        if entry.valid_from <= now:
            found[name_of(entry)] = entry
    return sorted(found.values(), key=lambda entry: (entry.kind != "site", *name_of(entry)))


def _to_come(
    entries: list[SiteEntry | CampaignEntry], current: list[SiteEntry | CampaignEntry]
) -> list[SiteEntry | CampaignEntry]:
    """The first entry of each name that none is in force of yet, sites first."""
    from streams.cli.registry_diff import name_of

    known = {name_of(entry) for entry in current}
    found: dict[tuple[str, ...], SiteEntry | CampaignEntry] = {}
    for entry in sorted(entries, key=lambda entry: entry.valid_from):
        if name_of(entry) not in known:
            found.setdefault(name_of(entry), entry)
    return sorted(found.values(), key=lambda entry: (entry.kind != "site", *name_of(entry)))


def _force(entry: SiteEntry | CampaignEntry, current: list[SiteEntry | CampaignEntry]) -> str:
    if entry in current:
        return "in force now"
    return "to come" if entry.valid_from > _now() else "past"


def _described(entry: SiteEntry | CampaignEntry, entries: list[SiteEntry | CampaignEntry]) -> dict[str, Any]:
    from streams.cli.registry_diff import moment

    force = _force(entry, _in_force(entries))
    return entry.model_dump(mode="json") | {"valid_from": moment(entry.valid_from), "in_force": force == "in force now"}


def _print_table(
    current: list[SiteEntry | CampaignEntry],
    later: list[SiteEntry | CampaignEntry],
    entries: list[SiteEntry | CampaignEntry],
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from streams.cli.registry_diff import name_of

    starts: dict[tuple[str, ...], list[int]] = {}
    for entry in entries:
        starts.setdefault(name_of(entry), []).append(entry.valid_from)
    sites = Table("site", "domains", "currency", "time zone", box=SIMPLE_HEAD, pad_edge=False)
    table = Table("campaign", "site", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("source / medium", overflow="fold")
    table.add_column("channel")
    table.add_column("dest.", justify="right")
    for one in (sites, table):
        one.add_column("from (UTC)", no_wrap=True)
        one.add_column("until", no_wrap=True)
    for entry in (*current, *later):
        after = [start for start in starts[name_of(entry)] if start > entry.valid_from]
        time = [_moment(entry.valid_from), _moment(min(after)) if after else ""]
        if entry.kind == "site":
            cells = [entry.site, ", ".join(entry.domains), entry.currency, entry.timezone, *time]
            sites.add_row(*(Text(cell) for cell in cells))
            continue
        came = " / ".join(part for part in (entry.source, entry.medium) if part)
        cells = [entry.campaign, entry.site, came, entry.channel, str(len(entry.destinations)), *time]
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(width=None if sys.stdout.isatty() else 140)
    shown = [one for one in (sites, table) if one.row_count]
    for one in shown:
        console.print(one)
    if later:
        waiting = [entry.site if entry.kind == "site" else entry.campaign for entry in later]
        console.print(Text(f"not in force yet: {', '.join(waiting)}"))
    if not shown:
        typer.echo("nothing is registered; `headwater campaigns apply FILE` does")


def _moment(time_ms: int) -> str:
    """A moment as short as it can be said."""
    from streams.cli.registry_diff import moment

    text = (moment(time_ms) or "the beginning").removesuffix("Z").replace("T", " ")
    return text.removesuffix(":00").removesuffix(" 00:00")


def _is_asked() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def _now() -> int:
    import time

    return time.time_ns() // 1_000_000


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _print_json(value: object) -> None:
    import orjson

    typer.echo(orjson.dumps(value).decode())
