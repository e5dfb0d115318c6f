"""The compiled touches and the Python code, held against each other: the same columns, byte for byte, or complaints."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.clickhouse import decoders
from sinks.clickhouse.decoders import encode, plain_touches, touches
from tests.sinks.samples import Sample, touch

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
GONE = st.lists(st.sampled_from([*TEXTS, "type", "time", "valid", "invalid_reasons", "received_at"]), max_size=1)


def records(values: list[bytes | None]) -> list[Sample]:
    """Records of these values."""
    return [Sample("touches", value, offset=7 * number) for number, value in enumerate(values)]


def both(values: list[bytes | None]) -> tuple[Any, Any]:
    """What comes of the same records with and without the compiled twin."""
    found = []
    for module in (decoders.compiled, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoders, "compiled", module)
            blocks, rejects = encode("touches", records(values), 3)
            found.append((blocks, [(reject.record.offset, reject.error) for reject in rejects]))
    return found[0], found[1]


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
    many = [orjson.dumps(touch(f"e{n}", campaign=f"c{n % 700}", invalid_reasons=[f"r{n % 300}"])) for n in range(5_000)]
    for count in (255, 256, 257, 3_000, 4_096, 4_097, 5_000):
        chunk = records([None, *many[:count]])
        assert touches(chunk, 1) == plain_touches(chunk, 1)


def test_nothing_but_statements_is_no_row() -> None:
    """Consents and verdicts are the worker's state."""
    values = [orjson.dumps(touch(type=kind)) for kind in ("consent", "verdict")]
    compiled, plain = both(values)
    assert compiled == plain == ([], [])
