"""Periods: days of a time zone, and the period before."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import ConfigurationError
from sinks.clickhouse.reports import Asked, spans

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 13, 30, 40, tzinfo=UTC)  # 14:30 in Berlin


def told(asked: Asked, zone: ZoneInfo = BERLIN, now: datetime = NOW) -> list[str]:
    """Both ends of the period and of the compared one, as local times."""
    span, before = spans(asked, zone, now)
    ends = [span.start, span.end] + ([before.start, before.end] if before else [])
    return [f"{end:%m-%d %H:%M}" for end in ends]


def test_the_default_is_a_week_with_today_and_the_week_before_as_far():
    """Today counts as the seventh day; the week before is cut at the same time of day."""
    assert told(Asked()) == ["11-19 00:00", "11-26 00:00", "11-12 00:00", "11-18 14:31"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(last="24h"), ["11-24 14:31", "11-25 14:31", "11-23 14:31", "11-24 14:31"]),
        (Asked(last="90m"), ["11-25 13:01", "11-25 14:31", "11-25 11:31", "11-25 13:01"]),
        (Asked(last="2w", compare="none"), ["11-12 00:00", "11-26 00:00"]),
        (Asked(last="3d", until="2026-11-10"), ["11-08 00:00", "11-11 00:00", "11-05 00:00", "11-08 00:00"]),
        (Asked("2026-11-01", "2026-11-01"), ["11-01 00:00", "11-02 00:00", "10-31 00:00", "11-01 00:00"]),
        (Asked("2026-11-20"), ["11-20 00:00", "11-26 00:00", "11-14 00:00", "11-19 14:31"]),
        (Asked("2026-11-01T10:00", "2026-11-01T12:30", compare="none"), ["11-01 10:00", "11-01 12:30"]),
        (Asked("2026-11-01T10:00Z", "2026-11-02", compare="none"), ["11-01 11:00", "11-03 00:00"]),
        (
            Asked("2026-11-01", "2026-11-02", compare="2025-11-01..2025-11-02"),
            ["11-01 00:00", "11-03 00:00", "11-01 00:00", "11-03 00:00"],
        ),
    ],
)
def test_what_can_be_asked_for(asked, expected):
    """Days include the last one, hours end now, moments end before their end."""
    assert told(asked) == expected


def test_days_are_of_the_calendar_where_the_clocks_change():
    """25 October 2026 has 25 hours in Berlin; the day before it is one day before, not 25 hours."""
    span, before = spans(Asked("2026-10-25", "2026-10-25"), BERLIN, NOW)
    assert span.seconds[1] - span.seconds[0] == 25 * 3600
    assert before is not None
    assert before.seconds == (span.seconds[0] - 24 * 3600, span.seconds[0])


def test_hours_are_of_the_clock_that_never_jumps():
    """24 hours over a change of clocks are 24 hours."""
    span, before = spans(Asked(last="24h"), BERLIN, datetime(2026, 10, 25, 11, tzinfo=UTC))
    assert before is not None
    assert [end - start for start, end in (span.seconds, before.seconds)] == [24 * 3600, 24 * 3600]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (Asked("2026-11-01", last="7d"), "choose one"),
        (Asked(last="7"), "--last '7'"),
        (Asked(last="500d"), "at most 400d"),
        (Asked("yesterday"), "--from 'yesterday'"),
        (Asked("2026-11-31"), "--from '2026-11-31'"),
        (Asked("2026-11-10", "2026-11-09"), "ends (2026-11-10 00:00) before it begins"),
        (Asked("2024-01-01"), "longer than 400 days"),
        (Asked(compare="last year"), "--compare 'last year'"),
        (Asked(compare="2026-01-02..2026-01-01T12:00"), "ends before it begins"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(asked, line):
    """And names the option."""
    with pytest.raises(ConfigurationError) as error:
        spans(asked, BERLIN, NOW)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
