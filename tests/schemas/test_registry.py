"""Registry records: what a site and a campaign may say (contract, section 9)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from schemas.registry import CampaignEntry, Entry, SiteEntry
from tests.reference.events import T0


def test_kind_tells_them_apart():
    """`site` and `campaign`, nothing else."""
    read = TypeAdapter(Entry).validate_python
    assert isinstance(read({"kind": "site", "site": "s"}), SiteEntry)
    assert isinstance(read({"kind": "campaign", "campaign": "c", "site": "s"}), CampaignEntry)
    with pytest.raises(ValidationError):
        read({"kind": "advertiser", "site": "s"})


def test_keys_name_kind_name_and_moment():
    """So that compaction keeps every period."""
    assert SiteEntry(site="s", valid_from=5).key == "site/s/5"
    assert CampaignEntry(campaign="c", site="s").key == "campaign/c/s/0"


@pytest.mark.parametrize(
    "moment", [T0, "2025-10-09T08:53:20Z", "2025-10-09T10:53:20+02:00", datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)]
)
def test_valid_from_is_milliseconds_or_iso(moment):
    """Or what YAML makes of an ISO time."""
    assert SiteEntry(site="s", valid_from=moment).valid_from == T0


@pytest.mark.parametrize(
    "fields",
    [
        {"colour": "red"},
        {"site": ""},
        {"site": "x" * 65},
        {"currency": "EURO"},
        {"currency": "XQQ"},
        {"lookbacks": {"click": 91}},
        {"lookbacks": {"click": -1}},
        {"lookbacks": {"view": 1}},
        {"session_minutes": -1},
        {"session_minutes": 1441},
        {"consent_default": "unknown"},
        {"duplicate_policy": "once"},
        {"duplicate_policy": {"lead": "twice"}},
        {"valid_from": "yesterday"},
        {"valid_from": "2025-10-09T08:53:20"},
        {"providers": ["paypal.com"]},
        {"timezone": "Europe/Wien"},
        {"timezone": ""},
        {"channels": [{"channel": "Influencers"}]},
        {"channels": [{"channel": "Influencers", "medium": None}]},
        {"channels": [{"channel": "Influencers", "medium": ""}]},
        {"channels": [{"channel": "Influencers", "medium": "("}]},
        {"channels": [{"channel": "Influencers", "media": "x"}]},
        {"channels": [{"channel": "", "medium": "x"}]},
        {"channels": [{"channel": "a\nb", "medium": "x"}]},
        {"channels": [{"channel": "x" * 65, "medium": "x"}]},
        {"channels": [{"channel": "paid search", "medium": "x"}]},
        {"channels": [{"channel": "Brand", "default_channel": "Paid", "medium": "x"}]},
        {"channels": [{"channel": "Brand", "medium": "x"}, {"channel": "BRAND", "medium": "y"}]},
        {"channels": [{"channel": "Forums", "category": "forums"}]},
        {"channels": [{"channel": "Forums", "category": "none"}]},
        {"channels": [{"channel": "Influencers", "medium": "x"}] * 201},
        {"sources": {"serach": ["find.example"]}},
        {"sources": {"search": ["find.example"], "social": ["Find.example"]}},
        {"sources": {"search": [""]}},
        {"sources": {"search": "find.example"}},
    ],
)
def test_a_site_that_is_refused(fields):
    """A misspelt field is an error, not ignored."""
    with pytest.raises(ValidationError):
        SiteEntry(**{"site": "s"} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"campaign": ""},
        {"channel": "Paid"},
        {"destinations": ["ftp://shop.example/"]},
        {"destinations": ["/sale"]},
        {"destinations": ["javascript:alert(1)"]},
        {"destinations": [{"url": "https://shop.example/", "weight": -1}]},
        {"lookbacks": {"click": 91}},
        {"kind": "site"},
    ],
)
def test_a_campaign_that_is_refused(fields):
    """An unknown channel, a destination that is no web address."""
    with pytest.raises(ValidationError):
        CampaignEntry(**{"campaign": "c", "site": "s"} | fields)


def test_short_forms():
    """A policy for all actions; a destination as an address alone; hosts in lower case."""
    site = SiteEntry(site="s", duplicate_policy="once_per_click", domains=("Shop.Example ",), currency="eur")
    assert (site.duplicate_policy, site.domains, site.currency) == ({"*": "once_per_click"}, ("shop.example",), "EUR")
    campaign = CampaignEntry(campaign="c", site="s", destinations=["https://shop.example/"])
    assert [(found.url, found.weight, found.variant) for found in campaign.destinations] == [
        ("https://shop.example/", 1, "")
    ]


def test_lookbacks_of_nothing_and_of_90_days_are_allowed():
    """0 switches a kind off."""
    assert SiteEntry(site="s", lookbacks={"click": 90, "impression": 0}).lookbacks.impression == 0


def test_channels_and_sources_of_a_site_s_own():
    """A shipped name or one of its own; a shipped category, or one that a rule asks for; sources in lower case."""
    site = SiteEntry(
        site="s",
        channels=[
            {"channel": "Forums", "category": "forums"},
            {"channel": "Paid Search", "source": "Find", "default_channel": "Paid Other"},
        ],
        sources={"forums": ["Forum.example "], "none": ["news.google.com"]},
    )
    assert [rule.channel for rule in site.channels] == ["Forums", "Paid Search"]
    assert site.sources == {"forums": ("forum.example",), "none": ("news.google.com",)}
    assert SiteEntry.model_validate_json(site.model_dump_json()) == site
