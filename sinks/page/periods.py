"""Periods: which time a question is about, cut into the bars of a chart, and the period it is compared with.

Rule: pure; the current time comes as an argument. Bars begin at round times of the viewer's zone, so they stand still
while time passes; the last one is still filling. The period before is as long as what has passed of this one, so that
the two compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

Period = Literal["1h", "24h", "7d", "30d"]
PERIODS: Final[tuple[Period, ...]] = get_args(Period)

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_BARS: Final[dict[Period, tuple[int, int]]] = {
    "1h": (60, _MINUTE),
    "24h": (48, 30 * _MINUTE),
    "7d": (56, 3 * _HOUR),
    "30d": (30, _DAY),
}
"""Period -> (number of bars, seconds of one)."""


@dataclass(frozen=True, slots=True)
class Window:
    """A period's bars: `starts` (seconds since the epoch, ascending) and `end` (exclusive, a whole minute).

    `length` is what lies between a bar and the one it is compared with, in seconds.
    """

    starts: tuple[int, ...]
    end: int
    length: int

    @property
    def start(self) -> int:
        """Where it begins."""
        return self.starts[0]

    def before(self) -> Window:
        """The period before, cut off where as much of it has passed as of this one."""
        return Window(tuple(start - self.length for start in self.starts), self.end - self.length, self.length)


def window(period: Period, now: float, zone: ZoneInfo) -> Window:
    """The window of `period` up to and with the current minute of `now` (seconds since the epoch)."""
    count, width = _BARS[period]
    end = int(now) // _MINUTE * _MINUTE + _MINUTE
    last = _bar_start(int(now), width, zone)
    if width == _DAY:
        local = datetime.fromtimestamp(last, zone)
        starts = tuple(
            int((local - timedelta(days=days)).replace(hour=0, minute=0, fold=0).timestamp())
            for days in range(count - 1, -1, -1)
        )
    else:
        starts = tuple(last - width * back for back in range(count - 1, -1, -1))
    return Window(starts, end, count * width)


def _bar_start(now: int, width: int, zone: ZoneInfo) -> int:
    """The latest round time of `zone` that is not after `now`: a multiple of `width` seconds since local midnight."""
    local = datetime.fromtimestamp(now, zone)
    if width == _DAY:
        return int(local.replace(hour=0, minute=0, second=0, fold=0).timestamp())
    passed = local.hour * _HOUR + local.minute * _MINUTE + local.second
    return now - passed % width
