"""Native format: what is written is what ClickHouse reads, and nothing is quietly changed."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse import native
from sinks.clickhouse.native import Block


def read_texts(data: bytes) -> list[bytes]:
    """The slow and obvious reader of a String column."""
    found, at = [], 0
    while at < len(data):
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(data[at : at + size])
        at += size
    return found


@given(st.lists(st.text() | st.text(min_size=120, max_size=300)))
def test_texts_are_length_and_bytes(values: list[str]) -> None:
    """Any text, short or long, ASCII or not."""
    assert read_texts(native.texts(values)) == [value.encode() for value in values]


@given(st.lists(st.binary(max_size=40)))
def test_binaries_are_length_and_bytes(values: list[bytes]) -> None:
    """Any bytes."""
    assert read_texts(native.binaries(values)) == values


def test_long_values() -> None:
    """Lengths of three bytes."""
    assert read_texts(native.binaries([b"x" * 20_000])) == [b"x" * 20_000]


@pytest.mark.parametrize("value", [None, 1, b"x", ["x"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    """Never turned into one."""
    with pytest.raises((TypeError, AttributeError)):
        native.texts(["a", value])  # type: ignore[list-item]
    with pytest.raises((TypeError, AttributeError)):
        native.low_cardinality(["a", value])  # type: ignore[list-item]


@pytest.mark.parametrize("value", [1 << 63, 1.5, "1", None])
def test_what_is_no_integer_in_range_is_refused(value: object) -> None:
    """Neither rounded nor wrapped."""
    with pytest.raises((TypeError, OverflowError)):
        native.integers("q", [value])  # type: ignore[list-item]


def test_only_booleans_are_flags() -> None:
    """1 is not true."""
    with pytest.raises(TypeError, match="not a boolean"):
        native.booleans([True, 1])  # type: ignore[list-item]


def test_columns_of_unequal_length_are_refused() -> None:
    """A block is a rectangle."""
    with pytest.raises(ValueError, match="site: 1 values for 2 rows"):
        Block("t", 2).low("site", ["a"])
    with pytest.raises(ValueError, match="2 values for arrays of 3"):
        Block("t", 2).text_array("a", [1, 2], ["x", "y"])


@pytest.mark.parametrize("distinct", [1, 256, 257, 65_536, 65_537])
def test_low_cardinality_at_each_width_of_index(client: Client, distinct: int) -> None:
    """Indexes of one, two and four bytes; several blocks in one body; empty arrays."""
    client.command("CREATE TABLE w (a LowCardinality(String), b Array(LowCardinality(String)), n UInt32) ORDER BY n")
    bodies = []
    for start in (0, 100_000):
        values = [f"v{number}" for number in range(distinct)]
        block = Block("w", distinct)
        block.low("a", values)
        block.low_array("b", [0] * distinct if start else [1] * distinct, [] if start else values)
        block.number("n", "UInt32", [start + number for number in range(distinct)])
        bodies.append(block.encoded().body)
    client.raw_insert("w", ["a", "b", "n"], b"".join(bodies), fmt="Native")
    right = client.query("SELECT countIf(a = 'v' || toString(n % 100000) AND b = if(n < 100000, [a], [])) FROM w")
    assert right.first_row == (2 * distinct,)
