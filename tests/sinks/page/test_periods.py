"""Periods: bars at round times of a zone, and a period before that is as long as what has passed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.page.periods import PERIODS, window

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe")


def at(text: str, zone: ZoneInfo = BERLIN) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


@given(st.sampled_from(PERIODS), st.integers(1_500_000_000, 2_000_000_000), st.sampled_from(ZONES))
def test_now_lies_in_the_last_bar(period, now, zone):
    """The window ends with the current minute; bars rise; the period before has as many, each a length earlier."""
    found = window(period, now, ZoneInfo(zone))
    assert found.starts[-1] <= now < found.end <= now + 60
    assert found.end % 60 == 0
    assert list(found.starts) == sorted(set(found.starts))
    before = found.before()
    assert before.end - before.start == found.end - found.start
    assert [start - found.length for start in found.starts] == list(before.starts)


def test_bars_stand_still_while_time_passes():
    """Half hours begin at half hours, whatever the minute is."""
    early, late = (window("24h", at(text), BERLIN) for text in ("2026-11-25T14:30:00", "2026-11-25T14:59:59"))
    assert early.starts == late.starts
    assert early.starts[-1] == at("2026-11-25T14:30")
    assert early.start == at("2026-11-24T15:00")
    assert len(early.starts) == 48


def test_days_begin_at_local_midnight():
    """Also those with 23 or 25 hours, as at the end of October in Berlin."""
    found = window("30d", at("2026-11-05T09:00"), BERLIN)
    assert found.starts[-1] == at("2026-11-05T00:00")
    assert found.start == at("2026-10-07T00:00")
    lengths = {later - earlier for earlier, later in zip(found.starts, found.starts[1:], strict=False)}
    assert lengths == {86_400, 90_000}


@pytest.mark.parametrize(("period", "count"), [("1h", 60), ("24h", 48), ("7d", 56), ("30d", 30)])
def test_a_period_covers_what_it_is_called(period, count):
    """To within its last bar, which is filling."""
    now = datetime(2026, 11, 25, 13, 21, 40, tzinfo=UTC).timestamp()
    found = window(period, now, ZoneInfo("UTC"))
    assert len(found.starts) == count
    assert found.length - found.length // count < found.end - found.start <= found.length
