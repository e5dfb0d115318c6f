"""What a report is asked: period, sites, filters and model, and the conditions that say so in SQL.

Rule: values travel as query parameters, never in the text of a statement. Sites in several time zones are each asked
about their own days.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinks.clickhouse.reports.periods import Span

CountedAt = Literal["conversion", "touch"]
DEFAULT_MODEL: Final = "last_non_direct"
TOUCH_FILTERS: Final = ("channel", "campaign", "partner", "audience", "variant")
"""Filters on the touch that is credited."""
HOUR_SPAN_S: Final = 2 * 86_400
"""A period up to this long is drawn by hours, a longer one by days."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Values to choose by, any of each; empty: all."""

    site: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    campaign: tuple[str, ...] = ()
    partner: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    currency: tuple[str, ...] = ()

    def given(self) -> dict[str, list[str]]:
        """Those that are not empty, by name."""
        names = ("site", *TOUCH_FILTERS, "action", "currency")
        return {name: list(getattr(self, name)) for name in names if getattr(self, name)}


@dataclass(frozen=True, slots=True)
class Question:
    """A question about `periods`: time zone -> its period and the one that is compared (None: none).

    `zones` names the sites of each time zone; sites that are in none of them belong to `zone`, the one that is shown.
    """

    periods: Mapping[str, tuple[Span, Span | None]]
    zone: str = "UTC"
    zones: Mapping[str, Sequence[str]] = field(default_factory=dict)
    filters: Filters = Filters()
    model: str = DEFAULT_MODEL
    counted_at: CountedAt = "conversion"

    @property
    def span(self) -> Span:
        """The period in the time zone that is shown."""
        return self.periods[self.zone][0]

    @property
    def before(self) -> Span | None:
        """The period that is compared, in the time zone that is shown."""
        return self.periods[self.zone][1]

    @property
    def by_hour(self) -> bool:
        """Whether the period is short enough to be drawn by hours."""
        start, end = self.span.seconds
        return end - start <= HOUR_SPAN_S

    def shown(self, currency: str) -> bool:
        """Whether money in `currency` was asked for."""
        return not self.filters.currency or currency in self.filters.currency


class Conditions:
    """A WHERE clause in the making: `text`, and its query `parameters`."""

    def __init__(self, question: Question, *, before: bool = False) -> None:
        self._question = question
        self._before = before
        self._parts: list[str] = []
        self.parameters: dict[str, Any] = {"model": question.model}

    @property
    def text(self) -> str:
        """All conditions, joined."""
        return " AND ".join(self._parts) or "1"

    def during(self, column: str) -> Conditions:
        """Rows whose `column` (a time in UTC) lies in the period, each site's in its own time zone; of asked sites."""
        if self._question.filters.site:
            self._any_of("site", self._question.filters.site, "site")
        zones = self._question.zones
        elsewhere = [name for zone, names in zones.items() if zone != self._question.zone for name in names]
        if not elsewhere:
            self._parts.append(self._between(column, self._question.zone, "0"))
            return self
        arms = []
        for number, zone in enumerate(self._question.periods):
            at = self._between(column, zone, str(number))
            if zone == self._question.zone:
                self.parameters["elsewhere"] = elsewhere
                arms.append(f"(site NOT IN {{elsewhere:Array(String)}} AND {at})")
            else:
                self.parameters[f"sites_{number}"] = list(zones.get(zone, ()))
                arms.append(f"(site IN {{sites_{number}:Array(String)}} AND {at})")
        self._parts.append(f"({' OR '.join(arms)})")
        return self

    def touched(self) -> Conditions:
        """Rows whose own columns match the filters on touches."""
        for name in TOUCH_FILTERS:
            if values := getattr(self._question.filters, name):
                self._any_of(name, values, name)
        return self

    def journeys(self) -> Conditions:
        """Attributions with a touch that matches all the filters on touches."""
        names = [name for name in TOUCH_FILTERS if getattr(self._question.filters, name)]
        if names:
            for name in names:
                self.parameters[name] = list(getattr(self._question.filters, name))
            tests = " AND ".join(f"has({{{name}:Array(String)}}, a_{name})" for name in names)
            lambdas = ", ".join(f"a_{name}" for name in names)
            arrays = ", ".join(f"touches.{name}" for name in names)
            self._parts.append(f"arrayExists(({lambdas}) -> {tests}, {arrays})")
        return self

    def converted(self, *, currency: bool = True) -> Conditions:
        """Rows whose conversion is of the asked actions (and currencies)."""
        for name in ("action", "currency") if currency else ("action",):
            if values := getattr(self._question.filters, name):
                self._any_of(name, values, name)
        return self

    def also(self, condition: str, **parameters: object) -> Conditions:
        """A further condition, with its parameters."""
        self._parts.append(condition)
        self.parameters |= parameters
        return self

    def _any_of(self, column: str, values: Sequence[str], name: str) -> None:
        self.parameters[name] = list(values)
        self._parts.append(f"{column} IN {{{name}:Array(String)}}")

    def _between(self, column: str, zone: str, suffix: str) -> str:
        span, before = self._question.periods[zone]
        chosen = before if self._before and before is not None else span
        self.parameters[f"start_{suffix}"], self.parameters[f"end_{suffix}"] = chosen.seconds
        return (
            f"{column} >= toDateTime({{start_{suffix}:UInt32}}, 'UTC')"
            f" AND {column} < toDateTime({{end_{suffix}:UInt32}}, 'UTC')"
        )


def bucket(question: Question) -> tuple[str, dict[str, Any]]:
    """SQL for the local day or hour of the column ``minute``, as text, and its parameters."""
    parameters: dict[str, Any] = {"shape": "%Y-%m-%d %H:00" if question.by_hour else "%Y-%m-%d", "zone": question.zone}
    local = "formatDateTime(minute, {shape:String}, {zone:String})"
    arms = []
    for number, (zone, names) in enumerate(question.zones.items()):
        if zone != question.zone:
            parameters |= {f"zone_{number}": zone, f"bucket_{number}": list(names)}
            there = f"formatDateTime(minute, {{shape:String}}, {{zone_{number}:String}})"
            arms.append(f"site IN {{bucket_{number}:Array(String)}}, {there}")
    return (f"multiIf({', '.join(arms)}, {local})" if arms else local), parameters
