"""Stated ad spend (contract, section 2)."""

from __future__ import annotations

import itertools

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.registry import SiteEntry
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


def test_a_time_zone_that_comes_late_moves_the_days():
    """As if it had been known at once: what was taken for another period covers nothing."""
    day = {"from": None, "to": None, "date": "2025-10-09"}
    told = [cost("a", "24", **day), cost("b", "48", time=T0 + 1, **day), cost("c", "7", campaign="autumn")]
    entry = SiteEntry(site=SITE, timezone="Asia/Kolkata", currency="INR")
    late = run(*told)
    late.run(entries=[entry])
    assert {key: record for key, record in spent(late).items() if record["from"] != record["to"]} == spent(
        run(*told, entries=[entry])
    )
    before = len(list(late.outputs("spend")))
    late.run([told[1]])
    assert (late.counts["costs", "duplicate"], len(list(late.outputs("spend")))) == (1, before)
    late.run(entries=[SiteEntry(site=SITE, timezone="UTC", currency="USD")])
    assert {key: record for key, record in spent(late).items() if record["from"] != record["to"]} == spent(run(*told))


def test_a_place_that_was_left_can_be_taken_again():
    """By an earlier statement about just that period."""
    late = run(cost("a", "24", **{"from": None, "to": None, "date": "2025-10-09"}))
    late.run(entries=[SiteEntry(site=SITE, timezone="Asia/Kolkata")])
    (left,) = (record for record in spent(late).values() if record["from"] == record["to"])
    late.run([cost("b", "5", time=T0 - 1, **{"from": left["from"], "to": left["from"] + DAY})])
    assert sorted(record["cost_micros"] for record in spent(late).values()) == [5_000_000, 24_000_000]
