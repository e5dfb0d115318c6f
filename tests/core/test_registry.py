"""The registry in the core: what was in force at a moment (contract, section 9)."""

from __future__ import annotations

import pytest

from schemas.registry import CampaignEntry, SiteEntry
from streams.core.registry import DAY_MS, DEFAULT_LOOKBACKS, Registry, Site


def test_a_name_that_is_not_registered_has_the_defaults():
    """Clicks and landings 30 d, impressions 1 d, 30 min, USD, UTC, granted, once per order; no campaign."""
    site = Registry().site("s", 0)
    assert site == Site("s")
    assert site.lookbacks == {"click": 30 * DAY_MS, "landing": 30 * DAY_MS, "impression": DAY_MS} == DEFAULT_LOOKBACKS
    assert (site.session_ms, site.currency, site.timezone, site.consent_default) == (1_800_000, "USD", "UTC", "granted")
    assert site.policy("purchase") == "once_per_order"
    assert Registry().campaign("c", "s", 0) is None


@pytest.mark.parametrize("order", [1, -1])
def test_the_record_in_force_is_the_latest_that_began(order):
    """From its `valid_from` on, in whatever order they are put; before the first one the defaults."""
    entries = [SiteEntry(site="s", currency="EUR", valid_from=10), SiteEntry(site="s", currency="JPY", valid_from=20)]
    registry = Registry(entries[::order])
    assert [registry.site("s", time).currency for time in (9, 10, 19, 20, 10**13)] == [
        "USD",
        "EUR",
        "EUR",
        "JPY",
        "JPY",
    ]
    campaigns = [CampaignEntry(campaign="c", site="s", source=str(at), valid_from=at) for at in (10, 20)]
    registry = Registry(campaigns[::order])
    assert [found and found.source for found in (registry.campaign("c", "s", time) for time in (9, 10, 25))] == [
        None,
        "10",
        "20",
    ]


def test_a_record_of_the_same_name_and_moment_replaces_the_earlier_one():
    """As compaction does."""
    registry = Registry([SiteEntry(site="s", currency="EUR"), SiteEntry(site="s", currency="JPY")])
    assert registry.site("s", 0).currency == "JPY"


def test_a_campaign_is_a_site_s_own():
    """Only a redirect, which names no site, asks across sites: the first by the site's name, as of that moment."""
    registry = Registry(
        [
            CampaignEntry(campaign="c", site="b", source="b"),
            CampaignEntry(campaign="c", site="a", source="a", valid_from=10),
        ]
    )
    assert registry.campaign("c", "other", 0) is None
    assert [found and found.site for found in (registry.find_campaign("c", time) for time in (0, 10))] == ["b", "a"]
    assert registry.find_campaign("nothing", 0) is None


def test_policies_are_per_action():
    """`*` stands for all others; a single word stands for all."""
    site = Registry([SiteEntry(site="s", duplicate_policy={"lead": "once_per_click", "*": "once_per_visitor"})]).site(
        "s", 0
    )
    assert (site.policy("lead"), site.policy("signup")) == ("once_per_click", "once_per_visitor")
    assert (
        Registry([SiteEntry(site="s", duplicate_policy="once_per_click")]).site("s", 0).policy("x") == "once_per_click"
    )


def test_lookbacks_and_sessions_come_in_milliseconds():
    """Days and minutes, fractions too; what a campaign does not state is the site's."""
    site = Registry([SiteEntry(site="s", lookbacks={"click": 0.5}, session_minutes=0.5)]).site("s", 0)
    assert (site.lookbacks["click"], site.lookbacks["landing"], site.session_ms) == (DAY_MS // 2, 30 * DAY_MS, 30_000)
    campaign = Registry([CampaignEntry(campaign="c", site="s", lookbacks={"click": 90})]).campaign("c", "s", 0)
    assert campaign is not None
    assert campaign.lookbacks == {"click": 90 * DAY_MS}
