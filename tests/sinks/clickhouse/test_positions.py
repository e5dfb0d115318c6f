"""ClickHouse's own positions: they vouch for all that lies below, or are not written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse import positions
from sinks.clickhouse.positions import Behind, Span, Start, start_of
from sinks.clickhouse.server import Server

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("first", "committed", "held", "start"),
    [
        # Nobody has read yet: all there is, and what is gone by now was nobody's.
        (0, None, None, Start(0, 0, 0, begins=False)),
        (7, None, None, Start(7, 0, 0, begins=True)),
        # Both sides agree, or the commit to Kafka was lost, or an operator reset it: from there.
        (0, 9, 9, Start(9, 0, 0, begins=False)),
        (0, 5, 9, Start(5, 0, 0, begins=False)),
        (3, None, 9, Start(3, 0, 0, begins=False)),
        # ClickHouse holds less: a backup, or nothing.
        (0, 9, 5, Start(5, 4, 0, begins=False)),
        (0, 9, None, Start(0, 9, 0, begins=False)),
        # And Kafka does not keep what is missing any more.
        (7, 9, 5, Start(7, 2, 2, begins=True)),
        (7, 9, None, Start(7, 2, 7, begins=True)),
        (7, 5, 5, Start(7, 0, 2, begins=True)),
        (7, None, 5, Start(7, 0, 2, begins=True)),
    ],
)
def test_reading_begins_where_both_sides_are(first: int, committed: int | None, held: int | None, start: Start) -> None:
    """The smaller of both, but not before the log's start; what nobody has any more is counted."""
    assert start_of(first, committed, held) == start


OFFSET = st.integers(0, 50)


@given(OFFSET, st.none() | OFFSET, st.none() | OFFSET)
def test_nothing_is_passed_over_in_silence(first: int, committed: int | None, held: int | None) -> None:
    """Whatever ClickHouse lacks below the start is counted as gone, unless nobody ever had anything."""
    start = start_of(first, committed, held)
    has = held or 0
    assert start.offset >= first
    assert committed is None or start.offset <= max(first, committed)
    assert start.begins == (has < start.offset)
    if committed is not None or held is not None:
        assert start.gone == max(0, first - has)
        assert start.offset - has <= start.gone


async def advance(server: Server, spans: list[Span]) -> None:
    """As the writer does it, once the rows are in."""
    positions.check(await positions.read(server), spans)
    await positions.write(server, spans)


async def test_a_position_goes_on_from_the_one_before(server: Server) -> None:
    """For each partition by itself; what was held is never less by a batch that comes again."""
    assert await positions.read(server) == {}
    await advance(server, [Span("touches", 1, 0, 0, 10), Span("touches", 1, 1, 0, 5)])
    await advance(server, [Span("touches", 1, 0, 10, 20), Span("panes", 1, 0, 0, 3)])
    await advance(server, [Span("touches", 1, 0, 0, 10), Span("touches", 1, 1, 2, 7)])
    assert await positions.read(server) == {("touches", 1, 0): 20, ("touches", 1, 1): 7, ("panes", 1, 0): 3}


async def test_a_gap_is_not_written_over(server: Server) -> None:
    """The partitions that lack something are named, nothing is written; another generation begins anew."""
    await advance(server, [Span("touches", 1, 0, 0, 10), Span("touches", 1, 1, 0, 10)])
    with pytest.raises(Behind) as behind:
        await advance(server, [Span("touches", 1, 0, 10, 12), Span("touches", 1, 1, 11, 12)])
    assert behind.value.spans == [Span("touches", 1, 1, 11, 12)]
    assert behind.value.held == await positions.read(server) == {("touches", 1, 0): 10, ("touches", 1, 1): 10}
    with pytest.raises(Behind):
        await advance(server, [Span("touches", 2, 1, 5, 9)])
    await positions.begin(server, "touches", 2, 1, 5)
    await advance(server, [Span("touches", 2, 1, 5, 9)])
    assert (await positions.read(server))["touches", 2, 1] == 9


async def test_thousands_of_partitions_fit(server: Server) -> None:
    """In one statement."""
    spans = [Span(topic, 1, number, 0, 2**40) for topic in ("touches", "orders", "panes") for number in range(1024)]
    await advance(server, spans)
    assert len(await positions.read(server)) == len(spans)
