"""What the demo shows of what was measured."""

from __future__ import annotations

from rich.console import Console

from streams.cli.demo_tables import channel_tables, cost_table
from streams.simulator.compare import Measured
from streams.simulator.spent import RatioKey, Ratios
from streams.simulator.truth import Credit, CreditKey, Traffic, TrafficKey

FOUND = Measured(
    credits={},
    kpis={
        CreditKey("last_non_direct", "Display", "c", "EUR"): Credit(4_000_000, 90_000_000),
        CreditKey("last_non_direct", "Direct", "", "USD"): Credit(1_000_000, 5_000_000),
    },
    traffic={
        TrafficKey("Display", "c", "EUR"): Traffic(1000, 100, 60, 2, 30_000_000),
        TrafficKey("Direct", "", "EUR"): Traffic(0, 0, 40, 0, 0),
    },
    costs={},
    ratios={
        RatioKey("all", "", "EUR"): Ratios(31_500_000, 315_000, 31_500_000, 6_300_000, 2_857_143, 1_857_143),
        RatioKey("all", "", "USD"): Ratios(2_000_000, 20_000, 2_000_000, 400_000, 2_500_000, 1_500_000),
        RatioKey("channel", "Audio", "EUR"): Ratios(1_500_000, None, None, None, 0, -1_000_000),
        RatioKey("channel", "Display", "EUR"): Ratios(30_000_000, 300_000, 30_000_000, 7_500_000, 3_000_000, 2_000_000),
        RatioKey("campaign", "c", "EUR"): Ratios(30_000_000, 300_000, 30_000_000, 7_500_000, 3_000_000, 2_000_000),
    },
    statuses={},
    touches=0,
    unmatched=0,
    dead_letters={},
)


def shown(*tables, width: int = 120) -> list[list[str]]:
    """The words of each line."""
    console = Console(width=width, record=True, force_terminal=False)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
    return [line.split() for line in captured.get().splitlines() if line.strip()]


def test_costs_by_channel_and_of_all():
    """The dearest first; what is no number is a dash; other currencies are named beside."""
    lines = shown(cost_table(FOUND, "EUR"))
    assert ["channel", "EUR", "CPC", "CPM", "CPA", "ROAS", "ROI"] in lines
    display, audio, total = (next(line for line in lines if line[0] == name) for name in ("Display", "Audio", "all"))
    assert display[1:] == ["30.00", "0.30", "30.00", "7.50", "3.00", "200", "%"]
    assert audio[1:] == ["1.50", "-", "-", "-", "0.00", "-100", "%"]
    assert total[2:] == ["31.50", "0.32", "31.50", "6.30", "2.86", "186", "%"]
    assert lines.index(display) < lines.index(audio) < lines.index(total)
    assert [word for line in lines[-2:] for word in line][-3:] == ["besides", "USD", "2.00"]


def test_channels_in_one_table_or_in_two():
    """As wide as the screen is; the same figures."""
    wide, narrow = shown(*channel_tables(FOUND, "EUR", 120)), shown(*channel_tables(FOUND, "EUR", 80), width=80)
    (display,) = [line for line in wide if line[0] == "Display"]
    assert display[1:6] == ["160", "4.00", "2.50", "%", "90.00"]
    left, right = [line for line in narrow if line[0] == "Display"]
    assert left[1:] + right[1:] == display[1:]
