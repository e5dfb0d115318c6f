"""Channels: where a touch came from, by what its fields, its address, the registry and its referrer state.

Rule: source, medium and campaign are EACH the first stated of explicit field, UTM parameter, registry (of the campaign
named), click id, referrer (contract, section 3). Values keep their own case and are matched in lower case. Where
nothing at all is stated the touch is Direct; beside other statements a missing value is ''. The channel that the
registry gives a campaign beats the rules; a site's own rules (`streams.core.own_channels`) go before the shipped ones,
which are data (`streams.core.data`).

Where it stands: validated touch -> here -> the touch's record, and the journey (`internal`, `stated`, `quiet`,
`evidence`, `hw_cid` are what candidate rule 2 asks). Pure: the dictionaries only remember results, and are bounded.

Decisions where the contract is silent:
- Any `utm_...` parameter is a statement: a touch with `utm_id` or `utm_content` alone is not Direct, but has no source
  and medium, so that it is Unassigned. The same goes for a click id of ours that can't be read.
- A campaign is registered whatever the case of its letters ("matched in lower case"), and then has its registered
  name, so that it is one campaign in every report.
- An own or a provider's referrer states nothing, on clicks and impressions too; an unreadable one is as good as none.
- A category is found by the whole source, else, where the source is a host, by its longest listed ending.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from schemas.reasons import CHANNELS
from streams.core.addresses import (
    NOTHING,
    PACKAGES,
    app_name,
    app_of,
    decoded,
    endings,
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
from streams.core.own_channels import OwnChannels

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


MAX_TEXT: Final = 256
"""Of a longer value only so much counts: what explicit fields may have (`schemas.events`), so that records fit."""
_LONGEST_REMEMBERED = 512
_MEDIA = {"search": "organic", "ai": "ai-assistant"}
"""Category of a referrer -> the medium that it states; any other host's is `referral`."""
_COUNTRY = re.compile(r"(?:com?\.)?[a-z]{2}|cat")


class _Own:
    """What a site has of its own - hosts, providers, channels - prepared once for each version of its entry."""

    __slots__ = ("channel_names", "channels", "hosts", "providers", "registrables", "site")

    def __init__(self, site: Site) -> None:
        self.site = site
        named = host_of(site.site)
        self.registrables = frozenset({registrable(named)} if named else ())
        self.hosts = frozenset(filter(None, map(plain_host, site.domains)))
        self.providers = {plain_host(host): True for host in site.providers_added}
        self.providers.update({plain_host(host): False for host in site.providers_removed})
        self.channels = OwnChannels(site.channels, site.sources) if site.channels or site.sources else None
        self.channel_names = {name.casefold(): name for name in (*CHANNELS, *(rule.channel for rule in site.channels))}

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
        return app_name(origin) in self.hosts or any(ending in self.hosts for ending in endings(origin))

    def _provider(self, origin: str) -> bool:
        for ending in endings(origin):
            changed = self.providers.get(ending)
            if changed is not None or ending in PROVIDERS:
                return changed is not False
        return False


_judgements: Memo[tuple[_Own, str, str], bool] = Memo(10_000)


def _listed(host: str) -> Listed | None:
    """What the longest listed ending of a host is listed as; a brand's country domain counts as its .com."""
    for ending in endings(host):
        entry = LISTED.get(ending)
        if entry is not None:
            return entry
        label, _, rest = ending.partition(".")
        if label in COUNTRY_DOMAINS and _COUNTRY.fullmatch(rest):
            return LISTED.get(f"{label}.com")
    return None


def category_of(source: str, own: OwnChannels | None = None) -> str:
    """The category of a source in any case: `search`, `social`, `video`, `shopping`, `ai`, a site's `own` or ''."""
    source = source.lower()
    category = own.category_of(source) if own is not None else None
    if category is None:
        category = NAMES.get(source, "")
        if not category and "." in source and not source.startswith(PACKAGES):
            entry = _listed(host_of(source))
            category = entry.category if entry is not None else ""
    return "" if category == "none" else category


_channels: Memo[tuple[str, str, str], str] = Memo(20_000)


def channel_of(source: str, medium: str, campaign: str) -> str:
    """The channel of a source, medium and campaign in any case, by the shipped rules alone (GA4 help 9756891)."""
    key = (source, medium, campaign)
    channel = _channels.get(key)
    if channel is None:
        channel = _channels.keep(key, _by_shipped_rules(category_of(source), source, medium, campaign))
    return channel


def _by_shipped_rules(category: str, source: str, medium: str, campaign: str) -> str:
    return RULES.channel(category, source.lower(), medium.lower(), campaign.lower())


def _by_own_rules(own: OwnChannels, values: tuple[str, str, str, str, str]) -> str:
    """The channel at a site with rules or sources of its own; `values` as in `own_channels.FIELDS`."""
    category = category_of(values[0], own)
    default_channel = _by_shipped_rules(category, *values[:3])
    return own.channel_of(category, default_channel, values) or default_channel


_origins: Memo[str, str] = Memo(10_000)


def _origin_of(referrer: str) -> str:
    """The host of a referrer or the host that an app stands for; scheme and name of an unknown app.

    Some senders leave the scheme of an app out, so that its name looks like a host. '' where the referrer says nothing.
    """
    origin = _origins.get(referrer)
    if origin is None:
        origin = app_of(referrer) or host_of(referrer)
        origin = APPS.get(origin, APPS.get(app_name(origin), origin))
        if len(referrer) <= _LONGEST_REMEMBERED:
            _origins.keep(referrer, origin)
    return origin


_statements: Memo[str, tuple[str, str]] = Memo(10_000)


def _stated_by(origin: str, own: OwnChannels | None) -> tuple[str, str]:
    """Source and medium that a referrer from `origin` states."""
    entry = own.listed(origin) if own is not None else None
    if entry is not None:
        return _statement(origin, entry)
    statement = _statements.get(origin)
    if statement is None:
        statement = _statements.keep(origin, _statement(origin, _listed(origin)))
    return statement


def _statement(origin: str, entry: Listed | None) -> tuple[str, str]:
    source = app_name(origin)
    if source.isdecimal():  # an app's number says nothing alone
        source = origin
    elif source.startswith("www.") and source.count(".") > 1:
        source = source[4:]
    if entry is not None and entry.category in _MEDIA:
        return entry.source or source, _MEDIA[entry.category]
    return source, "referral"


_sites: Memo[int, _Own] = Memo(4_000)
_results: Memo[tuple[Any, ...], tuple[Classified, str, Campaign | None, tuple[Any, ...]]] = Memo(16_000)
_new = tuple.__new__


def classify(touch: Mapping[str, Any], registry: Registry) -> Classified:
    """Where a validated touch came from. Never raises on any text.

    `touch` has a key only where it states something; `type`, `site` and `time` (ms since the epoch) are always there.
    """
    get = touch.get
    site, time = touch["site"], touch["time"]
    registered = registry.site(site, time)
    own = _sites.get(id(registered))
    if own is None or own.site is not registered:
        own = _own_of(registered)
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
    key = (own, query.shape, origin, page, landing, claimed, explicit)
    remembered = _results.get(key)
    if remembered is not None:
        result, named, entry, shared = remembered
        if named and registry.campaign_in_any_case(named, site, time) is not entry:
            remembered = None
    if remembered is None:
        fields = _first_stated(query.shape, claimed, *map(_explicit, explicit))
        entry = registry.campaign_in_any_case(fields.campaign, site, time) if fields.campaign else None
        quiet = not origin or own.passes_over(page, origin)
        result = _resolved(fields, entry, query, origin, own.channels, landing=landing, quiet=quiet)
        shared = result[:9]
        _results.keep(key, (result, fields.campaign, entry, shared))
    if query.unique:
        return _new(Classified, (*shared, query.evidence, query.hw_cid))
    return result


def classify_statement(said: Mapping[str, Any], site: str, time: int, registry: Registry) -> dict[str, str]:
    """Channel, source, medium and campaign of a statement of cost about a period that begins at `time` (ms).

    Each is the first of what is stated and what the registry says of the campaign named; the channel else that of the
    rules, where source and medium are both known. With less the campaign's traffic knows better than the rules: ''.
    """
    get = said.get
    campaign, source, medium, channel = get("campaign", ""), get("source", ""), get("medium", ""), get("channel", "")
    own = _own_of(registry.site(site, time))
    entry = registry.campaign_in_any_case(campaign, site, time) if campaign else None
    if channel:
        channel = own.channel_names.get(channel.casefold(), channel)
    if entry is not None:
        campaign = entry.campaign
        source = source or entry.source
        medium = medium or entry.medium
        channel = channel or entry.channel
    if not channel and source and medium:
        if own.channels is not None:
            channel = _by_own_rules(own.channels, (source, medium, campaign, "", ""))
        else:
            channel = channel_of(source, medium, campaign)
    return {"channel": channel, "source": source, "medium": medium, "campaign": campaign}


def _own_of(site: Site) -> _Own:
    own = _sites.get(id(site))
    if own is None or own.site is not site:
        own = _sites.keep(id(site), _Own(site))
    return own


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
        source or _short(utm.get("utm_source", "")),
        medium or _short(utm.get("utm_medium", "")),
        campaign or _short(utm.get("utm_campaign", "") or claimed),
        content or _short(utm.get("utm_content", "")),
        term or _short(utm.get("utm_term", "")),
        bool(source or medium or campaign),
    )


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT].rstrip()


def _resolved(
    fields: _Fields,
    entry: Campaign | None,
    query: Query,
    origin: str,
    own: OwnChannels | None,
    *,
    landing: bool,
    quiet: bool,
) -> Classified:
    source, medium, campaign, content, term, explicit = fields
    channel = ""
    if entry is not None:
        campaign = entry.campaign
        source = source or entry.source
        medium = medium or entry.medium
        channel = entry.channel
    speaking = query.shape.speaking
    if speaking is not None:
        source = source or speaking.source
        medium = medium or speaking.medium
    if not quiet:
        by_referrer = _stated_by(origin, own)
        source = source or by_referrer[0]
        medium = medium or by_referrer[1]
    if not (source or medium or campaign or query.evidence):
        source, medium = DIRECT_SOURCE, DIRECT_MEDIUM
    if not channel and own is not None:
        channel = _by_own_rules(own, (source, medium, campaign, content, term))
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
