"""The rolling windows of all units of a process, as text for Prometheus (contract, section 8).

Rule: a thousand campaigns are some 50,000 lines, and batches must not wait for them. So the text is written here, six
times as fast as by the client library, and in small pieces between which batches get their turn.

A process shows what its own partitions hold, and what costs they state: add up over instances. Beyond `most_campaigns`
those with the most visits keep their names, the others are summed up as `other`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from schemas.reasons import MODELS
from streams.core.panes import KPIS, TRAFFIC, add
from streams.worker.stated_costs import StatedCosts
from streams.worker.windows import PIECE, WINDOWS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from streams.worker.stated_costs import Statement
    from streams.worker.windows import Series, UnitWindows

log = structlog.get_logger()

FAMILIES: Final = {
    "headwater_window_impressions": "Impressions in the window.",
    "headwater_window_clicks": "Clicks in the window.",
    "headwater_window_visits": "Clicks and landings in the window.",
    "headwater_window_cost": "Cost in the window.",
    "headwater_window_conversions": "Conversions credited in the window.",
    "headwater_window_revenue": "Revenue credited in the window.",
}
"""Name -> help, all of them gauges."""
_LABELS: Final = ("site", "channel", "campaign", "window")
LABELS: Final = {
    "headwater_window_impressions": _LABELS,
    "headwater_window_clicks": _LABELS,
    "headwater_window_visits": _LABELS,
    "headwater_window_cost": (*_LABELS, "currency"),
    "headwater_window_conversions": (*_LABELS, "model"),
    "headwater_window_revenue": (*_LABELS, "model", "currency"),
}
"""Name -> labels, as `_write` writes them."""
EVERY_S: Final = 2.0
"""The windows are so far behind the clock at most."""
_IMPRESSIONS, _CLICKS, _LANDINGS, _COST = (
    TRAFFIC.index(n) for n in ("impressions", "clicks", "landings", "cost_micros")
)
_MODELS_AT: Final[tuple[tuple[str, int], ...]] = tuple(
    (model, len(TRAFFIC) + index * len(KPIS)) for index, model in enumerate(MODELS)
)
_MILLION: Final = 1_000_000
Group = dict[str, list[list[int]]]
"""currency -> the numbers of each unit, all of one site, channel and campaign"""


class WindowMetrics:
    """The windows of the process's units, by partition; `units` is whoever's who opens and closes them."""

    def __init__(self, units: Iterable[UnitWindows] = (), *, most_campaigns: int = 1000) -> None:
        self.units: dict[int, UnitWindows] = dict(enumerate(units))
        self.stated = StatedCosts()
        self.statements: list[Statement] = []
        """Those that the units' totals know of: no cost is shown twice while a day is read anew."""
        self._most = most_campaigns

    async def follow(self) -> None:
        """Keep the windows up with the wall clock, until cancelled."""
        while True:
            spans, statements = self.stated.spans, self.stated.statements()
            for partition, unit in list(self.units.items()):
                unit.spans = spans
                try:
                    await unit.advance(int(time.time() // 60))
                except Exception:
                    # Only what is shown: the unit goes on without.
                    log.exception("windows_failed", partition=partition)
                    unit.close()
            self.statements = statements
            await asyncio.sleep(EVERY_S)

    async def text(self, names: Collection[str] = ()) -> str:
        """The windows in Prometheus' text format; of the families in `names` alone, where it is not empty."""
        wanted = [name for name in FAMILIES if not names or name in names]
        if not wanted:
            return ""
        lines: dict[str, list[str]] = {name: [] for name in FAMILIES}
        for window in WINDOWS:
            groups = await self._groups(window)
            for count, (key, group) in enumerate(groups.items(), 1):
                _write(lines, window, key, group)
                if count % PIECE == 0:
                    await asyncio.sleep(0)
        return "".join(
            "".join((f"# HELP {name} {FAMILIES[name]}\n# TYPE {name} gauge\n", *lines[name])) for name in wanted
        )

    async def _groups(self, window: str) -> dict[tuple[str, str, str], Group]:
        entries: list[tuple[Series, list[int]]] = []
        visits: dict[str, int] = {}
        statements = self.statements
        # Numbers are replaced by every change, never changed in place: these are of one moment.
        for unit in list(self.units.values()):
            if unit.complete:
                found = list(unit.totals[window].items())
                entries += found
                for series, numbers in found:
                    visits[series[2]] = visits.get(series[2], 0) + numbers[_CLICKS] + numbers[_LANDINGS]
                await asyncio.sleep(0)
        spent = await self._spent(window, entries, statements)
        entries += spent
        for series, _ in spent:
            visits.setdefault(series[2], 0)
        names = sorted(visits, key=lambda name: (-visits[name], name)) if len(visits) > self._most else list(visits)
        kept = set(names[: self._most])
        groups: dict[tuple[str, str, str], Group] = {}
        for count, ((site, channel, campaign, currency), numbers) in enumerate(entries, 1):
            group = groups.setdefault((site, channel, campaign if campaign in kept else "other"), {})
            group.setdefault(currency, []).append(numbers)
            if count % (PIECE * 5) == 0:
                await asyncio.sleep(0)
        return groups

    async def _spent(
        self, window: str, entries: list[tuple[Series, list[int]]], statements: list[Statement]
    ) -> list[tuple[Series, list[int]]]:
        """Stated costs of the partitions that are here; what states no channel lies at that of its traffic."""
        minutes = {partition: unit.minute for partition, unit in self.units.items() if unit.complete}
        found: list[tuple[Series, list[int]]] = []
        ways: dict[tuple[str, str], tuple[int, str]] = {}
        for count, told in enumerate(statements, 1):
            if count % PIECE == 0:
                await asyncio.sleep(0)
            until = minutes.get(told.partition)
            micros = told.within(until - WINDOWS[window], until) if until is not None else 0
            if not micros:
                continue
            if not told.channel and not ways:
                ways = _ways(entries)
            channel = told.channel or ways.get((told.site, told.campaign), (0, "Unassigned"))[1]
            found.append(((told.site, channel, told.campaign, told.currency), [0, 0, 0, 0, micros]))
        return found


def _ways(entries: list[tuple[Series, list[int]]]) -> dict[tuple[str, str], tuple[int, str]]:
    """(site, campaign) -> the most visits that came by one channel, and that channel."""
    ways: dict[tuple[str, str], tuple[int, str]] = {}
    for (site, channel, campaign, _), numbers in entries:
        way = (numbers[_CLICKS] + numbers[_LANDINGS], channel)
        ways[site, campaign] = max(ways.get((site, campaign), way), way)
    return ways


def _write(lines: dict[str, list[str]], window: str, key: tuple[str, str, str], group: Group) -> None:
    """Append the lines of one site, channel and campaign in `window`."""
    site, channel, campaign = map(_escape, key)
    labels = f'{{site="{site}",channel="{channel}",campaign="{campaign}",window="{window}"'
    impressions = clicks = visits = 0
    conversions: dict[str, int] = {}
    for currency, found in group.items():
        numbers = found[0]
        for more in found[1:]:
            numbers = add(numbers, more)
        impressions += numbers[_IMPRESSIONS]
        clicks += numbers[_CLICKS]
        visits += numbers[_CLICKS] + numbers[_LANDINGS]
        money = f'currency="{_escape(currency)}"}}'
        if numbers[_COST]:
            lines["headwater_window_cost"].append(
                f"headwater_window_cost{labels},{money} {numbers[_COST] / _MILLION}\n"
            )
        if len(numbers) == len(TRAFFIC):
            continue
        for model, at in _MODELS_AT:
            if numbers[at]:
                conversions[model] = conversions.get(model, 0) + numbers[at]
            if numbers[at + 1]:
                lines["headwater_window_revenue"].append(
                    f'headwater_window_revenue{labels},model="{model}",{money} {numbers[at + 1] / _MILLION}\n'
                )
    lines["headwater_window_impressions"].append(f"headwater_window_impressions{labels}}} {impressions}\n")
    lines["headwater_window_clicks"].append(f"headwater_window_clicks{labels}}} {clicks}\n")
    lines["headwater_window_visits"].append(f"headwater_window_visits{labels}}} {visits}\n")
    for name, number in conversions.items():
        lines["headwater_window_conversions"].append(
            f'headwater_window_conversions{labels},model="{name}"}} {number / _MILLION}\n'
        )


def _escape(value: str) -> str:
    """A label's value as the text format has it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
