"""Packed state values come back byte for byte, whatever they are; the compiled code packs as the Python code does."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from schemas.compiled import compiled_twin
from schemas.errors import StateError
from schemas.records import ADAPTERS
from schemas.topics import STATE
from streams.core.state import FORMAT
from streams.worker import packing

compiled = compiled_twin("streams.worker._packing")

TOUCH = orjson.dumps({
    "cost_micros": 250_000, "event_id": "0192f0c1-7d3e-7c4b-9a6e-3f1c2b7a9d55", "site": "shop.example",
    "time": 1_789_999_400_003, "type": "click", "visitor_id": "u-4711", "url": "https://shop.example/?gclid=Cj0K&x=%20",
    "fp": "6ed2a2a4fa424bf5", "received_at": 1_789_999_400_023, "evidence": "f30573330d940170",
    "channel": "Paid Search", "source": "google", "medium": "cpc", "campaign": 'söckchen "%"', "content": "",
    "term": "", "internal": False, "stated": True, "currency": "EUR",
    "said": {"source": "google", "medium": "cpc", "campaign": 'söckchen "%"', "currency": "EUR"},
    "invalid_reasons": [], "valid": True,
    "extra": {"unknown": [1, -5, 0.25, None, "deadbeef", {"": {}}], "time": 12},
})  # fmt: skip
"""A record with something of each kind."""

texts = st.one_of(
    st.sampled_from([*packing.TEXTS, *packing.NAMES, "", "DEADBEEF", "deadbee", "0-0", "a" * 95, "a" * 96, "a" * 300]),
    st.uuids().map(str),
    st.binary(max_size=70).map(bytes.hex),
    st.text(max_size=120),
)
numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-300, 300),
    st.integers(2**40 - 2, 2**41),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.one_of(texts, numbers, st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.one_of(st.sampled_from(packing.NAMES), texts), inner, max_size=8),
    ),
    max_leaves=40,
)
objects = st.dictionaries(st.one_of(st.sampled_from(packing.NAMES), texts), values, max_size=8)


def dumps(value: object) -> bytes:
    """JSON as compact as orjson's, of numbers of any size."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


@st.composite
def spoilt(draw: st.DrawFn, source: bytes) -> bytes:
    """`source` with some bytes changed, left out or put in."""
    found = bytearray(source)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(found)))
        put_in = st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b"{", b"]"])
        found[at : at + draw(st.integers(0, 2))] = draw(put_in)
    return bytes(found)


def unpacked(stored: bytes, module: object = packing) -> bytes | str:
    """What comes out, or that nothing does."""
    try:
        return module.unpack(stored)
    except StateError as error:
        return str(error)


def agree(value: bytes) -> bytes:
    """`value` packed: it comes back, and the compiled code does the same."""
    stored = packing.pack(value)
    assert packing.unpack(stored) == value
    if compiled is not None:
        assert compiled.pack(value) == stored
        assert compiled.unpack(stored) == value
    return stored


@given(value=objects)
def test_every_object_is_packed(value):
    """Of any fields, texts and numbers, within each other; numbers come back as they were written."""
    assert agree(dumps(value))[0] == packing.PACKED


@given(value=st.binary(max_size=40) | spoilt(TOUCH))
@example(b"")
@example(b"\x01")
@example(b"\x02\x02")
@example(b"{}")
@example(b"{ }")
@example(b'{"a":1,}')
@example(b'{"a":01,"b":-0,"c":1E5,"d":tru,"e":-,"f":000000000000000001}')
@example(b'{"a":"\\"}')
@example(b'{"a":"\\')
@example(b'{"time":999999999999999999,"to":1099511627775,"from":1099511627776}')
@example(b'{"time":1000000000000000000}')
def test_any_bytes_come_back(value):
    """JSON or not, whole or cut off: marks and what never should be there too."""
    agree(value)


@pytest.mark.parametrize("depth", [1, 11, 12, 13, 40])
def test_what_is_too_deep_is_kept_as_it_is(depth):
    """Nothing is packed that could not be unpacked."""
    value = b'{"extra":' * depth + b"[]" + b"}" * depth
    assert (agree(value)[0] == packing.PACKED) == (depth < packing.DEPTH)


@given(stored=st.binary(max_size=60).map(lambda rest: b"\x01" + rest) | spoilt(packing.pack(TOUCH)))
@example(b"\x01\x16" + b"\x6a" + b"\xff" * 9 + b"\x01\xff")
@example(b"\x01\x16" + b"\x6a" + b"\xff" * 9 + b"\x02\xff")
@example(b"\x01\x16" + b"\x6c" + b"\xff" * 9 + b"\x01\xff")
def test_broken_entries_are_told(stored):
    """They are no record's fault and no crash: the state is to be thrown away. Twins take the same ones."""
    found = unpacked(stored)
    assert found.startswith("an entry of the state is broken") if isinstance(found, str) else True
    if compiled is not None:
        assert unpacked(stored, compiled) == found


@pytest.mark.parametrize("end", range(1, len(packing.pack(TOUCH))))
def test_what_is_cut_off_is_broken(end):
    """Wherever."""
    assert isinstance(unpacked(packing.pack(TOUCH)[:end]), str)


def test_a_touch_takes_less_than_half():
    """It bears names, hashes and moments, and says some things twice."""
    assert len(agree(TOUCH)) < 0.45 * len(TOUCH)


def test_a_large_value_comes_back():
    """An attribution of hundreds of touches; what is unpacked can be many times larger."""
    agree(dumps({"touches": [{"invalid_reasons": [], "last_changed_at": 0, "value_reported_micros": 0}] * 5_000}))


def test_all_fields_of_state_records_have_numbers():
    """A name that is not in the table is kept as it is, and takes its room in each record."""

    def names(schema: object) -> set[str]:
        if isinstance(schema, list):
            return set().union(*map(names, schema))
        if not isinstance(schema, dict):
            return set()
        found = set(schema.get("properties", ())) if isinstance(schema.get("properties"), dict) else set()
        return found.union(*map(names, schema.values()))

    stated = set().union(*(names(ADAPTERS[topic].json_schema()) for topic in STATE))
    assert stated - set(packing.NAMES) == set()


def test_tables_belong_to_the_format():
    """Who changes what a packed value is makes FORMAT another one, and then this."""
    said = "|".join([*packing.NAMES, "", *packing.TEXTS]).encode() + packing.pack(TOUCH)
    assert (FORMAT, xxh3_64_hexdigest(said)) == (4, "dd65f7538f7262a6")
    assert len(packing.NAMES) < packing.OTHER_NAME
    assert packing.KNOWN + len(packing.TEXTS) <= packing.SMALL
