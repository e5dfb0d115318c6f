"""The registry as the core sees it: which site and campaign settings were in force at a moment.

Rule: a snapshot, looked up by event time; a name that is not registered has the defaults.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from schemas.registry import CampaignEntry, ChannelRule, Lookbacks, SiteEntry

DAY_MS: Final = 86_400_000
DEFAULT_LOOKBACKS: Final = {"click": 30 * DAY_MS, "landing": 30 * DAY_MS, "impression": 1 * DAY_MS}
"""Clicks and landings 30 d, impressions 1 d (contract, section 3, rule 1)."""
MAX_LOOKBACK_MS: Final = 90 * DAY_MS
FOREVER: Final = 1 << 62
"""Later than any time, in ms."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site's settings; lookbacks in ms by kind of touch."""

    site: str
    domains: tuple[str, ...] = ()
    providers_added: tuple[str, ...] = ()
    providers_removed: tuple[str, ...] = ()
    currency: str = "USD"
    timezone: str = "UTC"
    lookbacks: Mapping[str, int] = field(default_factory=lambda: DEFAULT_LOOKBACKS)
    session_ms: int = 30 * 60_000
    consent_default: str = "granted"
    duplicate_policy: Mapping[str, str] = field(default_factory=dict)
    channels: tuple[ChannelRule, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    """Name or host of a source -> its category."""

    def policy(self, action: str) -> str:
        """The duplicate policy of an action."""
        return self.duplicate_policy.get(action) or self.duplicate_policy.get("*", "once_per_order")


@dataclass(frozen=True, slots=True)
class Destination:
    """A landing page of a campaign."""

    url: str
    weight: float = 1
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign's settings; '' where not stated, lookbacks only where stated."""

    campaign: str
    site: str
    source: str = ""
    medium: str = ""
    channel: str = ""
    partner: str = ""
    destinations: tuple[Destination, ...] = ()
    variants: tuple[str, ...] = ()
    lookbacks: Mapping[str, int] = field(default_factory=dict)
    valid_from: int = 0


_T = TypeVar("_T")


class _Periods(Generic[_T]):
    """Values in force from a moment each."""

    __slots__ = ("starts", "values")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.values: list[_T] = []

    def put(self, start: int, value: _T) -> None:
        index = bisect_right(self.starts, start)
        if index and self.starts[index - 1] == start:
            self.values[index - 1] = value
        else:
            self.starts.insert(index, start)
            self.values.insert(index, value)

    def at(self, time: int) -> _T | None:
        index = bisect_right(self.starts, time)
        return self.values[index - 1] if index else None

    def around(self, time: int) -> tuple[int, int]:
        index = bisect_right(self.starts, time)
        start = self.starts[index - 1] if index else 0
        return start, self.starts[index] if index < len(self.starts) else FOREVER


class Registry:
    """Sites and campaigns by name and time. Filled by `put`, then only read."""

    def __init__(self, entries: Iterable[SiteEntry | CampaignEntry] = ()) -> None:
        self._sites: dict[str, _Periods[Site]] = {}
        self._campaigns: dict[tuple[str, str], _Periods[Campaign]] = {}
        self._names: dict[str, list[str]] = {}
        self._spellings: dict[tuple[str, str], list[str]] = {}
        self._defaults: dict[str, Site] = {}
        self.version = 0
        """Grows with each `put`: what was remembered of an older one may be wrong."""
        for entry in entries:
            self.put(entry)

    def put(self, entry: SiteEntry | CampaignEntry) -> None:
        """Add a record, or replace the one of the same name and moment."""
        self.version += 1
        if entry.kind == "site":
            self._sites.setdefault(entry.site, _Periods()).put(entry.valid_from, _site(entry))
            return
        campaign = _campaign(entry)
        self._campaigns.setdefault((entry.site, entry.campaign), _Periods()).put(entry.valid_from, campaign)
        _insert(self._names.setdefault(entry.campaign, []), entry.site)
        _insert(self._spellings.setdefault((entry.site, entry.campaign.lower()), []), entry.campaign)

    def site(self, site: str, time_ms: int) -> Site:
        """The site's settings at a moment; the defaults where none are in force."""
        periods = self._sites.get(site)
        found = periods.at(time_ms) if periods else None
        if found is None:
            found = self._defaults.get(site)
            if found is None:
                if len(self._defaults) > 10_000:
                    self._defaults.clear()
                found = self._defaults[site] = Site(site)
        return found

    def campaign(self, name: str, site: str, time_ms: int) -> Campaign | None:
        """A site's campaign as it was at a moment; None where it was not registered."""
        periods = self._campaigns.get((site, name))
        return periods.at(time_ms) if periods else None

    def campaign_in_any_case(self, name: str, site: str, time_ms: int) -> Campaign | None:
        """As `campaign`; where none has just this name, one whose name differs in the case of its letters alone."""
        found = self.campaign(name, site, time_ms)
        if found is None:
            for spelling in self._spellings.get((site, name.lower()), ()):
                found = self.campaign(spelling, site, time_ms)
                if found is not None:
                    break
        return found

    def steady(self, site: str, campaign: str, time_ms: int) -> tuple[int, int]:
        """From when until before when `site` and `campaign`, in any case, find what they find at `time_ms` (ms)."""
        start, until = 0, FOREVER
        spellings = self._spellings.get((site, campaign.lower()), ())
        for periods in (self._sites.get(site), *(self._campaigns[site, spelling] for spelling in spellings)):
            if periods is not None:
                begin, end = periods.around(time_ms)
                start, until = max(start, begin), min(until, end)
        return start, until

    def find_campaign(self, name: str, time_ms: int) -> Campaign | None:
        """The campaign of that name at whichever site has it at that moment, the first by the site's name."""
        for site in self._names.get(name, ()):
            found = self.campaign(name, site, time_ms)
            if found is not None:
                return found
        return None


def _insert(names: list[str], name: str) -> None:
    """Put a name into its place among `names`, where it is not there already."""
    if name not in names:
        insort(names, name)


def _lookbacks(stated: Lookbacks) -> dict[str, int]:
    return {kind: round(days * DAY_MS) for kind, days in stated.model_dump(exclude_none=True).items()}


def _site(entry: SiteEntry) -> Site:
    return Site(
        site=entry.site,
        domains=entry.domains,
        providers_added=entry.providers.added,
        providers_removed=entry.providers.removed,
        currency=entry.currency,
        timezone=entry.timezone,
        lookbacks=DEFAULT_LOOKBACKS | _lookbacks(entry.lookbacks),
        session_ms=round(entry.session_minutes * 60_000),
        consent_default=entry.consent_default,
        duplicate_policy=dict(entry.duplicate_policy),
        channels=entry.channels,
        sources={source: category for category, sources in entry.sources.items() for source in sources},
    )


def _campaign(entry: CampaignEntry) -> Campaign:
    return Campaign(
        campaign=entry.campaign,
        site=entry.site,
        source=entry.source,
        medium=entry.medium,
        channel=entry.channel,
        partner=entry.partner,
        destinations=tuple(Destination(d.url, d.weight, d.variant) for d in entry.destinations),
        variants=entry.variants,
        lookbacks=_lookbacks(entry.lookbacks),
        valid_from=entry.valid_from,
    )
