"""Channels: the test vectors, the rules as data, and what holds for any text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.registry import ChannelRule
from streams.core.channels import Classified, category_of, channel_of, classify
from streams.core.data import APPS, CLICK_IDS, LISTED, NAMES, PROVIDERS, RULES, compile_rules
from streams.core.ids import mint_click_id

if TYPE_CHECKING:
    from streams.core.registry import Registry

VECTORS: list[dict[str, Any]] = yaml.load(
    (Path(__file__).parent / "vectors" / "channels.yaml").read_text(encoding="utf-8"),
    Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),
)
SITE = "shop.example"
TIME = 1_790_000_000_000
KEYS = [("k", b"secret")]
CONTRACT_CHANNELS = (
    "Direct", "Cross-network", "Paid Shopping", "Paid Search", "Paid Social", "Paid Video", "Display", "Paid Other",
    "Organic Shopping", "Organic Social", "Organic Video", "Organic Search", "AI Assistant", "Referral", "Email",
    "Affiliates", "Audio", "SMS", "Mobile Push Notifications", "Unassigned",
)  # fmt: skip


@dataclass(frozen=True)
class FakeSite:
    """A site as the classifier sees it."""

    site: str
    domains: tuple[str, ...] = ()
    providers_added: tuple[str, ...] = ()
    providers_removed: tuple[str, ...] = ()
    channels: tuple[ChannelRule, ...] = ()
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeCampaign:
    """A registered campaign as the classifier sees it."""

    campaign: str
    source: str = ""
    medium: str = ""
    channel: str = ""


@dataclass
class FakeRegistry:
    """One site, and campaigns by name; of two versions of a campaign the later holds from its time on."""

    entry: FakeSite = FakeSite(SITE)
    campaigns: dict[str, FakeCampaign] = field(default_factory=dict)
    later: tuple[int, dict[str, FakeCampaign]] = (0, {})

    def site(self, site: str, time_ms: int) -> FakeSite:
        """The entry, whatever site is asked for."""
        return self.entry

    def campaign(self, name: str, site: str, time_ms: int) -> FakeCampaign | None:
        """The campaign of that name at that time."""
        since, campaigns = self.later
        return (campaigns if since and time_ms >= since else self.campaigns).get(name)

    def campaign_in_any_case(self, name: str, site: str, time_ms: int) -> FakeCampaign | None:
        """As the registry has it."""
        spellings = sorted(spelling for spelling in self.campaigns if spelling.lower() == name.lower())
        return next(filter(None, (self.campaign(n, site, time_ms) for n in (name, *spellings))), None)


def registry_of(vector: dict[str, Any]) -> Registry:
    """The registry of a vector."""
    stated = vector.get("site", {})
    site = FakeSite(
        SITE,
        **{name: tuple(stated.get(name, ())) for name in ("domains", "providers_added", "providers_removed")},
        channels=tuple(ChannelRule(**rule) for rule in stated.get("channels", ())),
        sources=stated.get("sources", {}),
    )
    campaigns = {name: FakeCampaign(name, **fields) for name, fields in vector.get("campaigns", {}).items()}
    return cast("Registry", FakeRegistry(site, campaigns))


def with_click_ids(value: Any) -> Any:
    """A vector's value with ``{hw:CAMPAIGN}`` replaced by a click id of ours."""
    if not isinstance(value, str):
        return value
    return re.sub(r"\{hw:(\w+)\}", lambda match: mint_click_id("v1", match[1], b"12345678", KEYS), value)


def result_of(touch: dict[str, Any], registry: Registry | None = None) -> Classified:
    """What a touch comes to, with a type, a site and a time where it states none."""
    return classify({"type": "landing", "site": SITE, "time": TIME, **touch}, registry or EMPTY)


EMPTY = cast("Registry", FakeRegistry())


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    """Each vector comes out as expected, the first time and when it is remembered."""
    touch = {name: with_click_ids(value) for name, value in vector["touch"].items()}
    expected = {name: with_click_ids(value) for name, value in vector["expect"].items()}
    registry = registry_of(vector)
    for _ in range(2):
        result = result_of(touch, registry)._asdict()
        assert {name: result[name] for name in expected} == expected, vector["reason"]


def test_vectors_are_many_and_have_reasons() -> None:
    """At least 250, each with a name of its own, an expectation and its source or reason."""
    assert len(VECTORS) >= 250
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS)
    assert all(vector["reason"] and vector["expect"] for vector in VECTORS)


def test_vectors_reach_every_channel_and_click_id() -> None:
    """No channel and no click-id parameter is without a vector."""
    assert {vector["expect"].get("channel") for vector in VECTORS} >= set(CONTRACT_CHANNELS)
    queries = " ".join(vector["touch"].get("url", "").lower() for vector in VECTORS)
    assert [name for name in CLICK_IDS if f"{name}=" not in queries] == []


def test_channels_are_the_contracts() -> None:
    """The rules name the contract's channels, in its order."""
    assert RULES.names() == CONTRACT_CHANNELS


def test_rules_of_ones_own() -> None:
    """Rules are data: another document with other names compiles, and its first match wins."""
    rules = compile_rules(
        {
            "version": 2,
            "otherwise": "Rest",
            "rules": [
                {"channel": "Influencers", "any": [{"medium": "influencer"}, {"campaign": "inf_.*"}]},
                {"channel": "Search", "any": [{"category": "search"}]},
            ],
        }
    )
    assert rules.channel("search", "google", "influencer", "") == "Influencers"
    assert rules.channel("", "x", "y", "inf_1") == "Influencers"
    assert rules.channel("search", "google", "cpc", "") == "Search"
    assert rules.channel("", "x", "y", "") == "Rest"


def test_googles_list_holds_by_name() -> None:
    """Every source of Google's list has its category, in any case; only AI assistants of ours go before it."""
    path = Path(str(compile_rules.__code__.co_filename)).with_name("ga4_source_categories.csv")
    rows = [line.rsplit(",", 1) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    assert len(rows) == 819
    for source, category in rows:
        assert category_of(source) == category_of(source.upper()) == category.removeprefix("SOURCE_CATEGORY_").lower()


def test_data_is_in_one_form() -> None:
    """Hosts and names are in lower case and without blanks around, and every app stands for a known or plain host."""
    for text in (*LISTED, *NAMES, *PROVIDERS, *APPS, *CLICK_IDS):
        assert text == text.lower().strip()
    assert all("." in host for host in (*LISTED, *PROVIDERS, *filter(None, APPS.values())))


def test_registry_is_asked_at_the_touch_time() -> None:
    """A campaign's later version holds for later touches only, though all else is equal."""
    registry = cast(
        "Registry",
        FakeRegistry(
            campaigns={"c": FakeCampaign("c", "google", "cpc")},
            later=(TIME + 10, {"c": FakeCampaign("c", "news", "email")}),
        ),
    )
    touch = {"type": "click", "campaign": "c"}
    assert [result_of({**touch, "time": TIME + late}, registry).channel for late in (0, 10, 0, 9, 11)] == [
        "Paid Search", "Email", "Paid Search", "Paid Search", "Email",
    ]  # fmt: skip


def test_a_changed_site_is_seen() -> None:
    """Own domains are those of the registry entry that holds for the touch."""
    touch = {"url": "https://shop.example/", "referrer": "https://pay.bank.example/"}
    with_bank = cast("Registry", FakeRegistry(FakeSite(SITE, providers_added=("bank.example",))))
    assert [result_of(touch, registry).internal for registry in (EMPTY, with_bank, EMPTY)] == [False, True, False]


def test_click_ids_differ_while_all_else_is_shared() -> None:
    """Addresses that differ in their click id alone share everything but the evidence."""
    results = [result_of({"url": f"https://shop.example/p?utm_source=google&gclid={n}"}) for n in "abc"]
    assert [result.evidence for result in results] == [f"utm_source=google&gclid={n}" for n in "abc"]
    assert len({result[:9] for result in results}) == 1
    ours = [mint_click_id("v1", name, b"12345678", KEYS) for name in ("one", "two")]
    results = [result_of({"url": f"https://shop.example/p?hw_cid={click_id}"}) for click_id in ours]
    assert [(result.campaign, result.hw_cid) for result in results] == [("one", ours[0]), ("two", ours[1])]


texts = st.text(max_size=40)
words = st.sampled_from(
    ["", "google", "cpc", "email", "facebook", "(direct)", "(none)", "shop", "%20", "50%", "%E9", "a+b", "Ünï", " x "]
)
values = texts | words
hosts = st.sampled_from(
    ["shop.example", "www.google.com", "l.facebook.com", "chatgpt.com", "bücher.example", "192.0.2.1", "paypal.com"]
)
names = st.sampled_from(
    [*CLICK_IDS, "utm_source", "utm_medium", "utm_campaign", "UTM_TERM", "hw_cid", "page", "amp;utm_id"]
)
queries = st.lists(st.tuples(names, values), max_size=5).map(lambda pairs: "&".join(f"{n}={v}" for n, v in pairs))
addresses = texts | st.builds(
    lambda scheme, host, query, mark: f"{scheme}{host}/p{mark}{query}",
    st.sampled_from(["https://", "http://", "//", "", "HTTPS://u:p@", "android-app://"]),
    hosts,
    queries,
    st.sampled_from(["?", "#", "?x#", "#/r?", ""]),
)
touches = st.fixed_dictionaries(
    {"type": st.sampled_from(["landing", "click", "impression"])},
    optional={
        "url": addresses,
        "referrer": addresses,
        **dict.fromkeys(("source", "medium", "campaign", "content", "term"), values),
    },
)


@given(touches)
def test_never_raises_and_is_well_formed(touch: dict[str, Any]) -> None:
    """Any text at all: a channel of the rules, texts without blanks around, and the same when asked again."""
    result = result_of(touch)
    assert result == result_of(dict(touch))
    assert result.channel in CONTRACT_CHANNELS
    for value in (result.source, result.medium, result.campaign, result.content, result.term):
        assert value == value.strip()
    assert not result.internal or (result.quiet and touch["type"] == "landing" and not result.evidence)
    assert bool(result.evidence) <= result.stated


@given(touches)
def test_direct_only_if_nothing_is_stated(touch: dict[str, Any]) -> None:
    """Without address evidence, explicit statement and a referrer that speaks; else only where it is so stated."""
    result = result_of(touch)
    nothing = not result.stated and result.quiet
    if nothing:
        assert result[:4] == ("Direct", "(direct)", "(none)", "")
    elif (result.source, result.medium) == ("(direct)", "(none)"):
        assert result.stated


@given(hosts, hosts, queries)
def test_case_of_hosts_does_not_matter(page: str, referrer: str, query: str) -> None:
    """Hosts in upper case are the same hosts."""
    plain = result_of({"url": f"https://{page}/p?{query}", "referrer": f"https://{referrer}/"})
    upper = result_of({"url": f"HTTPS://{page.upper()}/p?{query}", "referrer": f"https://{referrer.upper()}/"})
    assert plain == upper


@given(values, values, values)
def test_case_of_values_does_not_matter(source: str, medium: str, campaign: str) -> None:
    """Source, medium and campaign are matched in lower case."""
    assert channel_of(source, medium, campaign) == channel_of(source.lower(), medium.lower(), campaign.lower())


@given(addresses, st.lists(addresses, max_size=5))
def test_order_of_touches_does_not_matter(url: str, others: list[str]) -> None:
    """What was classified before leaves no trace."""
    before = result_of({"url": url})
    for other in others:
        result_of({"url": other, "referrer": url})
    assert result_of({"url": url}) == before
