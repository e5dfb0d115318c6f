"""``headwater import``: costs and conversions from files, and visits from web servers' logs.

Rule: the same code as behind ``/import/...``; a file read twice counts once, gzipped or not. What is refused is told
line by line on stderr; the exit status is 1 where lines were refused and nothing at all was accepted.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from streams.cli.import_logs import logs

if TYPE_CHECKING:
    from schemas.settings import Settings
    from streams.collector.import_lines import Kind

imports = typer.Typer(help="Import costs, conversions or access logs from files.", no_args_is_help=True)

_ABOUT: Final = (
    *("site", "campaign", "source", "medium", "channel", "ad_group", "ad", "variant"),
    *("date", "from", "to", "time"),
)
"""What two statements have in common of which one replaces the other, and when they were made."""
_MOST_REPEATS: Final = 10
_ROUTES: Final[dict[Kind, str]] = {"cost": "costs", "conversion": "conversions"}
_Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV with a header, or JSON lines; gzipped too.")]
_Url = Annotated[
    str,
    typer.Option(
        "--collector",
        help="Send to the collector at this address, with the first of HEADWATER_API_KEYS; else straight to Kafka.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a file.")]


@imports.command()
def costs(files: _Files, collector: _Url = "", json: _Json = False) -> None:
    """Import statements of ad spend; lines without `time` are statements of when the file was last changed."""
    _import("cost", files, collector, json=json)


@imports.command()
def conversions(files: _Files, collector: _Url = "", json: _Json = False) -> None:
    """Import conversions and adjustments."""
    _import("conversion", files, collector, json=json)


imports.command("logs")(logs)


def _import(kind: Kind, files: list[Path], collector: str, *, json: bool) -> None:
    from schemas.settings import current_settings
    from streams.cli.import_files import check, print_json

    settings = current_settings()
    for path in files:
        check(path)
        if kind == "cost":
            _warn_of_repeats(path)
    work = _send(settings, kind, files, collector) if collector else _put(settings, kind, files)
    told = asyncio.run(work)
    for path, answer in told:
        for refused in answer["rejected"]:
            print(f"{path}:{refused['line']}: {refused['reason']}: {refused['detail']}", file=sys.stderr)
        if json:
            print_json({"file": str(path)} | answer)
        else:
            untold = answer["rejected_total"] - len(answer["rejected"])
            more = f" ({untold:,} of them not told)" if untold else ""
            print(f"{path}: {answer['accepted']:,} accepted, {answer['rejected_total']:,} refused{more}")
    if any(answer["rejected_total"] for _, answer in told) and not any(answer["accepted"] for _, answer in told):
        raise typer.Exit(1)


def _warn_of_repeats(path: Path) -> None:
    """Say which lines of a file of costs state the same dimensions and period at the same time: one of them counts."""
    from streams.cli.import_files import pieces
    from streams.collector.import_lines import Reader
    from streams.collector.intake import Unacceptable

    reader = Reader("cost", file=path.name, time=0)
    seen: dict[int, int] = {}
    repeats = 0
    try:
        read = (reader.feed(piece) for piece in pieces(path, lambda _: None))
        for line in chain(chain.from_iterable(read), reader.end()):
            about = hash(tuple(str(line.data.get(name, "")) for name in _ABOUT))
            first = line.number if line.refusal is not None else seen.setdefault(about, line.number)
            if first == line.number:
                continue
            repeats += 1
            if repeats <= _MOST_REPEATS:
                told = f"states the same campaign and period as line {first}: one of them counts"
                print(f"{path}:{line.number}: {told}", file=sys.stderr)
    except Unacceptable:
        return  # told when it is read
    if repeats > _MOST_REPEATS:
        print(f"{path}: {repeats - _MOST_REPEATS:,} more lines state what others do", file=sys.stderr)


async def _put(settings: Settings, kind: Kind, files: list[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Straight to Kafka."""
    import time

    from schemas.errors import ConfigurationError
    from streams.cli import import_files
    from streams.collector.import_lines import Reader, Tally, take_lines
    from streams.collector.intake import Intake, Origin, Unacceptable
    from streams.collector.networks import ip_keeper

    found = []
    keep_ip = ip_keeper("none" if settings.ip_addresses == "hashed" else settings.ip_addresses, b"")
    async with import_files.kafka(settings) as log:

        async def keep(intake: Intake) -> None:
            await log.append([*intake.records, *intake.dead_letters])

        for path in files:
            reader = Reader(kind, file=path.name.removesuffix(".gz"), time=int(path.stat().st_mtime * 1000))
            origin = Origin(time.time_ns() // 1_000_000, "", None, keep_ip=keep_ip)
            tally = Tally()
            with import_files.progress(path) as told:
                try:
                    await take_lines(reader, import_files.stream(path, told), keep, origin, b"", tally)
                except Unacceptable as error:
                    raise ConfigurationError(f"{path}: {error.refusal.detail}") from None
            found.append((path, tally.answer()))
    return found


async def _send(settings: Settings, kind: Kind, files: list[Path], collector: str) -> list[tuple[Path, dict[str, Any]]]:
    """To a collector."""
    import aiohttp

    from schemas.errors import ConfigurationError, Unavailable
    from streams.cli import import_files
    from streams.collector.keys import read_setting

    keys = read_setting(settings.api_keys.get_secret_value(), "api_keys")
    if not keys:
        raise ConfigurationError("set HEADWATER_API_KEYS to a key of the collector's, `id:secret`")
    headers = {"authorization": f"Bearer {keys[0][1].decode()}", "content-type": "application/octet-stream"}
    url = f"{collector.rstrip('/')}/import/{_ROUTES[kind]}"
    found = []
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        for path in files:
            asked = {"file": path.name.removesuffix(".gz")}
            if kind == "cost":
                asked["time"] = str(int(path.stat().st_mtime * 1000))
            try:
                with import_files.progress(path) as told:
                    body = import_files.stream(path, told)
                    async with session.post(url, params=asked, data=body) as response:
                        answer = await response.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise Unavailable(f"collector at {collector}: {str(error) or type(error).__name__}") from None
            if response.status != 200:
                raise Unavailable(f"{path}: the collector answered {response.status}: {answer.get('error')}")
            found.append((path, answer))
    return found
