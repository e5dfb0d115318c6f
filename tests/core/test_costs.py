"""Stated ad spend (contract, section 2)."""

from __future__ import annotations

import itertools

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.registry import CampaignEntry, SiteEntry
from streams.core.costs import HOUR_MS, spread
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.events import DAY, T0
from tests.reference.shop import SITE, refusals

MIDNIGHT = T0 - T0 % DAY


def cost(event_id, amount="24", **fields):
    """A statement about a day of campaign `spring`."""
    event = {
        "type": "cost",
        "event_id": event_id,
        "site": SITE,
        "campaign": "spring",
        "cost": amount,
        "time": T0,
        "received_at": T0,
        "from": MIDNIGHT,
        "to": MIDNIGHT + DAY,
    } | fields
    return {name: value for name, value in event.items() if value is not None}


def run(*events, entries=()):
    """A cluster that has taken them one by one."""
    cluster = Cluster(Registry(entries), chaos=False, most=1)
    for event in events:
        cluster.run([event])
    return cluster


def spent(cluster):
    """Latest record by key."""
    return {output.key: record for _, record, output in cluster.outputs("spend")}


def test_a_statement_is_spread_over_its_hours_exactly():
    """Largest remainder, to the micro."""
    (record,) = spent(run(cost("a", "0.000100", impressions=50, clicks=1))).values()
    hours = record["hours"]
    assert [hour for hour, *_ in hours] == [MIDNIGHT // HOUR_MS + number for number in range(24)]
    assert [micros for _, micros, _, _ in hours] == [5] * 4 + [4] * 20
    assert sum(seen for _, _, seen, _ in hours) == 50
    assert [clicked for _, _, _, clicked in hours] == [1] + [0] * 23


@settings(deadline=None)
@given(st.integers(0, 10**12), st.integers(0, 10**7), st.integers(1, 10**7))
def test_parts_of_hours_bear_their_part(amount, start, length):
    """In proportion to what of the hour the period covers; the sum is exact."""
    parts = spread(amount, start, start + length)
    assert sum(share for _, share in parts) == amount
    for hour, share in parts:
        covered = min(start + length, (hour + 1) * HOUR_MS) - max(start, hour * HOUR_MS)
        assert covered > 0
        assert abs(share * length - amount * covered) < length


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_later_statement_replaces_the_earlier_one(order):
    """By time, then event id, in any order of arrival."""
    events = [cost("a", "1", time=T0), cost("z", "2", time=T0 + 1), cost("b", "3", time=T0 + 1)]
    (record,) = spent(run(*(events[index] for index in order))).values()
    assert (record["cost_micros"], record["event_id"]) == (2_000_000, "z")


def test_other_dimensions_or_another_period_is_another_statement():
    """Nothing replaces anything."""
    events = [cost("a"), cost("b", ad="x"), cost("c", to=MIDNIGHT + HOUR_MS), cost("d", site="other.example")]
    assert len(spent(run(*events))) == 4


def test_a_date_is_the_site_s_day():
    """In its time zone: 23 hours where the clocks go forward."""
    entries = [SiteEntry(site=SITE, timezone="Europe/Vienna", currency="EUR")]
    event = cost("a", "23", date="2025-03-30", **{"from": None, "to": None}) | {"time": 1_743_400_000_000}
    event["received_at"] = event["time"]
    (record,) = spent(run(event, entries=entries)).values()
    assert (record["from"], record["to"]) == (1_743_289_200_000, 1_743_289_200_000 + 23 * HOUR_MS)
    assert [micros for _, micros, _, _ in record["hours"]] == [1_000_000] * 23
    assert record["currency"] == "EUR"


def test_duplicates_and_collisions():
    """As everywhere: the same content is counted, other content refused."""
    cluster = run(cost("a"), cost("a", ip="::1"), cost("a", "25"))
    counts = [cluster.counts["costs", name] for name in ("accepted", "duplicate", "dead_letter")]
    assert counts == [1, 1, 1]
    assert [reason for reason, _ in refusals(cluster)] == ["id_collision"]


def test_a_statement_in_the_wrong_partition_is_moved():
    """Campaigns partition this topic."""
    cluster = Cluster(Registry(), 3, chaos=False)
    for place in range(3):
        cluster.put("costs", place, orjson.dumps(cost("a")))
    cluster.run()
    counts = [cluster.counts["costs", name] for name in ("accepted", "duplicate", "moved")]
    assert counts == [1, 2, 2]


DAY_OF = {"from": None, "to": None, "date": "2025-10-09"}
INDIA = SiteEntry(site=SITE, timezone="Asia/Kolkata")


def held(cluster):
    """Event id -> cost of the statements that hold."""
    records = spent(cluster).values()
    return {record["event_id"]: record["cost_micros"] / 1e6 for record in records if not record["replaced"]}


def test_a_time_zone_that_comes_late_moves_the_days():
    """As if it had been known at once, and back again."""
    told = [cost("a", "24", **DAY_OF), cost("b", "48", time=T0 + 1, **DAY_OF), cost("c", "7", campaign="autumn")]
    entry = SiteEntry(site=SITE, timezone="Asia/Kolkata", currency="INR")
    late = run(*told)
    late.run(entries=[entry])
    assert spent(late) == spent(run(*told, entries=[entry]))
    before = len(list(late.outputs("spend")))
    late.run([told[1]])
    assert (late.counts["costs", "duplicate"], len(list(late.outputs("spend")))) == (1, before)
    late.run(entries=[SiteEntry(site=SITE, timezone="UTC", currency="USD")])
    assert spent(late) == spent(run(*told))


@pytest.mark.parametrize("day_first", [True, False])
def test_a_day_and_just_its_hours_replace_each_other_as_long_as_they_are_the_same(day_first):
    """Where the site's zone says that the day has other hours, what was replaced comes back."""
    day, hours = cost("day", "24", **DAY_OF), cost("hours", "5")
    latest = (hours if day_first else day)["event_id"]
    events = [event | {"time": T0 + (event["event_id"] == latest)} for event in (day, hours)]
    for told in (events, events[::-1]):
        late = run(*told)
        assert held(late) == {latest: {"day": 24, "hours": 5}[latest]}
        late.run(entries=[INDIA])
        assert held(late) == {"day": 24, "hours": 5}
        late.run(entries=[SiteEntry(site=SITE)])
        assert held(late) == {latest: {"day": 24, "hours": 5}[latest]}


def test_what_a_restatement_leaves_is_there_again():
    """A day is restated when the site has moved to another zone: the hours that it had before speak for themselves."""
    moved = SiteEntry(site=SITE, timezone="Asia/Kolkata", valid_from=T0 + 10)
    told = [cost("hours", "5"), cost("day", "24", time=T0 + 1, **DAY_OF), cost("again", "25", time=T0 + 10, **DAY_OF)]
    for order in itertools.permutations(told):
        assert held(run(*order, entries=[moved])) == {"hours": 5, "again": 25}
    assert held(run(*told[:2], entries=[moved])) == {"day": 24}


@pytest.mark.parametrize("written", [" spring ", "%73pring", "SPRING", "Spring"])
def test_a_campaign_is_written_as_its_touches_have_it(written):
    """Trimmed, decoded, and by its registered name: cost meets traffic, and one campaign is one, however late."""
    entry = CampaignEntry(campaign="spring", site=SITE)
    told = [cost("a", "1"), cost("b", "2", time=T0 + 1, campaign=written)]
    touch = {"type": "click", "event_id": "t", "site": SITE, "visitor_id": "ann", "time": T0, "received_at": T0}
    for entries, late in (([entry], []), ([], [entry])):
        cluster = Cluster(Registry(entries), 5, chaos=False)
        cluster.run([*told, touch | {"campaign": written}])
        cluster.run(entries=late)
        assert held(cluster) == {"b": 2}
        (record,) = (record for record in spent(cluster).values() if not record["replaced"])
        assert [touch["campaign"] for touch in cluster.touches().values()] == [record["campaign"]] == ["spring"]


def test_a_campaign_must_have_a_name():
    """Blanks are none."""
    cluster = run(cost("a", campaign=" %20 "))
    assert [reason for reason, _ in refusals(cluster)] == ["schema"]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"channel": "audio", "source": "google", "medium": "cpc"}, "Audio"),
        ({"channel": "blogs"}, "Blogs"),
        ({"source": "google", "medium": "CPC"}, "Paid Search"),
        ({"source": "face%62ook", "medium": "paid "}, "Paid Social"),
        ({"source": "our-blog", "medium": "post"}, "Blogs"),
        ({"campaign": "summer"}, "Paid Search"),
        ({"campaign": "summer", "source": "news", "medium": "email"}, "Email"),
        ({"campaign": "radio", "source": "google", "medium": "cpc"}, "Audio"),
        ({"campaign": "radio", "source": "google", "channel": "Display"}, "Display"),
        ({}, ""),
        ({"source": "google"}, ""),
        ({"medium": "cpc"}, ""),
    ],
)
def test_the_channel_is_what_a_touch_with_the_same_statements_has(stated, expected):
    """Stated, else the registry's, else by the rules; with less than source and medium the campaign's traffic says."""
    entries = [
        SiteEntry(site=SITE, channels=[{"channel": "Blogs", "category": "blogs"}], sources={"blogs": ["our-blog"]}),
        CampaignEntry(campaign="summer", site=SITE, source="bing", medium="cpc"),
        CampaignEntry(campaign="radio", site=SITE, channel="Audio"),
    ]
    (record,) = spent(run(cost("a", **stated), entries=entries)).values()
    assert record["channel"] == expected
    late = run(cost("a", **stated))
    late.run(entries=entries)
    assert list(spent(late).values()) == [record]


@pytest.mark.parametrize("day", ["1970-01-02", "2105-12-31", "2011-12-30"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Apia", "Etc/GMT+12"])
def test_a_day_has_hours_anywhere(day, zone):
    """The first and the last that are taken, and one that never was on an island that crossed the date line."""
    event = cost("a", "23", date=day, **{"from": None, "to": None})
    (record,) = spent(run(event, entries=[SiteEntry(site=SITE, timezone=zone)])).values()
    assert sum(micros for _, micros, _, _ in record["hours"]) == 23_000_000
    assert all(0 <= hour < 2**32 // 3600 for hour, *_ in record["hours"])


@pytest.mark.parametrize(
    "period", [{"date": "1970-01-01"}, {"date": "2106-01-01"}, {"date": "0001-01-01"}, {"from": T0, "to": 2**42}]
)
def test_a_period_out_of_range_is_refused(period):
    """Its hours would have no place in ClickHouse."""
    cluster = run(cost("a", **{"from": None, "to": None, **period}))
    assert [reason for reason, _ in refusals(cluster)] == ["schema"]
