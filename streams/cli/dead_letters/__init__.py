"""``headwater dead-letters``: look at what was refused, and send it again, mended or as it was.

Rule: it works from Kafka alone, where letters are kept for 30 days, so it also works while ClickHouse is away. A letter
is sent again once, never twice (`sending`).
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from schemas.settings import Settings
    from streams.cli.dead_letters.letters import Choice, Letter, Place
    from streams.cli.dead_letters.mended import Line
    from streams.cli.dead_letters.plans import Rules

dead_letters = typer.Typer(help="Look at what was refused, and send it again.", no_args_is_help=True)

_Reasons = Annotated[
    list[str] | None, typer.Option("--reason", metavar="REASON", help="Only of this reason; may be repeated.")
]
_Topics = Annotated[
    list[str] | None, typer.Option("--topic", metavar="TOPIC", help="Only from this topic, or http; may be repeated.")
]
_From = Annotated[str, typer.Option("--from", help="Received from this day (2026-11-01) or moment on.")]
_To = Annotated[str, typer.Option("--to", help="Received until the end of this day, or before this moment.")]
_Last = Annotated[str, typer.Option("--last", help="Received in the last 7d (today included), 4w, 24h or 90m.")]
_Zone = Annotated[str, typer.Option("--timezone", help="Time zone of --from and --to.")]


@dead_letters.command("list")
def list_(  # noqa: PLR0913, PLR0917  # options
    reason: _Reasons = None,
    topic: _Topics = None,
    from_: _From = "",
    to: _To = "",
    last: _Last = "",
    timezone: _Zone = "UTC",
    all_: Annotated[bool, typer.Option("--all", help="Show letters too that were replayed.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Most letters, the latest ones; 0: all. [default: 100; with --json: all]")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a letter: edit them, and replay the file.")
    ] = False,
) -> None:
    """List the letters that wait, the latest last; with --json as lines that `replay` takes back.

    For example: headwater dead-letters list --reason schema --last 24h --json > letters.jsonl
    """
    from schemas.settings import current_settings

    choice = _choice(reason, topic, from_, to, last, timezone)
    most = limit if limit is not None else 0 if json else 100
    asyncio.run(_list(current_settings(), choice, most, all_=all_, json=json))


async def _list(settings: Settings, choice: Choice, most: int, *, all_: bool, json: bool) -> None:
    import heapq
    from collections import Counter

    from streams.cli.dead_letters.mended import describe
    from streams.cli.dead_letters.topic import letterbox
    from streams.cli.import_files import print_json

    waiting: Counter[str] = Counter()
    replayed = 0
    kept: list[tuple[int, Place, Letter]] = []
    async with letterbox(settings) as box:
        replays = await box.replays()
        with _progress("reading letters") as told:
            async for letter in box.letters(choice, told):
                replay = replays.get(letter.mark)
                replayed += replay is not None
                if replay is None:
                    waiting[letter.reason] += 1
                elif not all_:
                    continue
                if json and not most:
                    print_json(describe(letter, replay))
                    continue
                entry = (letter.time, letter.place, letter)
                if most and len(kept) == most:
                    heapq.heappushpop(kept, entry)
                else:
                    heapq.heappush(kept, entry)
    letters = [letter for _, _, letter in sorted(kept, key=lambda entry: entry[:2])]
    if json:
        for letter in letters:
            print_json(describe(letter, replays.get(letter.mark)))
        return
    from streams.cli.dead_letters import shown

    out = shown.console()
    if letters:
        out.print(shown.letters_table(letters, replays))
    out.print(shown.count(waiting, replayed, len(letters), all_=all_), soft_wrap=True)


@dead_letters.command()
def show(
    letter: Annotated[str, typer.Argument(help="The letter, as `list` names it: 3:1204.", metavar="LETTER")],
    all_: Annotated[bool, typer.Option("--all", help="Show all of its bytes, be they millions.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Write its bytes as they are, and nothing else.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one letter: why it was refused, where it came from, and its own bytes, as text and in hexadecimal."""
    from schemas.settings import current_settings
    from streams.cli.dead_letters import shown
    from streams.cli.dead_letters.mended import describe
    from streams.cli.import_files import print_json

    found, replay = asyncio.run(_one(current_settings(), letter))
    if raw:
        sys.stdout.buffer.write(found.value)
        sys.stdout.buffer.flush()
    elif json:
        print_json(describe(found, replay))
    else:
        shown.print_letter(found, replay, most=len(found.value) if all_ else shown.SHOWN_BYTES)


async def _one(settings: Settings, name: str) -> tuple[Letter, Any]:
    from schemas.errors import ConfigurationError
    from streams.cli.dead_letters.letters import Choice, place_of
    from streams.cli.dead_letters.topic import letterbox

    place = place_of(name)
    if place is None:
        raise ConfigurationError(f"{name!r} is no letter: PARTITION:OFFSET, as `dead-letters list` shows them")
    async with letterbox(settings) as box:
        async for letter in box.letters(Choice(places={place})):
            return letter, (await box.replays()).get(letter.mark)
    raise ConfigurationError(f"no such letter: {name} (they are kept for 30 days)")


@dead_letters.command()
def replay(  # noqa: PLR0913, PLR0917  # options
    which: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LETTER...|FILE]",
            help="Letters (3:1204 ...), or one FILE of `list --json`, edited; - is standard input.",
        ),
    ] = None,
    reason: _Reasons = None,
    topic: _Topics = None,
    from_: _From = "",
    to: _To = "",
    last: _Last = "",
    timezone: _Zone = "UTC",
    all_: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
    received_now: Annotated[
        bool,
        typer.Option(
            "--received-now", help="Judge events as received now, not when they were: for in_future, when it is past."
        ),
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Send back to topics even what would be refused again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent where, and send nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Send letters back to where their events belong, as they are or as a file mends them; each once, never twice.

    What would only be refused again stays, and is told. Exit status 1 where nothing was sent and something stays.

    For example: headwater dead-letters replay letters.jsonl --dry-run
    """
    from schemas.errors import ConfigurationError
    from schemas.settings import current_settings
    from streams.cli.dead_letters import shown
    from streams.cli.dead_letters.letters import Choice
    from streams.cli.dead_letters.replay import replay as run
    from streams.cli.import_files import print_json

    choice = _choice(reason, topic, from_, to, last, timezone)
    lines, places = _named(which or [])
    if bool(places) + bool(choice) + all_ > 1:
        raise ConfigurationError(
            "name letters or a file, or choose by reason, topic and time, or take --all: one of these"
        )
    if not places and not choice and not all_:
        raise ConfigurationError(
            "which letters? Name some, or a file, or choose by --reason, --topic, --last; or --all"
        )
    settings = current_settings()
    rules = _rules(settings, received_now=received_now, anyway=anyway)
    with _progress("replaying") as told:
        tally = asyncio.run(
            run(settings, Choice(places=places) if places else choice, rules, lines=lines, dry_run=dry_run, told=told)
        )
    if json:
        print_json({"dry_run": dry_run} | tally.as_json())
    else:
        if dry_run and tally.plans:
            shown.console().print(shown.plans_table(tally.plans[:100]))
        for line in shown.stays(tally):
            print(line, file=sys.stderr)
        print(shown.result(tally, dry_run=dry_run))
    if tally.refused and not tally.replayed:
        raise typer.Exit(1)


def _named(which: list[str]) -> tuple[dict[Place, Line] | None, set[Place]]:
    """The letters that the command line names, and the lines of its file, if it is one."""
    from schemas.errors import ConfigurationError
    from streams.cli.dead_letters.letters import place_of
    from streams.cli.dead_letters.mended import read_lines

    places = {place for name in which if (place := place_of(name)) is not None}
    files = [name for name in which if place_of(name) is None]
    if not files:
        return None, places
    if len(files) > 1 or places:
        raise ConfigurationError("one file, or letters; not both, and not several files")
    if files[0] == "-":
        lines = read_lines(sys.stdin.buffer, "standard input")
    else:
        try:
            with Path(files[0]).open("rb") as file:
                lines = read_lines(file, files[0])
        except OSError as error:
            raise ConfigurationError(f"{files[0]}: {error.strerror}") from None
    if not lines:
        raise ConfigurationError(f"{files[0]}: there is no letter in it")
    return lines, set(lines)


def _choice(
    reasons: list[str] | None, topics: list[str] | None, from_: str, to: str, last: str, timezone: str
) -> Choice:
    from datetime import UTC, datetime, timedelta
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from schemas.errors import ConfigurationError
    from schemas.reasons import REASONS
    from schemas.topics import INPUTS
    from streams.cli.dead_letters.letters import HTTP, Choice

    for option, given, known in (("--reason", reasons, REASONS), ("--topic", topics, (*INPUTS, HTTP))):
        for name in given or ():
            if name not in known:
                raise ConfigurationError(f"{option} {name}: one of {', '.join(known)}")
    since = until = None
    if from_ or to or last:
        from sinks.clickhouse.reports import Asked, spans

        try:
            zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigurationError(f"--timezone {timezone}: no such time zone") from None
        now = datetime.now(UTC)
        # Longer ago than letters are kept.
        first = from_ or ("" if last else (now - timedelta(days=90)).date().isoformat())
        span, _ = spans(Asked(first, to, last, "none"), zone, now)
        since, until = (1000 * second for second in span.seconds)
    return Choice(tuple(reasons or ()), tuple(topics or ()), since, until)


def _rules(settings: Settings, *, received_now: bool, anyway: bool) -> Rules:
    import secrets
    import time

    from schemas.errors import ConfigurationError
    from streams.cli.dead_letters.plans import Rules
    from streams.collector.networks import ip_keeper
    from streams.core.ids import read_keys

    try:
        keys = read_keys(settings.click_id_keys.get_secret_value())
    except ValueError as error:
        raise ConfigurationError(f"click_id_keys: {error}") from None
    secret = keys[0][1] if keys else secrets.token_bytes(32)
    return Rules(
        secret=secret,
        keep_ip=ip_keeper(settings.ip_addresses, secret),
        received=time.time_ns() // 1_000_000 if received_now else None,
        anyway=anyway,
    )


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where that is a terminal; what is returned is told how far of how much."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
