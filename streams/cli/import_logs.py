"""``headwater import logs``: page views from access logs of nginx and Apache, as landings.

Rule: every line is accounted for: a page view, or none for a reason that is counted; of lines that nobody can read, or
that are refused, the first are told by their number.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.settings import Settings
    from streams.cli.access_log import Reading
    from streams.collector.eventlog import EventLog
    from streams.collector.intake import Intake, Origin

BATCH: Final = 1_000
_MAX_LINE: Final = 65_536
_MOST_TOLD: Final = 20
_SHOWN: Final = 100
_COUNTED: Final = frozenset({"accepted", "marked_as_bots"})
_WORDS: Final = {
    "not_a_page": "that are no page views",
    "bot": "of bots",
    "unreadable": "unreadable",
    "too_old": "too old",
    "in_future": "in the future",
}
"""Why a line is no page view, as a person reads it."""


def logs(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Access logs, combined format; gzipped too.")],
    site: Annotated[str, typer.Option(help="The site that they are of.")],
    base: Annotated[
        str, typer.Option("--url", help="What stands before paths, https://host; else the site's first domain.")
    ] = "",
    visitor_field: Annotated[
        int, typer.Option(min=0, max=20, help="Field after the user agent that names the visitor, from 1 (a cookie).")
    ] = 0,
    visitor_parameter: Annotated[
        str, typer.Option(help="Parameter of addresses that names the visitor, where they have it.")
    ] = "",
    bots: Annotated[bool, typer.Option("--bots/--no-bots", help="Import bots too, marked as such.")] = True,
    history: Annotated[
        bool, typer.Option("--history", help="Take lines as received when they were logged: for logs older than 7 d.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Import page views from web servers' access logs (nginx, Apache) as landings.

    Reading a log twice changes nothing. Visitors are whom a click id of ours, --visitor-parameter, --visitor-field or
    our cookie names; else they are told apart by network, user agent and day, hashed with the first of
    HEADWATER_CLICK_ID_KEYS.
    """
    from schemas.settings import current_settings
    from streams.cli.access_log import Reading
    from streams.cli.import_files import check, print_json

    settings = current_settings()
    for path in files:
        check(path)
    reading = Reading(site, _base(settings, site, base), _keys(settings), visitor_field, visitor_parameter)
    told = asyncio.run(_import(settings, files, reading, bots=bots, history=history))
    for path, counts, refused in told:
        for line in refused:
            print(f"{path}:{line}", file=sys.stderr)
        if counts["too_old"]:
            print(f"{path}: touches older than 7 days are refused; with --history they are taken", file=sys.stderr)
        if json:
            print_json({"file": str(path)} | counts)
        else:
            print(f"{path}: {_summary(counts)}")
    if not any(counts["accepted"] for _, counts, _ in told) and any(refused for _, _, refused in told):
        raise typer.Exit(1)


def _summary(counts: Counter[str]) -> str:
    """One line: how many page views, and what else there was."""
    marked = f", {counts['marked_as_bots']:,} of them of bots, marked as such" if counts["marked_as_bots"] else ""
    besides = [
        f"{count:,} {_WORDS.get(name, name)}" for name, count in counts.items() if name not in _COUNTED and count
    ]
    views = f"{counts['accepted']:,} page view{'' if counts['accepted'] == 1 else 's'}"
    return f"{views}{marked}" + (f"; besides {', '.join(besides)}" if besides else "")


async def _import(
    settings: Settings, files: list[Path], reading: Reading, *, bots: bool, history: bool
) -> list[tuple[Path, Counter[str], list[str]]]:
    import time

    from streams.cli import import_files
    from streams.collector.intake import Origin
    from streams.collector.networks import ip_keeper

    found = []
    keep_ip = ip_keeper(settings.ip_addresses, reading.keys[0][1])
    async with import_files.kafka(settings) as log:
        for path in files:
            origin = Origin(time.time_ns() // 1_000_000, "", None, keep_ip=keep_ip)
            importer = _Importer(log, reading, origin, bots=bots, history=history)
            with import_files.progress(path) as told:
                rest = b""
                for piece in import_files.pieces(path, told):
                    *lines, rest = (rest + piece).split(b"\n")
                    rest = rest[:_MAX_LINE]
                    await importer.take(lines)
                await importer.take([rest] if rest else [])
                await importer.flush()
            found.append((path, importer.counts, importer.refused))
    return found


class _Importer:
    """Takes a log's lines; `counts` says what became of them, `refused` which of them are no good, and why."""

    def __init__(self, log: EventLog, reading: Reading, origin: Origin, *, bots: bool, history: bool) -> None:
        from streams.collector.intake import Intake

        self._log = log
        self._reading = reading
        self._origin = origin
        self._bots = bots
        self._history = history
        self._intake: Intake = Intake([], [], [], [])
        self._number = 0
        self.counts: Counter[str] = Counter(accepted=0)
        self.refused: list[str] = []

    async def take(self, lines: list[bytes]) -> None:
        """Take lines, and keep them where there are enough."""
        for touch in self._touches(lines):
            self._add(touch)
            if len(self._intake.records) >= BATCH:
                await self.flush()

    async def flush(self) -> None:
        """Keep what was taken."""
        records, verdicts = self._intake.records, self._intake.verdicts
        if records:
            await self._log.append([*records, *verdicts])
            self.counts["accepted"] += len(records)
            records.clear()
            verdicts.clear()

    def _touches(self, lines: list[bytes]) -> Iterator[dict[str, Any]]:
        from streams.cli.access_log import read_line
        from streams.collector.agents import judge_agent

        for line in lines:
            self._number += 1
            text = line.decode("utf-8", "replace").strip()
            if not text:
                continue
            found = read_line(text, self._reading, lambda agent: self._bots or judge_agent(agent) == "browser")
            if not isinstance(found, str):
                yield found
                continue
            self.counts[found] += 1
            if found == "unreadable":
                self._tell(f"{found}: {text[:_SHOWN]!a}")

    def _add(self, touch: dict[str, Any]) -> None:
        from schemas.errors import Refused
        from streams.collector.intake import doubts, take_event
        from streams.collector.validity import verdict_on

        origin = self._origin._replace(received_at=touch["time"]) if self._history else self._origin
        try:
            # Kafka deletes by the record's time, which is now: history must not be gone before it is read.
            record = take_event(touch, origin, self._reading.keys[0][1])._replace(time=self._origin.received_at)
        except Refused as refusal:
            self.counts[refusal.reason] += 1
            self._tell(str(refusal))
            return
        self._intake.records.append(record)
        if reasons := doubts(touch, origin, named=False):
            self.counts["marked_as_bots"] += 1
            verdict = verdict_on(touch, reasons, origin.received_at)
            self._intake.verdicts.append(verdict._replace(time=self._origin.received_at))

    def _tell(self, what: str) -> None:
        if len(self.refused) < _MOST_TOLD:
            self.refused.append(f"{self._number}: {what}")


def _base(settings: Settings, site: str, stated: str) -> str:
    """The address before paths: as stated, else by the site's first domain. Raises `ConfigurationError`."""
    from urllib.parse import urlsplit

    from schemas.errors import ConfigurationError
    from streams.cli.registry_topic import read_registry

    if stated:
        parts = urlsplit(stated)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError(f"--url: {stated!r} is not written https://host")
        return stated.rstrip("/")
    entries = asyncio.run(read_registry(settings)).values()
    sites = [entry for entry in entries if entry.kind == "site" and entry.site == site and entry.domains]
    if not sites:
        raise ConfigurationError(f"site {site!r} has no domain in the registry: state --url https://host")
    return f"https://{max(sites, key=lambda entry: entry.valid_from).domains[0]}"


def _keys(settings: Settings) -> list[tuple[str, bytes]]:
    """The keys of click ids, the first of which hashes visitors; the local stack's where it runs here."""
    import json

    from deploy.local.stack import KEPT_FILE
    from schemas.errors import ConfigurationError
    from streams.collector.keys import read_setting

    text = settings.click_id_keys.get_secret_value()
    kept = settings.data_dir / KEPT_FILE
    if not text and kept.is_file():
        text = json.loads(kept.read_text()).get("click_id_keys", "")
    keys = read_setting(text, "click_id_keys")
    if not keys:
        raise ConfigurationError("set HEADWATER_CLICK_ID_KEYS: visitors are told apart by a hash with its first key")
    return keys
