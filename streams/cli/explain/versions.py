"""A conversion's versions as tables: one after the other, and the first beside the one in force."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from schemas.reasons import MODELS
from streams.cli.explain.history import credit_by_channel
from streams.cli.report import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.cli.explain.history import Change, Version
    from streams.cli.explain.story import Story

_CAUSES: Final = {
    "first": "first report",
    "late_touch": "a touch came late",
    "adjustment": "an event about it came",
    "verdict": "a verdict or consent came",
    "moved": "it turned out to be another visitor's",
    "registry": "the registry changed",
}


def at(ms: int, story: Story) -> str:
    """A moment in the time zone of the story."""
    return words.moment(datetime.fromtimestamp(ms / 1000, UTC).astimezone(story.zone))


def in_currency(micros: int, currency: str) -> str:
    """Micros as an amount with its currency."""
    return f"{words.money(Decimal(micros).scaleb(-6), currency)} {currency}"


def versions_title(versions: Sequence[Version]) -> str:
    """How many versions there are, and how many of them the sink never saw."""
    missing = sum(version.unseen for version in versions)
    seen = f"Its {versions[-1].number} versions" if versions[-1].number > 1 else "Its only version"
    return f"{seen}, {missing} of them never seen by the sink" if missing else seen


def versions_table(story: Story) -> Table:
    """One row a version: when, because of what, and what it changed."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("reported", no_wrap=True)
    table.add_column("because", overflow="fold", ratio=2)
    table.add_column("changed", overflow="fold", ratio=3)
    for version in story.versions:
        record = version.record
        changed = ", ".join(_changed(change, record, story) for change in version.changes)
        if version.unseen:
            changed = f"({version.unseen} before it not seen) {changed}".strip()
        cause = Text(record["cause"], style="bold").append(f"  {_CAUSES[record['cause']]}", style="not bold dim")
        table.add_row(
            str(version.number),
            at(record["last_changed_at"], story),
            cause,
            Text(words.plain(changed) or words.NOTHING),
        )
    return table


def _changed(change: Change, record: dict[str, Any], story: Story) -> str:
    before, now = change.before, change.now
    match change.what:
        case "withdrawn":
            told = f"withdrawn from visitor {record['visitor_id'] or '(none)'}"
        case "value_micros" | "value_reported_micros":
            name = change.what.removesuffix("_micros").replace("_", " ")
            told = f"{name} {in_currency(before, record['currency'])} to {in_currency(now, record['currency'])}"
        case "conversion_time":
            told = f"time {at(before, story)} to {at(now, story)}"
        case "classification":
            told = _classified(before, now)
        case "touches":
            told = f"candidates {len(before)} to {len(now)}"
        case "credits":
            models = [model for model in MODELS if before.get(model) != now.get(model)]
            under = "all models" if len(models) == len(MODELS) else ", ".join(models)
            told = f"credit under {under}" if models else "credit between touches of a channel"
        case _:
            told = f"{change.what.removesuffix('_id')} {before or '(none)'} to {now or '(none)'}"
    return told


def _classified(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What became of the touches' classification: their channels, where these changed."""
    channels = Counter((then["channel"], now[touch]["channel"]) for touch, then in before.items() if "channel" in then)
    told = [f"{count} of {then} to {since}" for (then, since), count in channels.items()]
    others = len(before) - channels.total()
    if others:
        told.append(f"{others} with other " + ", ".join(sorted({name for one in before.values() for name in one})))
    return "candidates classified again: " + "; ".join(told)


def first_and_now(story: Story) -> Table:
    """The first version that is known beside the one in force."""
    first, now = story.versions[0], story.versions[-1]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", style="dim", no_wrap=True)
    table.add_column(
        "first" if first.number == 1 else f"first known (version {first.number})", overflow="fold", ratio=1
    )
    table.add_column(f"now (version {now.number})", overflow="fold", ratio=1)
    lines = [
        ("status", *(version.record["status"] for version in (first, now))),
        ("value", *(in_currency(v.record["value_micros"], v.record["currency"]) for v in (first, now))),
        ("time", *(at(version.record["conversion_time"], story) for version in (first, now))),
        ("visitor", *(version.record["visitor_id"] or "not known" for version in (first, now))),
    ]
    shares = [credit_by_channel(version.record) for version in (first, now)]
    lines += [(model, *(_shared(share.get(model, {})) for share in shares)) for model in MODELS]
    for name, before, after in lines:
        cells = Text(words.plain(before)), Text(words.plain(after), style="bold" if before != after else "")
        table.add_row(name, *cells)
    return table


def _shared(shares: dict[str, int]) -> str:
    return ", ".join(
        channel if weight == 1_000_000 else f"{channel} {words.percent(Decimal(weight).scaleb(-6), 1)}"
        for channel, weight in sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))
    )
