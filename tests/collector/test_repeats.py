"""When a message came first."""

from __future__ import annotations

from streams.collector.repeats import HELD_MS, Repeats

NOW = 1_790_000_000_000


def test_the_first_time_holds() -> None:
    """For as long as a signature can be in force, whatever our clock says of the time between."""
    repeats = Repeats()
    assert [repeats.first("a", NOW), repeats.first("a", NOW + 5), repeats.first("a", NOW + HELD_MS)] == [NOW] * 3
    assert repeats.first("b", NOW + 5) == NOW + 5
    assert repeats.first("a", NOW + HELD_MS + 1) == NOW + HELD_MS + 1


def test_memory_is_bounded() -> None:
    """The oldest are forgotten first; one that came again late is young again."""
    repeats = Repeats(3)
    for number, name in enumerate("abc"):
        repeats.first(name, NOW + number)
    repeats.first("a", NOW + HELD_MS + 10)
    repeats.first("d", NOW + HELD_MS + 11)
    assert len(repeats._seen) == 3
    assert repeats.first("a", NOW + HELD_MS + 12) == NOW + HELD_MS + 10
    assert repeats.first("b", NOW + HELD_MS + 13) == NOW + HELD_MS + 13
