"""Stated costs in the views: in the place of the touches' own where a statement covers them, once, and exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from clickhouse_connect.driver.client import Client

from schemas.registry import CampaignEntry, SiteEntry
from schemas.settings import Settings
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.sinks.conftest import Put
from tests.sinks.flow import pour, samples
from tests.sinks.samples import NOW_MS, Sample, as_json, pane, spend, touch

HOUR = NOW_MS // 3_600_000
"""The hour that holds `NOW_MS`."""
D = Decimal


def minute(hours: float) -> int:
    """A minute so many hours after the beginning of `HOUR`."""
    return round(60 * (HOUR + hours))


def paned(offset: int, hours: float, **fields: Any) -> Sample:
    return Sample("panes", as_json(pane(minute=minute(hours), **fields)), offset=offset)


def stated(offset: int, start: float, end: float, micros: int, **fields: Any) -> Sample:
    """A statement about hours after `HOUR`, all of it in its first hour."""
    hours = list(range(int(start // 1), int(-(-end // 1))))
    record = spend(
        cost_micros=micros,
        hours=[[HOUR + hour, micros if hour == hours[0] else 0, 0, 0] for hour in hours],
        **fields,
    )
    record |= {"from": round((HOUR + start) * 3_600_000), "to": round((HOUR + end) * 3_600_000)}
    return Sample("spend", as_json(record), offset=offset, key=f"{fields} {start} {end}".encode())


def costs(client: Client, view: str = "traffic", where: str = "1") -> list[tuple[Any, ...]]:
    rows = client.query(
        f"SELECT channel, campaign, partner, variant, currency, sum(cost), sum(clicks) FROM {view} WHERE {where}"
        " GROUP BY ALL HAVING sum(cost) != 0 OR sum(clicks) != 0 ORDER BY ALL"
    ).result_rows
    return [tuple(row) for row in rows]


def test_a_statement_replaces_what_touches_stated_where_it_covers_them(client: Client, put: Put) -> None:
    """Of that campaign, minute by minute, whatever the currency, channel or variant; clicks stay those counted."""
    put(
        paned(1, -1 / 60, cost_micros=1_000_000),
        paned(2, 0, cost_micros=2_000_000),
        paned(3, 1.99, cost_micros=4_000_000, currency="EUR"),
        paned(4, 0.5, cost_micros=8_000_000, channel="Email", variant="b"),
        paned(5, 2, cost_micros=16_000_000),
        paned(6, 0.5, cost_micros=32_000_000, campaign="other"),
        paned(7, 0.5, cost_micros=64_000_000, site="elsewhere"),
        stated(1, 0, 2, 500_000, channel="Paid Search", impressions=7, clicks=1000),
    )
    assert costs(client, where="site = 'shop'") == [
        ("Email", "brand", "", "b", "USD", 0, 1),
        ("Paid Search", "brand", "", "", "EUR", 0, 1),
        ("Paid Search", "brand", "", "", "USD", D("17.5"), 3),
        ("Paid Search", "other", "", "", "USD", 32, 1),
    ]
    assert costs(client, where="site = 'elsewhere'") == [("Paid Search", "brand", "", "", "USD", 64, 1)]
    by_model = [
        costs(client, view, f"site = 'shop' AND model = '{model}'")
        for model in ("linear", "last_touch")
        for view in ("kpis", "kpis_by_touch_time")
    ]
    assert all(found == costs(client, where="site = 'shop'") for found in by_model)


def test_a_statement_counts_once_and_the_later_one_holds(client: Client, put: Put) -> None:
    """Inserted twice, restated, restated to nothing: the touches' own cost stays replaced."""
    first, second = stated(1, 0, 1, 5_000_000, channel="Display"), stated(2, 0, 1, 3_000_001, channel="Display")
    put(paned(1, 0.5, cost_micros=9_000_000), first)
    put(first)
    assert sum(cost for *_, cost, _ in costs(client)) == 5
    put(second)
    put(first)
    assert sum(cost for *_, cost, _ in costs(client)) == D("3.000001")
    put(stated(3, 0, 1, 0, channel="Display"))
    assert sum(cost for *_, cost, _ in costs(client)) == 0


def test_statements_that_meet_or_overlap_cover_their_union(client: Client, put: Put) -> None:
    """Also where one lies within another, and a gap between two stays uncovered."""
    put(
        *(paned(number, hours, cost_micros=1_000_000) for number, hours in enumerate((0, 0.9, 1, 1.4, 1.5, 2.6, 3))),
        stated(1, 0, 1, 0, variant="a"),
        stated(2, 0.25, 0.5, 0, variant="b"),
        stated(3, 1, 1.5, 0, ad="c"),
        stated(4, 2.5, 3, 0),
    )
    rows = client.query("SELECT minute, cost FROM traffic WHERE cost != 0 ORDER BY minute").result_rows
    assert [round(moment.timestamp()) // 60 for moment, _ in rows] == [minute(1.5), minute(3)]


def test_a_statement_lies_within_its_period(client: Client, put: Put) -> None:
    """A share of an hour that is covered from its half on lies in that half: half-hour zones keep their days."""
    put(stated(1, 0.5, 2, 1_000_000, channel="Display"))
    rows = client.query("SELECT minute FROM traffic WHERE cost != 0").result_rows
    assert [round(moment.timestamp()) // 60 for (moment,) in rows] == [minute(0.5)]


def test_under_which_channel(client: Client, put: Put) -> None:
    """The statement's own; the registry's; that of most touches, of its source and medium first; else Unassigned."""
    put(
        *(
            Sample(
                "touches",
                as_json(touch(f"{number}", channel=channel, source=source, medium=medium, partner=partner)),
                offset=number,
            )
            for number, (channel, source, medium, partner) in enumerate(
                [("Paid Search", "Google", "cpc", "")] * 3 + [("Email", "news", "email", "agency")] * 2
            )
        ),
        Sample(
            "campaigns",
            as_json({"kind": "campaign", "site": "shop", "campaign": "known", "channel": "Audio", "partner": "radio"}),
        ),
        Sample(
            "campaigns",
            as_json(
                {
                    "kind": "campaign",
                    "site": "shop",
                    "campaign": "known",
                    "channel": "SMS",
                    "valid_from": NOW_MS + 10**7,
                }
            ),
            offset=1,
        ),
        stated(1, 0, 1, 1_000_000, channel="Display"),
        stated(2, 0, 1, 2_000_000),
        stated(3, 0, 1, 4_000_000, source="NEWS"),
        stated(4, 0, 1, 8_000_000, source="bing", medium="cpc"),
        stated(5, 0, 1, 16_000_000, campaign="known"),
        stated(6, 0, 1, 32_000_000, campaign="unheard-of", variant="b"),
    )
    found = {(row[0], row[1], row[2], row[3]): row[5] for row in costs(client)}
    assert found == {
        ("Display", "brand", "", ""): 1,
        ("Paid Search", "brand", "", ""): 10,
        ("Email", "brand", "agency", ""): 4,
        ("Audio", "known", "radio", ""): 16,
        ("Unassigned", "unheard-of", "", "b"): 32,
    }


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_days_through_the_core(client: Client, settings: Settings, zone: str) -> None:
    """A day's cost, spread by the core, is that day's in the site's zone to the micro, half-hour zones too."""
    entries = [SiteEntry(site="shop", timezone=zone, currency="EUR"), CampaignEntry(campaign="c", site="shop")]
    cluster = Cluster(Registry(entries), chaos=False)
    day = client.query(
        "SELECT toString(toDate(now() - 3 * 86400, {zone:String}))", parameters={"zone": zone}
    ).first_row[0]
    common = {"site": "shop", "campaign": "c", "time": NOW_MS, "received_at": NOW_MS}
    for number, cost in enumerate(("10.000001", "0.000007")):
        cluster.put(
            "costs", 0, orjson.dumps(common | {"event_id": f"{number}", "date": day, "cost": cost, "ad": f"{number}"})
        )
    cluster.run()
    pour(settings, samples(cluster, entries))
    rows = client.query(
        "SELECT toString(toDate(minute, {zone:String})) AS day, currency, sum(cost) FROM kpis"
        " WHERE model = 'linear' GROUP BY ALL",
        parameters={"zone": zone},
    ).result_rows
    assert [tuple(row) for row in rows] == [(day, "EUR", D("10.000008"))]


def test_a_registry_that_comes_late_leaves_nothing_behind(client: Client, settings: Settings) -> None:
    """A spelling becomes a campaign's, a channel is known, one statement stands for two: counted once, by new names."""
    entry = CampaignEntry(campaign="spring", site="shop", channel="Audio", partner="radio")
    cluster = Cluster(Registry(), chaos=False)
    hours = {"from": HOUR * 3_600_000, "to": (HOUR + 1) * 3_600_000}
    common = {"site": "shop", "received_at": NOW_MS, "source": "google", "medium": "cpc"} | hours
    for number, name in enumerate(("spring", "Spring")):
        told = common | {"event_id": name, "campaign": name, "cost": f"{number + 1}", "time": NOW_MS + number}
        cluster.put("costs", 0, orjson.dumps(told))
    cluster.run()
    pour(settings, samples(cluster))
    assert [row[:2] + row[5:6] for row in costs(client)] == [
        ("Paid Search", "Spring", D(2)),
        ("Paid Search", "spring", D(1)),
    ]
    cluster.run(entries=[entry])
    pour(settings, samples(cluster, [entry]))
    assert [row[:3] + row[5:6] for row in costs(client)] == [("Audio", "spring", "radio", D(2))]
