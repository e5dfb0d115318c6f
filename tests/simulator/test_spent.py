"""The truth's own account of costs, on cases whose result is written down by hand."""

from __future__ import annotations

from streams.simulator.spent import (
    HOUR_MS,
    CostKey,
    KnownStatement,
    RatioKey,
    Ratios,
    by_hour,
    count_costs,
    count_ratios,
)
from streams.simulator.truth import Credit, CreditKey, Knowledge, KnownTouch, Traffic, TrafficKey

START = 1_795_000_000_000 // HOUR_MS * HOUR_MS
HOUR = START // HOUR_MS
MINUTE = 60_000


def touch(minute: float, micros: int = 10, campaign: str = "spring", currency: str = "EUR") -> KnownTouch:
    time = START + round(minute * MINUTE)
    return KnownTouch("v", f"e{minute}", time, "click", "Email", campaign, "touch", micros, currency)


def statement(first: int, last: int, micros: int, channel: str = "Display", currency: str = "EUR") -> KnownStatement:
    return KnownStatement("spring", channel, currency, START + first * MINUTE, START + last * MINUTE, micros)


def test_an_amount_is_spread_over_its_hours_exactly():
    """In proportion to what of each is covered; what is left over goes to the largest remainder, then the earlier."""
    assert by_hour(100, START, START + 3 * HOUR_MS) == {HOUR: 34, HOUR + 1: 33, HOUR + 2: 33}
    assert by_hour(10, START + 40 * MINUTE, START + 100 * MINUTE) == {HOUR: 3, HOUR + 1: 7}
    assert by_hour(1, START + 59 * MINUTE, START + 60 * MINUTE) == {HOUR: 1}


def test_a_statement_stands_in_the_place_of_what_touches_say():
    """Of its campaign, in its minutes, whatever their channel and currency; elsewhere their own cost counts."""
    known = Knowledge(
        touches=[touch(9.9), touch(10), touch(19.99, currency="USD"), touch(20), touch(15, campaign="autumn")],
        statements=[statement(10, 20, 70)],
    )
    assert count_costs(known, "EUR") == {
        CostKey("Email", "spring", "EUR", HOUR): 20,
        CostKey("Email", "autumn", "EUR", HOUR): 10,
        CostKey("Display", "spring", "EUR", HOUR): 70,
    }


def test_a_statement_of_nothing_covers_too():
    """What was stated as free cost nothing."""
    assert count_costs(Knowledge(touches=[touch(10)], statements=[statement(0, 60, 0)]), "EUR") == {}


def test_a_statement_without_channel_is_its_traffics():
    """And of no channel where there is none."""
    told = [statement(0, 60, 7, channel="", currency="USD")]
    assert list(count_costs(Knowledge(touches=[touch(90)], statements=told), "EUR"))[1:] == [
        CostKey("Email", "spring", "USD", HOUR)
    ]
    assert list(count_costs(Knowledge(statements=told), "EUR")) == [CostKey("Unassigned", "spring", "USD", HOUR)]


def test_ratios_hold_one_currency_s_cost_against_all_counts():
    """Money of one currency alone is compared with money; nothing is divided by zero."""
    traffic = {
        TrafficKey("Email", "spring", "EUR"): Traffic(0, 3, 0, 0, 1_000_000),
        TrafficKey("Email", "autumn", "USD"): Traffic(0, 1, 0, 0, 0),
    }
    credit = {
        CreditKey("linear", "Email", "spring", "USD"): Credit(500_000, 9_000_000),
        CreditKey("linear", "Email", "spring", "EUR"): Credit(1_500_000, 3_000_000),
        CreditKey("last_touch", "Email", "spring", "EUR"): Credit(9_000_000, 9_000_000),
    }
    assert count_ratios(traffic, credit, "linear") == {
        RatioKey("all", "", "EUR"): Ratios(1_000_000, 250_000, None, 500_000, 3_000_000, 2_000_000),
        RatioKey("channel", "Email", "EUR"): Ratios(1_000_000, 250_000, None, 500_000, 3_000_000, 2_000_000),
        RatioKey("campaign", "spring", "EUR"): Ratios(1_000_000, 333_333, None, 500_000, 3_000_000, 2_000_000),
    }
