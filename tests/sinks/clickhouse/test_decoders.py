"""Decoders: a bad record stands alone."""

from __future__ import annotations

from typing import Any

import pytest

from sinks.clickhouse.decoders import DECODERS, encode
from tests.sinks.samples import LETTER_HEADERS, Sample, as_json, attribution, pane, spend, touch

GOOD: dict[str, dict[str, Any]] = {
    "touches": touch(),
    "attributions": attribution(),
    "panes": pane(models={"linear": [1, 2, 3, 4, 5, 6]}),
    "spend": spend(),
}


@pytest.mark.parametrize("topic", GOOD)
def test_one_block_a_chunk(topic: str) -> None:
    """Good records of a topic make one block."""
    blocks, rejected = encode(topic, [Sample(topic, as_json(GOOD[topic]), offset=number) for number in range(9)], 1)
    assert [(block.rows, len(rejected)) for block in blocks] == [(9, 0)]


@pytest.mark.parametrize("topic", GOOD)
@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b"1", b"{}", b'"text"', b"null"])
def test_a_bad_record_does_not_taint_its_neighbours(topic: str, broken: bytes) -> None:
    """All others get through; the bad one is named with its error."""
    records = [Sample(topic, as_json(GOOD[topic]), offset=number) for number in range(20)]
    records[7] = Sample(topic, broken, offset=7)
    blocks, rejected = encode(topic, records, 1)
    assert sum(block.rows for block in blocks) == 19
    assert [reject.record.offset for reject in rejected] == [7]
    assert rejected[0].error


@pytest.mark.parametrize("topic", GOOD)
def test_every_field_of_a_wrong_type_is_refused(topic: str) -> None:
    """Each field that is taken, replaced by a value of another type or taken away, makes its record a bad one."""
    ignored = {"received_at", "cause"}
    for name in GOOD[topic].keys() - ignored:
        record = Sample(topic, as_json({**GOOD[topic], name: {"a": 1.5}}))
        blocks, rejected = encode(topic, [record], 1)
        assert (len(blocks), len(rejected)) == (0, 1), name
        missing = {key: value for key, value in GOOD[topic].items() if key != name}
        assert len(encode(topic, [Sample(topic, as_json(missing))], 1)[1]) == 1, name


def test_a_credit_of_no_touch_is_refused() -> None:
    """An index beyond the list would show an empty touch."""
    record = Sample("attributions", as_json(attribution(credits={"linear": [[1, 1_000_000, 1]]})))
    assert "an index beyond touches" in encode("attributions", [record], 1)[1][0].error


@pytest.mark.parametrize("topic", DECODERS)
def test_tombstones_are_passed_over(topic: str) -> None:
    """The state forgot it; analysts keep their row. A dead letter may be empty bytes of its own."""
    blocks, rejected = encode(topic, [Sample(topic, None, headers=LETTER_HEADERS)], 1)
    assert rejected == []
    assert [block.rows for block in blocks] == ([1] if topic == "dead-letters" else [])


def test_consents_and_verdicts_among_touches_are_no_rows() -> None:
    """They are the worker's state; the touches around them get through, and a broken one is still found."""
    others: list[dict[str, Any]] = [{"type": "consent", "consent": "denied"}, {"type": "verdict", "valid": False}]
    values = [touch(), *others, touch(), {**touch(), "cost_micros": "much"}]
    records = [Sample("touches", as_json(value), offset=number) for number, value in enumerate(values)]
    blocks, rejected = encode("touches", records, 1)
    assert sum(block.rows for block in blocks) == 2
    assert [reject.record.offset for reject in rejected] == [4]
