"""Reports: exact, and equal to the views, on a hand-made case and on dense random ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import mean, median
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client

from schemas.reasons import MODELS
from schemas.settings import Settings
from sinks.clickhouse import registry
from sinks.clickhouse.reports import Asked, Filters, Question, Span, lag, models, paths, results, spans
from sinks.clickhouse.reports.figures import change, count_ratios, money_ratios
from tests.reference.crowds import Crowd
from tests.sinks.conftest import Put
from tests.sinks.flow import flowed, pour, recent, recent_entry, samples
from tests.sinks.samples import NOW_MS, Sample, as_json, attribution, candidate, pane

NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
D = Decimal


def question(start: datetime, end: datetime, before: Span | None = None, **more: object) -> Question:
    """A question about a span in UTC."""
    return Question({"UTC": (Span(start, end), before)}, **more)  # type: ignore[arg-type]


def whole(**more: object) -> Question:
    """About everything that is kept."""
    return question(NOW - timedelta(days=300), NOW + timedelta(days=1), **more)


def purchase(number: int, minute: int, journey: list[tuple[str, str]], micros: int, **fields: object) -> list[Sample]:
    """A conversion `minute` minutes ago after a journey of (channel, campaign), one touch an hour before each other.

    Credit: last_touch all to the last, linear equally; with the panes that the worker would write.
    """
    time = NOW_MS - minute * 60_000
    touches = [
        candidate(f"t{place}", channel=channel, campaign=campaign, time=time - (len(journey) - place) * 3_600_000)
        for place, (channel, campaign) in enumerate(journey)
    ]
    status = str(fields.get("status", "approved"))
    counted = status in {"approved", "pending"}
    each, count = 1_000_000 // len(journey), len(journey)
    credited = {
        "last_touch": [[count - 1, 1_000_000, micros if counted else 0]],
        "linear": [[place, each, micros // count if counted else 0] for place in range(count)],
    }
    more = {"rejected_micros": {"last_touch": [micros], "linear": [micros // count] * count}}
    record = attribution(
        f"{number:032x}",
        conversion_time=time,
        touches=touches,
        credits=credited,
        counted=counted,
        value_micros=micros if counted else 0,
        value_reported_micros=micros,
        order_id=f"o{number}",
        **fields,
        **(more if status == "rejected" else {}),
    )
    found = [Sample("attributions", as_json(record), offset=number)]
    for place, (channel, campaign) in enumerate(journey):
        kpis = {}
        for model, parts in (("linear", [each, micros // count]), ("last_touch", [1_000_000, micros])):
            if model == "linear" or place == count - 1:
                settled = parts if counted else [0, 0]
                pending, rejected = parts if status == "pending" else [0, 0], parts if not counted else [0, 0]
                kpis[model] = [*settled, *pending, *rejected]
        dimensions = {"channel": channel, "campaign": campaign, "currency": record["currency"]}
        empty = pane(minute=time // 60_000, clicks=0, cost_micros=0, models=kpis, **dimensions)
        found.append(Sample("panes", as_json(empty), offset=100 * number + place, partition=number))
    return found


def test_a_case_counted_by_hand(client: Client, put: Put) -> None:
    """Channels, the change against before, pending and rejected apart, money by currency, no division by 0."""
    old = (NOW_MS - 2 * 86_400_000) // 60_000
    put(
        Sample("panes", as_json(pane(clicks=40, landings=10, impressions=1000, cost_micros=25_000_000)), offset=1),
        Sample("panes", as_json(pane(clicks=0, landings=20, channel="Email", campaign="", cost_micros=0)), offset=2),
        Sample("panes", as_json(pane(minute=old, clicks=20, cost_micros=20_000_000)), offset=3),
        *purchase(1, 5, [("Paid Search", "brand")], 30_000_000),
        *purchase(2, 5, [("Paid Search", "brand"), ("Email", "")], 10_000_000, status="pending"),
        *purchase(3, 5, [("Email", "")], 7_000_001, currency="EUR"),
        *purchase(4, 5, [("Email", "")], 99_000_000, status="rejected"),
        *purchase(5, 5, [("Email", "")], 98_000_000, status="retracted"),
    )
    now = Span(NOW - timedelta(hours=1), NOW + timedelta(minutes=1))
    before = Span(NOW - timedelta(days=3), NOW - timedelta(days=1))
    found = results(client, question(now.start, now.end, before, model="linear"), "channel")
    search, email = found.rows
    assert (search.name, email.name) == ("Paid Search", "Email")
    figures = search.now
    assert (figures.impressions, figures.clicks, figures.visits) == (1000, 40, 50)
    assert (figures.conversions, figures.conversions_pending, figures.conversions_rejected) == (D("1.5"), D("0.5"), 0)
    assert (figures.of("USD").revenue, figures.of("USD").cost) == (D(35), D(25))
    assert count_ratios(figures) == {"ctr": D("0.04"), "cvr": D("0.03")}
    assert money_ratios(figures, "USD") == {
        "cpc": D("0.625"),
        "cpm": D(25),
        "cpa": D("16.666667"),
        "aov": D("23.333333"),
        "epc": D("0.7"),
        "roas": D("1.4"),
        "roi": D("0.4"),
    }
    assert search.before is not None
    assert (search.before.visits, search.before.conversions, search.before.of("USD").cost) == (20, 0, D(20))
    assert change(figures.visits, search.before.visits) == D("1.5")
    assert change(figures.conversions, search.before.conversions) is None
    assert (email.now.conversions, email.now.conversions_rejected) == (D("1.5"), D(1))
    assert email.now.of("EUR").revenue == D("7.000001")
    assert email.now.of("USD").revenue_rejected == D(99)
    assert email.now.of("USD").revenue_pending == D(5)
    assert money_ratios(email.now, "EUR")["roas"] is None
    assert found.total.now.conversions == 3
    assert found.total.now.of("USD").revenue == 40


def test_filters_and_when_a_conversion_counts(client: Client, put: Put) -> None:
    """Action and currency choose conversions and leave the traffic; a credit can lie at its touch's time."""
    put(
        Sample("panes", as_json(pane(clicks=10, currency="EUR")), offset=1),
        *purchase(1, 0, [("Paid Search", "brand")], 30_000_000, action="lead"),
        *purchase(2, 0, [("Paid Search", "brand")], 10_000_000),
        *purchase(3, 0, [("Paid Search", "brand"), ("Email", "")], 1_000_000, currency="EUR"),
    )

    def total(**more: object) -> tuple[int, Decimal]:
        asked = question(NOW - timedelta(minutes=30), NOW + timedelta(minutes=1), model="last_touch", **more)
        now = results(client, asked, "campaign").total.now
        return now.visits, now.conversions

    assert total() == (10, 3)
    assert total(filters=Filters(action=("lead",))) == (10, 1)
    assert total(filters=Filters(currency=("EUR",))) == (10, 1)
    assert total(filters=Filters(campaign=("brand",))) == (10, 2)
    assert total(filters=Filters(channel=("Email",), site=("shop",))) == (0, 1)
    assert total(filters=Filters(site=("other",))) == (0, 0)
    assert total(filters=Filters(partner=("it's \\ 'quoted'",))) == (0, 0)
    assert total(counted_at="touch") == (10, 0)
    at_touch = question(NOW - timedelta(hours=2), NOW - timedelta(minutes=30), counted_at="touch", model="last_touch")
    assert results(client, at_touch, "channel").total.now.conversions == 3


def test_days_are_each_site_s_own(client: Client, put: Put) -> None:
    """A minute after midnight in Tokyo is yesterday in New York; a site that nobody registered has UTC."""
    day = datetime(NOW.year, NOW.month, NOW.day, tzinfo=UTC) - timedelta(days=1)
    zones = {"tokyo": "Asia/Tokyo", "york": "America/New_York", "nowhere": "UTC"}
    found = []
    for number, (site, zone) in enumerate(zones.items()):
        midnight = int(day.replace(tzinfo=ZoneInfo(zone)).timestamp()) // 60
        for offset, minute in enumerate((midnight - 1, midnight, midnight + 24 * 60 - 1, midnight + 24 * 60)):
            record = pane(site=site, minute=minute, clicks=10**offset)
            found.append(Sample("panes", as_json(record), offset=10 * number + offset))
        if site != "nowhere":
            entry = {"kind": "site", "site": site, "timezone": zone}
            found.append(Sample("campaigns", as_json(entry), offset=number))
    put(*found)
    known = registry.sites(client)
    assert {name: site.timezone for name, site in known.items()} == {name: zones[name] for name in ("tokyo", "york")}
    asked = Asked(f"{day:%Y-%m-%d}", f"{day:%Y-%m-%d}", compare="none")
    periods = {zone: spans(asked, ZoneInfo(zone), NOW) for zone in zones.values()}
    by_zone = {zone: [site] for site, zone in zones.items()}
    report = results(client, Question(periods, "Asia/Tokyo", by_zone), "channel")
    assert report.total.now.clicks == 3 * (10 + 100)
    hours = {at[-5:]: figures.clicks for at, figures in report.series.items()}
    assert len(hours) == 24
    assert {at: clicks for at, clicks in hours.items() if clicks} == {"00:00": 30, "23:00": 300}


@pytest.mark.parametrize("seed", [17, 33])
def test_sums_are_those_of_the_views(client: Client, settings: Settings, seed: int) -> None:
    """Dense random events through the core: reports, `kpis`, `kpis_by_touch_time` and `credits` say the same."""
    crowd = Crowd(seed, 260)
    entries = [recent_entry(entry) for entry in crowd.entries]
    cluster = flowed([recent(event) for event in crowd.events], entries)
    pour(settings, samples(cluster, entries))
    kept = [one for one in cluster.attributions().values() if one["counted"]]
    assert len(kept) > 10
    for model in ("last_non_direct", "linear", "position_based"):
        for counted_at, view in (("conversion", "kpis"), ("touch", "kpis_by_touch_time")):
            by_view = client.query(
                "SELECT channel, currency, sum(impressions), sum(visits), sum(cost), sum(conversions), sum(revenue),"
                f" sum(conversions_rejected), sum(revenue_rejected), sum(revenue_pending) FROM {view}"
                " WHERE model = {model:String} GROUP BY channel, currency",
                parameters={"model": model},
            ).result_rows
            expected: dict[str, list[Decimal]] = defaultdict(lambda: [D(0)] * 4)
            money: dict[tuple[str, str], tuple[Decimal, ...]] = {}
            for channel, currency, impressions, visits, cost, conversions, revenue, rejected, *rest in by_view:
                sums = (impressions, visits, conversions, rejected)
                expected[channel] = [a + b for a, b in zip(expected[channel], sums, strict=True)]
                money[channel, currency] = (cost, revenue, *rest)
            report = results(client, whole(model=model, counted_at=counted_at), "channel")
            assert {
                row.name: [row.now.impressions, row.now.visits, row.now.conversions, row.now.conversions_rejected]
                for row in report.rows
            } == {
                name: sums for name, sums in expected.items() if any(sums) or name in {row.name for row in report.rows}
            }
            for (channel, currency), sums in money.items():
                found = next((row.now for row in report.rows if row.name == channel), None)
                amounts = found.of(currency) if found else None
                assert sums == (
                    (amounts.cost, amounts.revenue, amounts.revenue_rejected, amounts.revenue_pending)
                    if amounts
                    else (0, 0, 0, 0)
                )
    by_credits = client.query(
        "SELECT channel, model, sum(conversions), sum(value) FROM credits GROUP BY channel, model"
    ).result_rows
    side_by_side = models(client, whole())
    assert side_by_side.models == list(MODELS)
    for channel, model, conversions, value in by_credits:
        row = next((row for row in side_by_side.rows if row.name == channel), None)
        credit = row.now if row else None
        assert (credit.conversions.get(model, 0) if credit else 0) == conversions
        if credit and value:
            assert sum(shares.get(model, 0) for shares in credit.revenue.values()) == value
    assert set(side_by_side.total.now.conversions.values()) == {D(len(kept))}

    taken = paths(client, whole(), 5)
    sequences = Counter()
    for one in kept:
        channels = [touch["channel"] for touch in one["touches"]]
        sequences[tuple(name for place, name in enumerate(channels) if not place or name != channels[place - 1])] += 1
    assert [(row.path, row.now.conversions) for row in taken.rows] == sorted(
        sequences.items(), key=lambda pair: (-pair[1], pair[0])
    )[:5]
    assert taken.total.conversions == len(kept) == taken.others.conversions + sum(r.now.conversions for r in taken.rows)
    assert taken.other_paths == len(sequences) - 5
    worth: dict[str, int] = defaultdict(int)
    for one in kept:
        worth[one["currency"]] += one["value_micros"]
    assert {name: int(amount.scaleb(6)) for name, amount in taken.total.value.items() if amount} == {
        name: micros for name, micros in worth.items() if micros
    }
    touched = [one for one in kept if one["touches"][0]["touch_id"]]
    assert taken.total.touches == sum(len(one["touches"]) for one in touched)
    assert taken.untouched == len(kept) - len(touched)

    lags = lag(client, whole()).now
    first = [one["conversion_time"] - one["touches"][0]["time"] for one in touched]
    assert (lags.conversions, lags.untouched) == (len(touched), taken.untouched)
    assert lags.from_first.median == median(first)
    assert lags.from_first.mean == pytest.approx(mean(first))
    assert sum(lags.from_first.counts) == sum(lags.from_last.counts) == sum(lags.touches.counts) == len(touched)
    in_bin = [
        sum(one.start <= age and (one.end is None or age < one.end) for age in first) for one in lags.from_first.bins
    ]
    assert lags.from_first.counts == in_bin


def test_nothing_is_nothing(client: Client) -> None:
    """An empty database has empty reports, not errors."""
    asked = whole()
    assert results(client, asked, "channel").rows == []
    assert models(client, asked).rows == []
    assert paths(client, asked, 10).total.conversions == 0
    assert lag(client, asked).now.from_last.median is None
