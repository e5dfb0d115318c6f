"""Compiled touches and panes, and the Python code: the same columns, byte for byte, or the same complaints."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.clickhouse import decoders
from sinks.clickhouse.decoders import encode, panes, plain_panes, plain_touches, touches
from tests.fetched import as_fetched
from tests.sinks.samples import Sample, pane, touch

pytestmark = pytest.mark.skipif(decoders.compiled is None, reason="not compiled: no C compiler here")

TEXTS = (
    *("site", "channel", "source", "campaign", "content", "ad_group", "sub1", "variant", "country", "currency"),
    *("event_id", "visitor_id", "click_id", "url", "referrer", "hw_cid", "consent"),
)
SHORT = st.sampled_from(["", "a", "b", "x" * 127, "x" * 128, "é漢", 'a"b', "a\\b", "a\nb", "\x7f", "\U0001d4b3"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(TEXTS, SHORT),
        "type": st.sampled_from(["click", "impression", "landing", "consent", "verdict", "tick", 1, None]),
        "time": st.integers(0, 2**63 - 1) | st.sampled_from([-1, 1.5, "1", None, 10**18, 2**64]),
        "cost_micros": st.integers(-(2**63), 2**63 - 1),
        "valid": st.booleans() | st.sampled_from([None, 1, "true"]),
        "stated": st.booleans(),
        "invalid_reasons": st.lists(SHORT, max_size=4) | st.sampled_from([None, [1], ["bot"] * 70]),
        "said": st.recursive(
            st.none() | st.booleans() | st.integers() | SHORT | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT, inner, max_size=3),
            max_leaves=6,
        ),
    },
)
WHOLE = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-1, 0, 1, 1.5, "1", None, 10**18, 2**64])
MEASURES = st.lists(WHOLE, min_size=6, max_size=6) | st.lists(WHOLE, max_size=7)
PANE_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("site", "channel", "campaign", "variant", "audience", "currency"), SHORT | st.none()),
        "minute": st.integers(0, 80_000_000) | WHOLE,
        **dict.fromkeys(("impressions", "landings", "invalid", "cost_micros"), WHOLE),
        "models": st.dictionaries(SHORT, MEASURES, max_size=3) | st.sampled_from([None, [], {"a": {}}]),
        "said": st.sampled_from([None, {"a": [1, True, {}]}, [[]], "é"]),
    },
)
GONE = st.lists(st.sampled_from([*TEXTS, "type", "time", "valid", "invalid_reasons", "received_at"]), max_size=1)


def records(values: list[bytes | None], topic: str = "touches") -> list[Sample]:
    """Records of these values."""
    return [Sample(topic, value, offset=7 * number) for number, value in enumerate(values)]


def both(values: list[bytes | None], topic: str = "touches") -> tuple[Any, Any]:
    """What comes of the same records with the compiled twin, where it is the same by fetched ones, and without."""
    found = []
    one_by_one = records(values, topic)
    twins = (decoders.compiled, decoders.compiled_panes)
    ways = ((twins, as_fetched(one_by_one)), (twins, one_by_one), ((None, None), one_by_one))
    for (touches_twin, panes_twin), chunk in ways:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoders, "compiled", touches_twin)
            patch.setattr(decoders, "compiled_panes", panes_twin)
            blocks, rejects = encode(topic, chunk, 3, 5)
            found.append((blocks, [(reject.record.offset, reject.error) for reject in rejects]))
    assert found[0] == found[1]
    return found[1], found[2]


def value(fields: dict[str, Any], gone: list[str]) -> bytes:
    """A touch with other fields, and without some."""
    event = touch(**fields)
    for name in gone:
        event.pop(name, None)
    # Not orjson, which writes no number over 64 bits.
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


@given(st.lists(st.tuples(FIELDS, GONE), max_size=12))
@settings(deadline=None)
def test_the_same_columns_and_the_same_complaints(chosen: list[tuple[dict[str, Any], list[str]]]) -> None:
    """Whatever is in the fields, and whichever are missing."""
    compiled, plain = both([value(fields, gone) for fields, gone in chosen])
    assert compiled == plain


@given(st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3), st.integers(0, 3)), max_size=4), FIELDS)
@settings(deadline=None, max_examples=150)
def test_bytes_that_were_spoilt(spots: list[tuple[int, bytes, int]], fields: dict[str, Any]) -> None:
    """Cut, overwritten or inserted anywhere: neighbours come through, and both say the same of it."""
    good = orjson.dumps(touch(said={"a": ["b", 1, None]}, **{k: v for k, v in fields.items() if k in TEXTS}))
    spoilt = good
    for at, put, cut in spots:
        place = at % (len(spoilt) + 1)
        spoilt = spoilt[:place] + put + spoilt[place + cut :]
    compiled, plain = both([good, spoilt, good])
    assert compiled == plain


def test_thousands_of_different_values() -> None:
    """Wide indexes; more rows than the twin takes go the Python way."""
    many = [orjson.dumps(touch(f"e{n}", campaign=f"c{n % 700}", invalid_reasons=[f"r{n % 300}"])) for n in range(8_193)]
    for count in (255, 256, 257, 3_000, 8_192, 8_193):
        chunk = records([None, *many[:count]])
        assert touches(chunk, 1) == plain_touches(chunk, 1)


def test_nothing_but_statements_is_no_row() -> None:
    """Consents and verdicts are the worker's state."""
    values = [orjson.dumps(touch(type=kind)) for kind in ("consent", "verdict")]
    compiled, plain = both(values)
    assert compiled == plain == ([], [])


@given(st.lists(PANE_FIELDS, max_size=8), st.sampled_from([b"", b'"models":{"b":[1,2,3,4,5,6]},', b'"clicks":7,']))
@settings(deadline=None)
def test_panes_are_the_same_columns_and_the_same_complaints(chosen: list[dict[str, Any]], twice: bytes) -> None:
    """Whatever is in the fields, be one there twice."""
    values = [json.dumps(pane(**fields), separators=(",", ":"), ensure_ascii=False).encode() for fields in chosen]
    good = orjson.dumps(pane(models={"linear": [1, -2, 3, 0, 0, 6]}))
    repeated = b"{" + twice + good[1:]
    compiled, plain = both([good, *values, repeated, None], "panes")
    assert compiled == plain
    assert compiled[0]


@given(st.integers(0, 400), st.binary(max_size=2), st.integers(0, 3))
@settings(deadline=None, max_examples=150)
def test_a_pane_that_was_spoilt(at: int, put: bytes, cut: int) -> None:
    """Its neighbours come through, and both say the same of it."""
    good = orjson.dumps(pane(models={"linear": [1, -2, 3, 0, 0, 6], "last_touch": [0] * 6}))
    place = at % (len(good) + 1)
    compiled, plain = both([good, good[:place] + put + good[place + cut :], good], "panes")
    assert compiled == plain


def test_thousands_of_panes_and_models() -> None:
    """More rows, models, or different models than the twin takes go the Python way."""
    many = [orjson.dumps(pane(campaign=f"c{n % 700}", models={f"m{n % 300}": [n] * 6})) for n in range(8_193)]
    full = orjson.dumps(pane(models={f"m{n}": [n] * 6 for n in range(20)}))
    for chunk in (many[:255], many[:256], many[:257], many, [full] * 2, [full] * 2_000):
        taken = records([None, *chunk], "panes")
        assert panes(taken, 1) == plain_panes(taken, 1)


def test_a_pane_lies_in_its_partition() -> None:
    """Stated for all records, or by each: the same columns; and not those of another partition."""
    taken = [Sample("panes", orjson.dumps(pane()), partition=3), Sample("panes", None, partition=3)]
    assert encode("panes", taken, 1) == encode("panes", taken, 1, 3) != encode("panes", taken, 1, 4)
