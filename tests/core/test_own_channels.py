"""A site's own channels, from its registry entry to credits and panes (vectors say what single rules come to)."""

from __future__ import annotations

import itertools

import pytest

from schemas.registry import CampaignEntry, SiteEntry
from streams.core.channels import classify
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.events import DAY, T0
from tests.reference.shop import SITE, click, landing, only, purchase, run

INFLUENCERS = ({"channel": "Influencers", "medium": "influencer"},)
OTHER = "other.example"


def channel(registry, time=T0, site=SITE, **fields):
    """The channel of a click."""
    return classify(click("a", time, site=site, **fields), registry).channel


def test_rules_are_a_site_s_own():
    """What is remembered for one site says nothing of another, whichever is asked first."""
    entries = [
        SiteEntry(site=SITE, channels=INFLUENCERS, sources={"social": ["forum"]}),
        SiteEntry(site=OTHER, channels=({"channel": "Creators", "medium": "influencer"},)),
    ]
    said = ({"medium": "influencer"}, {"source": "forum"})
    asked = list(itertools.product((SITE, OTHER, "third.example"), said))
    expected = {
        (SITE, "medium"): "Influencers",
        (SITE, "source"): "Paid Social",
        (OTHER, "medium"): "Creators",
        (OTHER, "source"): "Paid Other",
        ("third.example", "medium"): "Organic Search",
        ("third.example", "source"): "Paid Other",
    }
    for order in itertools.islice(itertools.permutations(asked), 0, 720, 61):
        registry = Registry(entries)
        for site, fields in (*order, *order):
            assert channel(registry, site=site, **fields) == expected[site, next(iter(fields))]


def test_rules_are_in_force_from_their_moment():
    """A touch has the channel of the rules of its own time, whenever it arrives."""
    entries = [
        SiteEntry(site=SITE, channels=INFLUENCERS, valid_from=T0 + 10),
        SiteEntry(site=SITE, channels=({"channel": "Creators", "medium": "influencer"},), valid_from=T0 + 20),
        SiteEntry(site=SITE, valid_from=T0 + 30),
    ]
    registry = Registry(entries)
    times = (30, 9, 10, 19, 20, 29, 0, 31)
    found = {at: channel(registry, T0 + at, source="anna", medium="influencer") for at in times}
    assert found == {
        0: "Unassigned", 9: "Unassigned", 10: "Influencers", 19: "Influencers",
        20: "Creators", 29: "Creators", 30: "Unassigned", 31: "Unassigned",
    }  # fmt: skip
    cluster = run(*(click(f"t{at:02}", T0 + at, source="anna", medium="influencer") for at in times), entries=entries)
    assert {record["event_id"]: record["channel"] for record in cluster.touches().values()} == {
        f"t{at:02}": name for at, name in found.items()
    }


def test_credits_and_panes_are_by_the_site_s_own_channel():
    """From the rule to the conversion's credit and the minute's figures."""
    entries = [SiteEntry(site=SITE, channels=INFLUENCERS)]
    cluster = run(click("a", medium="influencer"), purchase(time=T0 + 1), entries=entries)
    assert [touch["channel"] for touch in only(cluster)["touches"]] == ["Influencers"]
    traffic, kpis = cluster.panes()
    assert {key[2] for key in traffic} == {key[3] for key in kpis} == {"Influencers"}


def test_a_channel_named_direct_is_passed_over():
    """Whatever a site calls Direct is Direct to `last_non_direct`, and stays beside impressions."""
    entries = [SiteEntry(site=SITE, channels=({"channel": "Direct", "source": "intranet"},))]
    touches = [click("a"), landing("b", T0 + DAY, source="intranet", medium="link")]
    found = only(run(*touches, purchase(time=T0 + 2 * DAY), entries=entries))
    assert found["credits"]["last_non_direct"] == [[0, 1_000_000, 100_000_000]]
    assert found["credits"]["last_touch"] == [[1, 1_000_000, 100_000_000]]


def test_a_campaign_s_channel_beats_the_site_s_rules():
    """As it beats the shipped ones."""
    campaign = CampaignEntry(campaign="spring", site=SITE, channel="Email")
    registry = Registry([SiteEntry(site=SITE, channels=INFLUENCERS), campaign])
    assert channel(registry, medium="influencer", campaign="spring") == "Email"
    assert channel(registry, medium="influencer", campaign="autumn") == "Influencers"


@pytest.mark.parametrize("spelling", ["spring", "Spring", "SPRING"])
def test_a_campaign_is_registered_in_any_case(spelling):
    """Its lookback, partner and channel hold, and it is one campaign in credits."""
    entry = CampaignEntry(campaign="spring", site=SITE, partner="agency", channel="Email", lookbacks={"click": 60})
    touch = landing("a", url=f"https://{SITE}/?utm_campaign={spelling}")
    cluster = run(touch, click("b", campaign=spelling), purchase(time=T0 + 60 * DAY), entries=[entry])
    (shown,) = only(cluster)["touches"]
    expected = {"touch_id": "b", "campaign": "spring", "partner": "agency", "channel": "Email"}
    assert {name: shown[name] for name in expected} == expected


def test_another_spelling_registered_later_is_another_campaign_from_then_on():
    """Until then it is the one whose name differs in case alone."""
    entries = [
        CampaignEntry(campaign="spring", site=SITE, channel="Email"),
        CampaignEntry(campaign="Spring", site=SITE, channel="SMS", valid_from=T0 + 10),
    ]
    touches = [click(f"t{at:02}", T0 + at, campaign="Spring") for at in (12, 3, 10, 9)]
    cluster = Cluster(Registry(entries), chaos=False).run(touches)
    assert {record["event_id"]: (record["campaign"], record["channel"]) for record in cluster.touches().values()} == {
        "t03": ("spring", "Email"), "t09": ("spring", "Email"), "t10": ("Spring", "SMS"), "t12": ("Spring", "SMS"),
    }  # fmt: skip
