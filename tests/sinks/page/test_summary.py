"""Figures out of rows: counts whole, money by currency, ratios of what is shown."""

from __future__ import annotations

from decimal import Decimal

from sinks.page import summary
from sinks.page.periods import Window
from sinks.page.queries import Campaign, Credit, Traffic

HOURS = Window((0, 3600), 5400, 7200)


def came(
    bar: int, channel: str, visits: int, cost: str = "0", currency: str = "EUR", *, seen: int = 0, clicks: int = 0
) -> Traffic:
    return Traffic(bar, channel, currency, visits, seen, clicks, Decimal(cost))


def earned(bar: int, channel: str, conversions: str, revenue: str, currency: str = "EUR", **more: str) -> Credit:
    pending = Decimal(more.get("pending", "0"))
    return Credit(bar, channel, currency, more.get("model", "linear"), Decimal(conversions), Decimal(revenue), pending)


def test_kpis_count_people_whole_and_money_by_currency():
    """Visits and conversions of all currencies; amounts in others are named beside, never added."""
    found = summary.kpis(
        HOURS,
        [
            came(0, "Email", 8, seen=100),
            came(3600, "Display", 2, "4", "USD", seen=300),
            came(3600, "Display", 10, "5", clicks=8),
        ],
        [
            earned(0, "Email", "1.5", "30", pending="0.5"),
            earned(3600, "Display", "0.5", "7", "GBP"),
            earned(0, "Email", "9", "999", model="last_touch"),
        ],
        "linear",
        "EUR",
    )
    assert found["values"] == {
        "visits": 20,
        "conversions": 2.0,
        "cvr": 0.1,
        "revenue": 30.0,
        "cost": 5.0,
        "cpa": 2.5,
        "roas": 6.0,
        "impressions": 400,
        "clicks": 8,
        "cpc": 0.625,
        "cpm": 12.5,
        "roi": 5.0,
    }
    assert found["others"] == {"revenue": {"GBP": 7.0}, "cost": {"USD": 4.0}}
    assert found["pending"] == 0.5
    assert found["series"]["visits"] == [8, 12]
    assert found["series"]["revenue"] == [30.0, 0.0]


def test_nothing_divided_by_zero_is_a_number():
    """Each ratio is None where its divisor is 0, in a bar as in the whole."""
    found = summary.kpis(HOURS, [came(0, "Email", 4)], [], "linear", "EUR")
    names = ("cvr", "cpa", "roas", "cpc", "cpm", "roi")
    assert [found["values"][name] for name in names] == [0.0, None, None, None, None, None]
    assert found["series"]["cvr"] == [0.0, None]


def test_a_ratio_of_money_in_other_currencies_alone_is_none():
    """Costs in dollars say nothing about what a conversion cost in euros."""
    found = summary.channels(
        [came(0, "Affiliates", 5, "8", "USD")], [earned(0, "Affiliates", "2", "40")], "linear", "EUR"
    )
    assert [found["Affiliates"][name] for name in ("cpa", "cpc", "cpm")] == [None, None, None]
    assert found["Affiliates"]["others"] == {"revenue": {}, "cost": {"USD": 8.0}}
    in_dollars = summary.channels(
        [came(0, "Affiliates", 5, "8", "USD")], [earned(0, "Affiliates", "2", "40")], "linear", "USD"
    )
    assert (in_dollars["Affiliates"]["cpa"], in_dollars["Affiliates"]["roas"]) == (4.0, None)


def test_channels_by_revenue_then_visits():
    """Impressions alone make no line, costs do."""
    found = summary.channels(
        [came(0, "Direct", 9), came(0, "Email", 5), came(0, "Display", 0), came(0, "Audio", 0, "1")],
        [earned(0, "Email", "1", "3")],
        "linear",
        "EUR",
    )
    assert list(found) == ["Email", "Direct", "Audio"]


def test_what_a_channel_cost_is_held_against_all_that_was_seen_of_it():
    """Impressions of minutes without a visit too."""
    found = summary.channels(
        [came(0, "Display", 0, seen=1500), came(3600, "Display", 4, "3", clicks=4)],
        [earned(0, "Display", "1", "2")],
        "linear",
        "EUR",
    )
    assert [found["Display"][name] for name in ("cpm", "cpc", "cpa", "roas", "roi")] == [
        2.0,
        0.75,
        3.0,
        0.666667,
        -0.333333,
    ]


def test_models_stand_beside_each_other():
    """In the order of the channels; channels that only another model credits come last."""
    found = summary.models(
        [
            earned(0, "Email", "1", "3"),
            earned(0, "Email", "2", "6", "USD", model="last_touch"),
            earned(3600, "SMS", "0.5", "2", model="last_touch"),
        ],
        ("last_touch", "linear"),
        ("Direct", "Email"),
        "EUR",
    )
    assert found == [
        {"channel": "Email", "conversions": [2.0, 1.0], "revenue": [0.0, 3.0]},
        {"channel": "SMS", "conversions": [0.5, 0.0], "revenue": [2.0, 0.0]},
    ]


def test_campaigns_have_the_same_figures():
    row = Campaign("Email", "news", 4, 50, 2, Decimal(1), {"EUR": Decimal(8), "USD": Decimal(1)}, {"EUR": Decimal(2)})
    found = summary.campaigns([row], "EUR")[0]
    assert (found["cvr"], found["cpa"], found["roas"], found["others"]["revenue"]) == (0.25, 2.0, 4.0, {"USD": 1.0})
    assert (found["cpc"], found["cpm"], found["roi"]) == (1.0, 40.0, 3.0)
