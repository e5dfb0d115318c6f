"""Numbers as people read them: counts, shares of conversions, money, ratios, changes, durations, periods.

Rule: what is no number is an en dash; a change always has its sign, so that colour adds nothing but speed. The space
before a per cent sign does not break.
"""

from __future__ import annotations

from datetime import time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from iso4217 import Currency

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime

    from sinks.clickhouse.reports import Span

NOTHING: Final = "\N{EN DASH}"
THIN: Final = "\N{NO-BREAK SPACE}"
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000


def plain(text: str) -> str:
    """A text from outside with nothing in it that a terminal would obey, or that hides or turns what follows."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == THIN else "\N{REPLACEMENT CHARACTER}" for one in text)


def credit(amount: Decimal | int, *, whole: bool = False) -> str:
    """Conversions, which models share out; `whole` where no share is a fraction."""
    return f"{amount:,.0f}" if whole else f"{amount:,.2f}"


def all_whole(amounts: Iterable[Decimal | int]) -> bool:
    """Whether none has a fraction, so that a column needs no decimals."""
    return all(amount == int(amount) for amount in amounts)


@lru_cache(maxsize=256)
def _decimals(currency: str) -> int:
    try:
        return int(Currency(currency).exponent or 0)
    except ValueError:
        return 2


def money(amount: Decimal | None, currency: str) -> str:
    """An amount with the decimals that the currency has."""
    return NOTHING if amount is None else f"{amount:,.{_decimals(currency)}f}"


def small_money(amount: Decimal | None, currency: str) -> str:
    """An amount a piece: with two decimals more where it would else be next to nothing."""
    if amount is None:
        return NOTHING
    places = _decimals(currency)
    return f"{amount:,.{places + 2 if 0 < abs(amount) < Decimal(10) ** (1 - places) else places}f}"


def times(ratio: Decimal | None) -> str:
    """A ratio of money to money, such as ROAS."""
    return NOTHING if ratio is None else f"{ratio:,.2f}"


def percent(ratio: Decimal | None, places: int = 2, *, unit: bool = True) -> str:
    """A part of one as per cent, with its `unit` or without (where the head of a column says it)."""
    return NOTHING if ratio is None else f"{100 * ratio:,.{places}f}{f'{THIN}%' if unit else ''}"


def change(ratio: Decimal | None, *, unit: bool = True) -> str:
    """A relative change in per cent, signed."""
    if ratio is None:
        return NOTHING
    hundredfold = 100 * ratio
    shown = f"{hundredfold:+,.0f}" if abs(hundredfold) >= 1000 else f"{hundredfold:+,.1f}"
    return f"{'±0.0' if shown in {'+0.0', '-0.0'} else shown}{f'{THIN}%' if unit else ''}"


def duration(ms: float | None) -> str:
    """A length of time in its two largest units: ``3 d 4 h``."""
    if ms is None:
        return NOTHING
    for unit, name, smaller, smaller_name in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if ms >= unit:
            most, rest = divmod(round(ms / smaller), unit // smaller)
            return f"{most:,}{THIN}{name} {rest}{THIN}{smaller_name}" if rest else f"{most:,}{THIN}{name}"
    if ms >= _MINUTE:
        return f"{round(ms / _MINUTE)}{THIN}min"
    return f"{round(ms / _SECOND)}{THIN}s"


def period(span: Span) -> str:
    """A span as dates where it is whole days, else with hours."""
    if span.start.time() == time() and span.start.date() != span.end.date() and not span.whole_days:
        return f"{_days(span.start.date(), span.end.date())}, until {span.end:%H:%M}"
    if not span.whole_days:
        return f"{_moment(span.start)} to {_moment(span.end)}"
    return _days(span.start.date(), span.end.date() - timedelta(days=1))


def _days(first: date, last: date) -> str:
    if last == first:
        return f"{last.day} {last:%b %Y}"
    if (last.year, last.month) == (first.year, first.month):
        return f"{first.day} to {last.day} {last:%b %Y}"
    if last.year == first.year:
        return f"{first.day} {first:%b} to {last.day} {last:%b %Y}"
    return f"{first.day} {first:%b %Y} to {last.day} {last:%b %Y}"


def moment(found: datetime, *, ms: bool = False) -> str:
    """A moment to the second, or to the millisecond."""
    shown = f"{found:%Y-%m-%d %H:%M:%S}"
    return f"{shown}.{found.microsecond // 1000:03d}" if ms else shown


def _moment(found: datetime) -> str:
    return f"{found.day} {found:%b %Y %H:%M}"
