"""Channels: where a touch came from, by what its fields, its address, the registry and its referrer state.

Rule: source, medium and campaign are EACH the first stated of explicit field, UTM parameter, registry (of the campaign
named), click id, referrer (contract, section 3). Values keep their own case and are matched in lower case. Where
nothing at all is stated the touch is Direct; beside other statements a missing value is ''. The registry's channel
beats the rules, which are data (`streams.core.data`).

Where it stands: validated touch -> here -> the touch's record, and the journey (`internal`, `stated`, `quiet`,
`evidence`, `hw_cid` are what candidate rule 2 asks). Pure: the dictionaries only remember results, and are bounded.

Decisions where the contract is silent:
- Any `utm_...` parameter is a statement: a touch with `utm_id` or `utm_content` alone is not Direct, but has no source
  and medium, so that it is Unassigned. The same goes for a click id of ours that can't be read.
- An own or a provider's referrer states nothing, on clicks and impressions too; an unreadable one is as good as none.
- A category is found by the whole source, else, where the source is a host, by its longest listed ending.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from streams.core.addresses import (
    APP_SCHEME,
    NOTHING,
    app_of,
    decoded,
    host_of,
    plain_host,
    read_query,
    registrable,
)
from streams.core.data import (
    APPS,
    COUNTRY_DOMAINS,
    DIRECT_MEDIUM,
    DIRECT_SOURCE,
    LISTED,
    NAMES,
    PROVIDERS,
    RULES,
)
from streams.core.ids import read_click_id
from streams.core.memo import Memo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.core.addresses import Query, Shape
    from streams.core.data import Listed
    from streams.core.registry import Campaign, Registry, Site


class Classified(NamedTuple):
    """What a touch's statements come to; every text is '' where nothing states it."""

    channel: str
    source: str
    medium: str
    campaign: str
    content: str
    """Explicit, else `utm_content`."""
    term: str
    """Explicit, else `utm_term`."""
    internal: bool
    """A landing with an own or a provider's referrer, whose address carries no UTM parameter or click id (rule 2)."""
    stated: bool
    """A UTM parameter, a click id (ours too) or an explicit source, medium or campaign.

    So it is no continuation by rule 2's first arm.
    """
    quiet: bool
    """The referrer is empty or unreadable, the site's own, or a provider's."""
    evidence: str
    """UTM parameters and click ids of the address, names and values, sorted: equal on a reload."""
    hw_cid: str
    """Our own click id in the address, as it stands there."""


_LONGEST_REMEMBERED = 512
_PACKAGES = ("com.", "org.", "net.")
_COUNTRY = re.compile(r"(?:com?\.)?[a-z]{2}|cat")


class _SiteHosts:
    """A site's own hosts and its changes to the providers, prepared once for each version of its registry entry."""

    __slots__ = ("hosts", "providers", "registrables", "site")

    def __init__(self, site: Site) -> None:
        self.site = site
        named = host_of(site.site)
        self.registrables = frozenset({registrable(named)} if named else ())
        self.hosts = frozenset(filter(None, map(plain_host, site.domains)))
        self.providers = {plain_host(host): True for host in site.providers_added}
        self.providers.update({plain_host(host): False for host in site.providers_removed})

    def passes_over(self, page: str, origin: str) -> bool:
        """Whether a referrer from `origin` is the site's own (on a page of host `page`) or a provider's."""
        key = (self, page, origin)
        judgement = _judgements.get(key)
        if judgement is None:
            domain = registrable(origin)
            own = domain == registrable(page) or domain in self.registrables or self._listed(origin)
            judgement = _judgements.keep(key, own or self._provider(origin))
        return judgement

    def _listed(self, origin: str) -> bool:
        return origin.removeprefix(APP_SCHEME) in self.hosts or any(ending in self.hosts for ending in _endings(origin))

    def _provider(self, origin: str) -> bool:
        for ending in _endings(origin):
            changed = self.providers.get(ending)
            if changed is not None or ending in PROVIDERS:
                return changed is not False
        return False


_judgements: Memo[tuple[_SiteHosts, str, str], bool] = Memo(10_000)


def _endings(host: str) -> list[str]:
    """A host and all hosts above it, longest first; an app or an IPv6 address has nothing above it."""
    if ":" in host:
        return [host]
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


def _listed(host: str) -> Listed | None:
    """What the longest listed ending of a host is listed as; a brand's country domain counts as its .com."""
    for ending in _endings(host):
        entry = LISTED.get(ending)
        if entry is not None:
            return entry
        label, _, rest = ending.partition(".")
        if label in COUNTRY_DOMAINS and _COUNTRY.fullmatch(rest):
            return LISTED.get(f"{label}.com")
    return None


def category_of(source: str) -> str:
    """The category of a source in any case: `search`, `social`, `video`, `shopping`, `ai` or ''."""
    source = source.lower()
    category = NAMES.get(source, "")
    if not category and "." in source and not source.startswith(_PACKAGES):
        entry = _listed(host_of(source))
        category = entry.category if entry is not None else ""
    return "" if category == "none" else category


_channels: Memo[tuple[str, str, str], str] = Memo(20_000)


def channel_of(source: str, medium: str, campaign: str) -> str:
    """The channel of a source, medium and campaign in any case, by the rules alone (GA4 help 9756891)."""
    key = (source, medium, campaign)
    channel = _channels.get(key)
    if channel is None:
        channel = RULES.channel(category_of(source), source.lower(), medium.lower(), campaign.lower())
        _channels.keep(key, channel)
    return channel


_origins: Memo[str, str] = Memo(10_000)


def _origin_of(referrer: str) -> str:
    """The host of a referrer or the host that an app stands for; `android-app://PACKAGE` for an unknown app.

    '' where the referrer says nothing.
    """
    origin = _origins.get(referrer)
    if origin is None:
        package = app_of(referrer)
        origin = APPS.get(package, APP_SCHEME + package) if package else host_of(referrer)
        if len(referrer) <= _LONGEST_REMEMBERED:
            _origins.keep(referrer, origin)
    return origin


_statements: Memo[str, tuple[str, str]] = Memo(10_000)


def _stated_by(origin: str) -> tuple[str, str]:
    """Source and medium that a referrer from `origin` states."""
    statement = _statements.get(origin)
    if statement is None:
        entry = _listed(origin)
        source = origin.removeprefix(APP_SCHEME)
        if source.startswith("www.") and source.count(".") > 1:
            source = source[4:]
        if entry is not None and entry.category == "search":
            statement = (entry.source or source, "organic")
        elif entry is not None and entry.category == "ai":
            statement = (entry.source or source, "ai-assistant")
        else:
            statement = (source, "referral")
        _statements.keep(origin, statement)
    return statement


_sites: Memo[int, _SiteHosts] = Memo(4_000)
_results: Memo[tuple[Any, ...], tuple[Classified, Campaign | None, tuple[Any, ...]]] = Memo(16_000)
_new = tuple.__new__


def classify(touch: Mapping[str, Any], registry: Registry) -> Classified:
    """Where a validated touch came from. Never raises on any text.

    `touch` has a key only where it states something; `type`, `site` and `time` (ms since the epoch) are always there.
    """
    get = touch.get
    site, time = touch["site"], touch["time"]
    registered = registry.site(site, time)
    hosts = _sites.get(id(registered))
    if hosts is None or hosts.site is not registered:
        hosts = _sites.keep(id(registered), _SiteHosts(registered))
    url: str | None = get("url")
    query = read_query(url) if url else NOTHING
    referrer: str | None = get("referrer")
    origin = page = ""
    if referrer:
        origin = _origin_of(referrer)
        if origin and url:
            page = host_of(url)
    landing = touch["type"] == "landing"
    claimed = _claimed_campaign(query.hw_cid) if query.hw_cid else ""
    explicit = (get("source"), get("medium"), get("campaign"), get("content"), get("term"))
    # All that the result depends on, but the registry's campaign, which is compared, and the values of click ids,
    # which are put in below.
    key = (hosts, query.shape, origin, page, landing, claimed, explicit)
    remembered = _results.get(key)
    if remembered is not None:
        result, entry, shared = remembered
        if result.campaign and registry.campaign(result.campaign, site, time) is not entry:
            remembered = None
    if remembered is None:
        fields = _first_stated(query.shape, claimed, *map(_explicit, explicit))
        entry = registry.campaign(fields.campaign, site, time) if fields.campaign else None
        quiet = not origin or hosts.passes_over(page, origin)
        result = _resolved(fields, entry, query, origin, landing=landing, quiet=quiet)
        shared = result[:9]
        _results.keep(key, (result, entry, shared))
    if query.unique:
        return _new(Classified, (*shared, query.evidence, query.hw_cid))
    return result


class _Fields(NamedTuple):
    source: str
    medium: str
    campaign: str
    content: str
    term: str
    explicit: bool


def _first_stated(
    shape: Shape, claimed: str, source: str, medium: str, campaign: str, content: str, term: str
) -> _Fields:
    """What explicit fields and UTM parameters state, and after them the campaign that a click id of ours claims."""
    utm = shape.utm
    return _Fields(
        source or utm.get("utm_source", ""),
        medium or utm.get("utm_medium", ""),
        campaign or utm.get("utm_campaign", "") or claimed,
        content or utm.get("utm_content", ""),
        term or utm.get("utm_term", ""),
        bool(source or medium or campaign),
    )


def _resolved(
    fields: _Fields, entry: Campaign | None, query: Query, origin: str, *, landing: bool, quiet: bool
) -> Classified:
    source, medium, campaign, content, term, explicit = fields
    channel = ""
    if entry is not None:
        source = source or entry.source
        medium = medium or entry.medium
        channel = entry.channel
    speaking = query.shape.speaking
    if speaking is not None:
        source = source or speaking.source
        medium = medium or speaking.medium
    if not quiet:
        by_referrer = _stated_by(origin)
        source = source or by_referrer[0]
        medium = medium or by_referrer[1]
    if not (source or medium or campaign or query.evidence):
        source, medium = DIRECT_SOURCE, DIRECT_MEDIUM
    return Classified(
        channel or channel_of(source, medium, campaign),
        source,
        medium,
        campaign,
        content,
        term,
        internal=landing and bool(origin) and quiet and not query.evidence,
        stated=explicit or bool(query.evidence),
        quiet=quiet,
        evidence=query.evidence,
        hw_cid=query.hw_cid,
    )


def _claimed_campaign(hw_cid: str) -> str:
    click = read_click_id(hw_cid)
    return click.campaign.strip() if click is not None else ""


def _explicit(value: str | None) -> str:
    return decoded(value) if value else ""
