"""Periods: what ``--from``, ``--to``, ``--last`` and ``--compare`` ask for, as moments of a time zone.

Rule: a day is a day of the site's time zone, and a span ends before its `end`. The period before is as long, in days of
the calendar where the period is whole days; where the period is not over yet, the one before is cut at the same point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from schemas.errors import ConfigurationError

DEFAULT_LAST: Final = "7d"
LONGEST_DAYS: Final = 400
"""Panes are kept for so long."""
_LAST: Final = re.compile(r"([1-9][0-9]{0,4})(m|h|d|w)", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` up to, not including, `end`: whole minutes, aware, in the zone they were asked for in."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> tuple[int, int]:
        """Both ends in seconds since the epoch."""
        return int(self.start.timestamp()), int(self.end.timestamp())

    @property
    def whole_days(self) -> bool:
        """Whether it begins and ends at a midnight."""
        return self.start.time() == self.end.time() == time()


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as it was written; '' where nothing was.

    `first` and `until` are days (``2026-11-01``; `until` included) or moments (ISO 8601, without a zone in the site's);
    `last` is ``7d``, ``24h``, ``90m`` or ``4w``; `compare` is ``previous``, ``none`` or ``FROM..TO``.
    """

    first: str = ""
    until: str = ""
    last: str = ""
    compare: str = "previous"


def spans(asked: Asked, zone: tzinfo, now: datetime) -> tuple[Span, Span | None]:
    """The period and the one it is compared with (None: none). Raises `ConfigurationError` with one clear line."""
    if asked.first and asked.last:
        raise ConfigurationError("--from and --last say two different beginnings: choose one")
    here = now.astimezone(zone)
    end = _moment(asked.until, zone, "--to", ending=True) if asked.until else None
    if asked.first:
        span = Span(_moment(asked.first, zone, "--from"), end or _midnight(here, days=1))
    else:
        span = _last(asked.last or DEFAULT_LAST, end, here)
    if span.start >= span.end:
        raise ConfigurationError(f"the period ends ({span.end:%Y-%m-%d %H:%M}) before it begins")
    if span.end - span.start > timedelta(days=LONGEST_DAYS + 1):
        raise ConfigurationError(f"the period is longer than {LONGEST_DAYS} days, for which figures are kept")
    return span, _compared(asked.compare, span, zone, here)


def _last(text: str, end: datetime | None, here: datetime) -> Span:
    match = _LAST.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"--last {text!r}: write 7d, 24h, 90m or 4w")
    count, unit = int(match[1]), match[2]
    if unit in "dw":
        days = count if unit == "d" else 7 * count
        if days > LONGEST_DAYS:
            raise ConfigurationError(f"--last {text!r}: at most {LONGEST_DAYS}d, for which figures are kept")
        until = end or _midnight(here, days=1)
        return Span(until - timedelta(days=days), until)
    until = end or here.replace(second=0, microsecond=0) + _MINUTE
    length = timedelta(minutes=count) if unit == "m" else timedelta(hours=count)
    return Span(_earlier(until, length), until)


def _compared(text: str, span: Span, zone: tzinfo, here: datetime) -> Span | None:
    if text in {"", "none"}:
        return None
    if text != "previous":
        first, dots, until = text.partition("..")
        if not (dots and first and until):
            raise ConfigurationError(f"--compare {text!r}: write previous, none or FROM..TO")
        other = Span(_moment(first, zone, "--compare"), _moment(until, zone, "--compare", ending=True))
        if other.start >= other.end:
            raise ConfigurationError(f"--compare {text!r}: it ends before it begins")
        return other
    reached = max(span.start, min(span.end, here.replace(second=0, microsecond=0) + _MINUTE))
    if span.whole_days:
        days = timedelta(days=(span.end.date() - span.start.date()).days)
        return Span(span.start - days, reached - days) if reached > span.start else Span(span.start - days, span.start)
    length = span.end.astimezone(UTC) - span.start.astimezone(UTC)
    return Span(_earlier(span.start, length), _earlier(reached, length) if reached > span.start else span.start)


def _moment(text: str, zone: tzinfo, option: str, *, ending: bool = False) -> datetime:
    """A day's first minute (where `ending`: the next day's) or a moment as it stands, in `zone`."""
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            return datetime.combine(day + timedelta(days=1) if ending else day, time(), zone)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{option} {text!r}: write a day (2026-11-01) or a moment (2026-11-01T14:30)"
        ) from None
    found = found.replace(tzinfo=zone) if found.tzinfo is None else found.astimezone(zone)
    return found.replace(second=0, microsecond=0)


def _midnight(here: datetime, *, days: int) -> datetime:
    """The midnight that begins the day `days` after that of `here`."""
    return datetime.combine(here.date() + timedelta(days=days), time(), here.tzinfo)


def _earlier(moment: datetime, length: timedelta) -> datetime:
    """A moment so much earlier by the clock that never jumps."""
    return (moment.astimezone(UTC) - length).astimezone(moment.tzinfo)
