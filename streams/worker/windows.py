"""Rolling KPI windows of 5 min, 1 h and 24 h, by event time, for Prometheus.

Rule: a window's totals equal the sum of the stored panes of its minutes at every moment. Only totals are kept in
memory: when a minute passes, the one that enters and the one that leaves are read back from the store's panes. A late
correction changes every window that holds its minute.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client.core import GaugeMetricFamily

from schemas.reasons import MODELS
from streams.core.panes import KPIS, TRAFFIC, add, read_pane
from streams.core.state import pane_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

    from streams.worker.store import Store

WINDOWS: Final = {"5m": 5, "1h": 60, "24h": 1440}
"""Label -> minutes, the current one included."""
Series = tuple[str, str, str, str]
"""site, channel, campaign, currency"""
_IMPRESSIONS, _CLICKS, _LANDINGS, _COST = (
    TRAFFIC.index(n) for n in ("impressions", "clicks", "landings", "cost_micros")
)
_MILLION: Final = 1_000_000


class UnitWindows:
    """The windows over one unit's panes. `minute` is the current one, in minutes since the epoch."""

    def __init__(self, store: Store, minute: int) -> None:
        self._store = store
        self._minute = minute
        self._pending: dict[tuple[int, str, str, str, str], list[int]] = {}
        self.totals: dict[str, dict[Series, list[int]]] = {label: {} for label in WINDOWS}
        longest = max(WINDOWS.values())
        for pane_minute, series, numbers in self._panes(minute - longest + 1, minute + 1):
            self._add(pane_minute, series, numbers, 1)

    def change(self, changes: dict[Any, list[int]]) -> None:
        """Take committed changes of panes into account; keys begin minute, site, channel, campaign, end with currency.

        They are only gathered here, by minute and series, and added to the windows when someone looks.
        """
        pending = self._pending
        for dimensions, numbers in changes.items():
            key = (dimensions[0], *dimensions[1:4], dimensions[7])
            old = pending.get(key)
            pending[key] = numbers if old is None else add(old, numbers)

    def settle(self) -> None:
        """Add what was gathered to the windows."""
        pending, self._pending = self._pending, {}
        for (minute, *series), numbers in pending.items():
            self._add(minute, (series[0], series[1], series[2], series[3]), numbers, 1)

    def advance(self, minute: int) -> None:
        """Let time pass up to `minute`."""
        self.settle()
        while self._minute < minute:
            self._minute += 1
            entering = list(self._panes(self._minute, self._minute + 1))
            for label, length in WINDOWS.items():
                for _, series, numbers in entering:
                    self._sum(label, series, numbers, 1)
                gone = self._minute - length
                for _, series, numbers in self._panes(gone, gone + 1):
                    self._sum(label, series, numbers, -1)

    def _panes(self, start: int, end: int) -> Iterator[tuple[int, Series, list[int]]]:
        for _, value in self._store.scan_from(pane_key(max(0, start), b""), pane_key(max(0, end), b"")):
            pane = orjson.loads(value)
            series = (pane["site"], pane["channel"], pane["campaign"], pane["currency"])
            yield pane["minute"], series, read_pane(pane)

    def _add(self, minute: int, series: Series, numbers: list[int], sign: int) -> None:
        for label, length in WINDOWS.items():
            if self._minute - length < minute <= self._minute:
                self._sum(label, series, numbers, sign)

    def _sum(self, label: str, series: Series, numbers: list[int], sign: int) -> None:
        table = self.totals[label]
        old = table.get(series)
        new = add(old or [], numbers, sign)
        if any(new):
            table[series] = new
        elif old:
            del table[series]


class WindowMetrics:
    """Prometheus collector over the windows of all units of a process."""

    def __init__(self, units: Iterable[UnitWindows] = (), *, most_campaigns: int = 1000) -> None:
        self.units: dict[int, UnitWindows] = dict(enumerate(units))
        self._most = most_campaigns

    def collect(self) -> Iterator[Metric]:
        """The windows up to the current minute of the wall clock."""
        minute = int(time.time() // 60)
        labels = ["site", "channel", "campaign", "window"]
        families = {
            "impressions": GaugeMetricFamily(
                "headwater_window_impressions", "Impressions in the window.", labels=labels
            ),
            "clicks": GaugeMetricFamily("headwater_window_clicks", "Clicks in the window.", labels=labels),
            "visits": GaugeMetricFamily("headwater_window_visits", "Clicks and landings in the window.", labels=labels),
            "cost": GaugeMetricFamily("headwater_window_cost", "Cost in the window.", labels=[*labels, "currency"]),
            "conversions": GaugeMetricFamily(
                "headwater_window_conversions", "Conversions credited in the window.", labels=[*labels, "model"]
            ),
            "revenue": GaugeMetricFamily(
                "headwater_window_revenue", "Revenue credited in the window.", labels=[*labels, "model", "currency"]
            ),
        }
        for label in WINDOWS:
            merged = self._merged(label, minute)
            _fill(families, label, merged)
        yield from families.values()

    def _merged(self, label: str, minute: int) -> dict[Series, list[int]]:
        merged: dict[Series, list[int]] = {}
        for unit in self.units.values():
            unit.advance(minute)
            for series, numbers in unit.totals[label].items():
                old = merged.get(series)
                merged[series] = add(old, numbers) if old else numbers
        campaigns: dict[str, int] = {}
        for series, numbers in merged.items():
            campaigns[series[2]] = campaigns.get(series[2], 0) + numbers[_CLICKS] + numbers[_LANDINGS]
        if len(campaigns) <= self._most:
            return merged
        kept = set(sorted(campaigns, key=lambda name: (-campaigns[name], name))[: self._most])
        bounded: dict[Series, list[int]] = {}
        for (site, channel, campaign, currency), numbers in merged.items():
            series = (site, channel, campaign if campaign in kept else "other", currency)
            bounded[series] = add(bounded.get(series, []), numbers)
        return bounded


def _fill(families: dict[str, GaugeMetricFamily], window: str, merged: dict[Series, list[int]]) -> None:
    traffic: dict[tuple[str, str, str], list[int]] = {}
    conversions: dict[tuple[str, str, str, str], int] = {}
    for (site, channel, campaign, currency), numbers in merged.items():
        seen = traffic.setdefault((site, channel, campaign), [0, 0, 0])
        seen[0] += numbers[_IMPRESSIONS]
        seen[1] += numbers[_CLICKS]
        seen[2] += numbers[_CLICKS] + numbers[_LANDINGS]
        if numbers[_COST]:
            families["cost"].add_metric([site, channel, campaign, window, currency], numbers[_COST] / _MILLION)
        for index, model in enumerate(MODELS if len(numbers) > len(TRAFFIC) else ()):
            at = len(TRAFFIC) + index * len(KPIS)
            if numbers[at]:
                key = (site, channel, campaign, model)
                conversions[key] = conversions.get(key, 0) + numbers[at]
            if numbers[at + 1]:
                revenue = numbers[at + 1] / _MILLION
                families["revenue"].add_metric([site, channel, campaign, window, model, currency], revenue)
    for (site, channel, campaign), seen in traffic.items():
        for name, number in zip(("impressions", "clicks", "visits"), seen, strict=True):
            families[name].add_metric([site, channel, campaign, window], number)
    for (site, channel, campaign, name), number in conversions.items():
        families["conversions"].add_metric([site, channel, campaign, window, name], number / _MILLION)
