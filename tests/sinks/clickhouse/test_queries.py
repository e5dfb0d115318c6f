"""The figures of reports, over known records."""

from __future__ import annotations

from decimal import Decimal

from clickhouse_connect.driver.client import Client

from sinks.clickhouse import queries
from tests.sinks.conftest import Put
from tests.sinks.samples import LETTER_HEADERS, Sample, as_json, attribution, candidate, pane

SHARED = {"last_touch": [[1, 1_000_000, 10_000_001]], "linear": [[0, 500_000, 5_000_001], [1, 500_000, 5_000_000]]}


def fill(put: Put) -> None:
    """One conversion of 10.000001 shared by two channels, and the panes that go with it."""
    journey = [candidate("a"), candidate("b", channel="Email", campaign="news")]
    whole = {"last_touch": [0] * 6, "linear": [500_000, 5_000_001, 0, 0, 0, 0]}
    email = {"last_touch": [1_000_000, 10_000_001, 0, 0, 0, 0], "linear": [500_000, 5_000_000, 0, 0, 0, 0]}
    put(
        Sample(
            "attributions", as_json(attribution(value_micros=10_000_001, touches=journey, credits=SHARED)), offset=1
        ),
        Sample("panes", as_json(pane(clicks=4, impressions=9, invalid=1, models=whole)), offset=1),
        Sample("panes", as_json(pane(channel="Email", campaign="news", cost_micros=0, models=email)), offset=2),
        Sample("panes", as_json(pane(site="other", clicks=1000)), offset=3),
        Sample("dead-letters", b"x", headers=LETTER_HEADERS),
    )


def test_credit_by_campaign_is_exact_and_equal_in_both_views(client: Client, put: Put) -> None:
    """Integer micros and millionths; rows of zero left out; other sites too."""
    fill(put)
    expected = {
        ("last_touch", "Email", "news", "USD"): (1_000_000, 10_000_001),
        ("linear", "Paid Search", "brand", "USD"): (500_000, 5_000_001),
        ("linear", "Email", "news", "USD"): (500_000, 5_000_000),
    }
    assert queries.credits_by_campaign(client, "shop") == expected
    assert queries.kpis_by_campaign(client, "shop") == expected


def test_conversions_and_dead_letters(client: Client, put: Put) -> None:
    """The other figures of the demo's comparison."""
    fill(put)
    assert queries.conversions_by_status(client, "shop") == {("approved", "USD"): (1, 10_000_001)}
    assert queries.dead_letters_by_reason(client) == {"malformed": 1}


def test_the_table_of_channels(client: Client, put: Put) -> None:
    """Most visits first; rates of the chosen model; credit under every model."""
    fill(put)
    search, email = queries.channel_table(client, "shop", "linear")
    assert (search["channel"], search["visits"], search["cvr"]) == ("Paid Search", 4, Decimal("0.125"))
    assert (email["channel"], email["revenue"], email["cvr"]) == ("Email", Decimal(5), Decimal("0.5"))
    assert email["credit_revenue"]["last_touch"] == Decimal("10.000001")
    assert search["credit_conversions"]["first_touch"] == 0
