"""History: every version, as first reported, as now known, and why; whatever is inserted again or was never seen."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from clickhouse_connect.driver.client import Client

from schemas.registry import CampaignEntry
from schemas.settings import Settings
from sinks.clickhouse import conversions
from streams.core.journeys import Journey
from streams.core.registry import Registry
from tests.reference.crowds import Crowd
from tests.reference.events import HOUR, T0
from tests.reference.shop import SITE, adjustment, click, purchase
from tests.sinks.conftest import Put
from tests.sinks.flow import SHIFT, flowed, pour, recent, recent_entry, samples
from tests.sinks.samples import NOW_MS, Sample, as_json, attribution, candidate, touch

D = Decimal
STORY = [
    purchase(time=T0 + HOUR, visitor_id=None),
    click("a", T0, visitor_id="v"),
    purchase("named", T0 + HOUR + 1, value=None, currency=None, received_at=T0 + 2 * HOUR),
    click("late", T0 + 60_000, visitor_id="v", source="news", medium="email", received_at=T0 + 3 * HOUR),
    adjustment("restated", "restate", T0 + 4 * HOUR, value="60"),
    adjustment("refused", "reject", T0 + 5 * HOUR),
]
"""First nobody's, then a visitor's, then a touch comes late, then less is worth, then nothing."""


def rows(client: Client, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(statement).result_rows]


DOCUMENTED = re.compile(r"^\| `(\w+)` \| (site, [\w, ]+) \|$", re.MULTILINE)
"""View and columns, as the table of docs/reports.md has them."""


def test_views_are_as_documented(client: Client) -> None:
    """Names and order; those that are said to be as others are like them."""
    documented = dict(DOCUMENTED.findall(Path("docs/reports.md").read_text()))
    assert len(documented) >= 6
    for view, columns in documented.items():
        assert [row[0] for row in rows(client, f"DESCRIBE TABLE {view}")] == columns.split(", "), view
        assert rows(client, f"SELECT * FROM {view}") == []
    for view, like in (("credits_as_first_reported", "credits"), ("kpis_by_touch_time", "kpis")):
        assert rows(client, f"DESCRIBE TABLE {view}") == rows(client, f"DESCRIBE TABLE {like}")


def test_a_story_from_first_report_to_now(client: Client, settings: Settings) -> None:
    """The versions, each with its cause and what it changed; both ends side by side; a repeated insert adds nothing."""
    found = samples(flowed(map(recent, STORY), one_by_one=True))
    for _ in range(2):
        pour(settings, found)
    history = rows(
        client,
        "SELECT version, cause, withdrawn, visitor_id, status, value, touches, changed, unseen FROM attribution_history"
        " ORDER BY version",
    )
    assert history == [
        (1, "first", False, "", "approved", 100, 0, [], 0),
        (2, "moved", True, "", "approved", 100, 0, ["visitor"], 0),
        (3, "moved", False, "v", "approved", 100, 1, ["visitor", "touches", "credits"], 0),
        (4, "late_touch", False, "v", "approved", 100, 2, ["touches", "credits"], 0),
        (5, "adjustment", False, "v", "approved", 60, 2, ["value"], 0),
        (6, "adjustment", False, "v", "rejected", 0, 2, ["status", "value"], 0),
    ]
    assert rows(client, "SELECT version, status, value FROM conversions") == [(6, "rejected", 0)]
    first = "SELECT visitor_id, status, value, time, known FROM conversions_as_first_reported"
    ((visitor, status, value, moment, known),) = rows(client, first)
    assert (visitor, status, value, known) == ("", "approved", 100, True)
    assert round(moment.timestamp() * 1000) == T0 + HOUR + SHIFT
    channels = "SELECT channel, sum(conversions), sum(value) FROM {} WHERE model = 'last_touch' GROUP BY channel"
    assert rows(client, channels.format("credits_as_first_reported")) == [("Direct", 1, 100)]
    assert rows(client, channels.format("credits")) == [("Email", 0, 0)]
    changes = "SELECT versions, causes, first_value, value, first_status, status, known FROM conversion_changes"
    causes = ["first", "moved", "moved", "late_touch", "adjustment", "adjustment"]
    assert rows(client, changes) == [(6, causes, 100, 0, "approved", "rejected", True)]
    told = rows(client, "SELECT event_id, type, adjustment, value, visitor_id FROM facts ORDER BY time")
    assert told == [
        ("c", "conversion", "", 100, ""),
        ("named", "conversion", "", None, "v"),
        ("restated", "adjustment", "restate", 60, ""),
        ("refused", "adjustment", "reject", None, ""),
    ]


def test_what_a_sink_that_starts_late_cannot_know(client: Client, put: Put) -> None:
    """The topic keeps the last record of a key: earlier versions are missing, and the views say so."""
    put(
        Sample("attributions", as_json(attribution(version=3, cause="late_touch")), offset=7),
        Sample("attributions", as_json(attribution(version=5, cause="adjustment", value_micros=4_000_000)), offset=9),
    )
    assert rows(client, "SELECT version, unseen, changed FROM attribution_history ORDER BY version") == [
        (3, 2, []),
        (5, 1, ["value"]),
    ]
    assert rows(client, "SELECT value, known FROM conversions_as_first_reported") == [(10, False)]
    assert rows(client, "SELECT versions, known, causes FROM conversion_changes") == [
        (5, False, ["late_touch", "adjustment"])
    ]


def test_history_goes_on_where_a_topic_begins_anew(client: Client, put: Put) -> None:
    """Versions count anew in a later generation; the first report stays that of the first generation."""
    put(Sample("attributions", as_json(attribution(version=2)), offset=9))
    put(Sample("attributions", as_json(attribution(version=1, value_micros=1_000_000)), offset=0), generation=2)
    assert rows(client, "SELECT version, value FROM conversions") == [(1, 1)]
    assert rows(client, "SELECT version, value FROM attribution_history ORDER BY value DESC") == [(2, 10), (1, 1)]
    assert rows(client, "SELECT value, known FROM conversions_as_first_reported") == [(10, False)]


def test_a_rejected_conversion_s_shares_are_kept(client: Client, put: Put) -> None:
    """At the touch's time as at the conversion's: by credit, exactly, beside what counts."""
    journey = [candidate("a", time=NOW_MS - 7_200_000), candidate("b", channel="Email")]
    record = attribution(
        status="rejected",
        counted=False,
        value_micros=0,
        value_reported_micros=7_000_001,
        touches=journey,
        credits={"linear": [[0, 500_000, 0], [1, 500_000, 0]]},
        rejected_micros={"linear": [3_500_001, 3_500_000]},
    )
    put(Sample("attributions", as_json(record)))
    found = rows(
        client,
        "SELECT dateDiff('minute', minute, toDateTime(now())) > 100, channel, conversions, revenue,"
        " conversions_rejected, revenue_rejected FROM kpis_by_touch_time ORDER BY channel",
    )
    assert found == [(0, "Email", 0, 0, D("0.5"), D("3.5")), (1, "Paid Search", 0, 0, D("0.5"), D("3.500001"))]


def test_a_conversion_is_found_by_id_and_by_order(client: Client, put: Put) -> None:
    """At several sites and for several actions; one of which only adjustments are known too."""
    fact = {"event_id": "x", "type": "adjustment", "adjustment": "reject", "time": NOW_MS, "received_at": NOW_MS}
    order = {"site": "shop", "conversion_id": "d" * 32, "action": "purchase", "order_id": "o2", "facts": [fact]}
    put(
        Sample("attributions", as_json(attribution("a" * 32, order_id="o1")), offset=1),
        Sample("attributions", as_json(attribution("b" * 32, order_id="o1", action="lead")), offset=2),
        Sample("attributions", as_json(attribution("c" * 32, order_id="o1", site="other")), offset=3),
        Sample("orders", as_json(order)),
    )
    assert {one.conversion_id[0] for one in conversions.find(client, "o1")} == {"a", "b", "c"}
    assert [one.conversion_id[0] for one in conversions.find(client, "o1", "shop", "lead")] == ["b"]
    assert [one.site for one in conversions.find(client, "c" * 32)] == ["other"]
    assert [one.attributed for one in conversions.find(client, "o2")] == [False]
    assert conversions.find(client, "o'3\\") == []


def test_touches_come_back_as_the_core_wrote_them(client: Client, settings: Settings) -> None:
    """All that a journey is judged by survives: the journeys of stored touches are those of the records."""
    crowd = Crowd(33, 260)
    entries = [recent_entry(entry) for entry in crowd.entries]
    found = samples(flowed([recent(event) for event in crowd.events], entries), entries)
    pour(settings, found)
    written: dict[tuple[str, str], dict[str, Any]] = {}
    for sample in found:
        if sample.topic == "touches":
            record = orjson.loads(sample.value or b"")
            if record["type"] not in {"consent", "verdict"}:
                written.setdefault((record["site"], record["visitor_id"]), {})[record["event_id"]] = record
    assert sum(map(len, written.values())) > 40
    for (site, visitor), records in written.items():
        stored = conversions.touches(client, site, visitor)
        for touch_ in stored:
            record = records[touch_["event_id"]]
            assert {name: record[name] for name in touch_} == touch_
            assert record.keys() - touch_.keys() <= {"fp", "extra", "said"}
        journeys = [Journey(site, touches, Registry(entries)) for touches in (stored, records.values())]
        assert journeys[0].roles == journeys[1].roles


def test_a_touch_of_before_has_no_receipt(client: Client, put: Put) -> None:
    """Rows of an earlier version lack what judges them, and say so by a time of receipt in 1970."""
    put(Sample("touches", as_json(touch("old"))))
    client.command("ALTER TABLE touches_rows UPDATE received_at = 0 WHERE 1 SETTINGS mutations_sync = 1")
    assert conversions.touches(client, "shop", "v1")[0]["received_at"] == 0


def test_what_the_registry_changes_in_a_touch_is_told(client: Client, settings: Settings) -> None:
    """Whatever field it is: each re-attribution says what changed."""
    cluster = flowed(map(recent, [click("a", T0, campaign="spring"), purchase(time=T0 + HOUR)]), one_by_one=True)
    for late in ({"partner": "agency"}, {"partner": "agency", "channel": "Audio"}):
        cluster.run(entries=[CampaignEntry(campaign="spring", site=SITE, **late)])
    pour(settings, samples(cluster))
    told = rows(client, "SELECT version, cause, changed FROM attribution_history ORDER BY version")
    assert told == [(1, "first", []), (2, "registry", ["touches"]), (3, "registry", ["touches"])]
