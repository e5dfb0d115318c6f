"""What becomes of events: hostile bodies, and what links an event to a person."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.collector import intake
from streams.collector.intake import Origin, Unacceptable, is_deeper, read_body
from streams.collector.networks import ip_keeper
from streams.collector.privacy import without_addresses
from tests.collector.conftest import NOW

if TYPE_CHECKING:
    pass

TRUNCATED = ip_keeper("truncated", b"")
ORIGIN = Origin(NOW, "192.0.2.0", "Browser/1", keep_ip=TRUNCATED)


def touch(**fields: Any) -> dict[str, Any]:
    return {"event_id": "e1", "type": "click", "time": NOW - 1000, "site": "shop", "visitor_id": "v1"} | fields


def taken(*events: Any, origin: Origin = ORIGIN) -> list[dict[str, Any]]:
    """The values that are kept of a body."""
    return [json.loads(record.value) for record in read_body(orjson.dumps(events), origin, b"secret").records]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"[" * 100_000, 400, "malformed"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "malformed"),
        (b'{"a":' * 1_500 + b"1" + b"}" * 1_500, 400, "malformed"),
        (b"[" + b"{}," * 100_000 + b"{}]", 413, "too_large"),
        (b"[" + b"[]," * 2_600_000 + b"[]]", 413, "too_large"),
        (b'{"a":[' + b"0," * 3_900_000 + b"0]}", 413, "too_large"),
        (b"1" * 1_000_000, 400, "malformed"),
        (b'"' + b"\\" * 1_000_001, 400, "malformed"),
        (b'{"a":"\\ud800"}', 400, "malformed"),
    ],
    ids=["open", "deep", "deep objects", "many events", "many arrays", "many numbers", "number", "text", "surrogate"],
)
def test_hostile_bodies(body: bytes, status: int, reason: str) -> None:
    """Refused as a whole, and cheaply: in memory none becomes several times its size."""
    tracemalloc.start()
    try:
        with pytest.raises(Unacceptable) as caught:
            read_body(body, ORIGIN, b"s")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (caught.value.status, caught.value.refusal.reason) == (status, reason)
    assert peak < 40_000_000


def test_many_values_in_an_honest_body() -> None:
    """The largest array with as many fields as anyone has is taken."""
    events = [touch(event_id=f"e{number}", **{f"f{name}": name for name in range(300)}) for number in range(500)]
    assert len(taken(*events)) == 500


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"extra": json.loads("[" * 20 + "]" * 20)}, "nested more than 16 deep"),
        ({"time": 10**18}, "time"),
        ({"time": 1e300}, "time"),
        ({"time": -1}, "time"),
        ({"time": True}, "time"),
        ({"cost": 1e300}, "cost"),
        ({"cost": "1e5"}, "cost"),
        ({"cost": "9" * 30}, "cost"),
        ({"cost": -1}, "cost"),
        ({"event_id": "x" * 65}, "event_id"),
        ({"event_id": 7}, "event_id"),
        ({"visitor_id": ["v1"]}, "visitor_id"),
        ({"url": "x" * 9_000}, "url"),
        ({"user_agent": {"a": 1}}, "user_agent"),
        ({"ip": ["192.0.2.1"]}, "ip"),
        ({"type": "__proto__"}, "type"),
        ({"type": ["click"]}, "type"),
        ({"consent": "maybe"}, "consent"),
    ],
)
def test_hostile_fields(fields: dict[str, Any], detail: str) -> None:
    """Refused by itself, with the field's name."""
    found = read_body(orjson.dumps([touch(**fields), touch(event_id="e2")]), ORIGIN, b"s")
    assert [record.key for record in found.records] == ["v1"]
    [rejected] = found.rejected
    assert (rejected["index"], rejected["reason"]) == (0, "schema")
    assert detail in rejected["detail"]
    assert len(rejected["detail"]) < 400


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 400, "NaN", "Infinity", "0x10", "01"])
def test_huge_numbers(number: str) -> None:
    """In JSON's own words; none stops its neighbours or us."""
    for name in ("time", "cost", "other"):
        body = f'{{"event_id":"e","type":"click","time":{NOW},"site":"s","visitor_id":"v","{name}":{number}}}'
        try:
            found = read_body(body.encode(), ORIGIN, b"s")
        except Unacceptable as error:
            assert error.refusal.reason == "malformed"  # noqa: PT017 - either way it is refused or kept
        else:
            assert len(found.records) + len(found.rejected) == 1


@settings(max_examples=40)
@given(st.recursive(st.none() | st.text(max_size=3), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_depth(value: object) -> None:
    """As a slow measure has it."""

    def depth(part: object) -> int:
        if not isinstance(part, list | dict):
            return 0
        inner = part.values() if isinstance(part, dict) else part
        return 1 + max(map(depth, inner), default=0)

    assert all(is_deeper(value, levels) == (depth(value) > levels) for levels in range(5))


def test_the_last_of_repeated_names_counts() -> None:
    """What was judged is what is kept: the value is written anew."""
    body = json.dumps(touch()).replace('"site"', '"site":"evil","site"')
    [record] = read_body(body.encode(), ORIGIN, b"s").records
    assert record.value.count(b'"site"') == 1


@pytest.mark.parametrize("mode", ["truncated", "hashed", "none"])
async def test_no_whole_address_reaches_kafka(mode: Any) -> None:
    """Neither the request's nor a stated one, neither where it is accepted nor where it is refused."""
    keep = ip_keeper(mode, b"key")
    origin = Origin(NOW, keep("198.51.100.77"), None, keep_ip=keep)
    bodies = [
        orjson.dumps([touch(ip="203.0.113.99"), touch(ip="203.0.113.99", time="never"), touch()]),
        orjson.dumps(touch(ip="203.0.113.99", site=""), option=orjson.OPT_INDENT_2),
        b'[{"ip" : "203.0.113.99"}, 7]',
    ]
    for body in bodies:
        found = read_body(body, origin, b"s")
        kept = [record.value for record in (*found.records, *found.dead_letters)]
        assert kept
        assert not any(b"203.0.113.99" in value or b"198.51.100.77" in value for value in kept)
    refused = intake.dead_letter(
        b'{"ip":"203.0.113.99","a":', Unacceptable(400, intake.Refused("malformed", "x")).refusal, origin
    )
    assert b"203.0.113.99" not in refused.value


@given(st.binary(max_size=60) | st.text(st.sampled_from('"ip:1.{}\\u0 \n'), max_size=60).map(str.encode))
def test_only_addresses_are_changed(text: bytes) -> None:
    """Of what is refused; what holds none stays as it came, byte by byte."""
    if b'"ip"' not in text:
        assert without_addresses(text, TRUNCATED) == text
    without_addresses(b'{"ip":"' + text, TRUNCATED)
    assert without_addresses(b'{"zip":"1.2.3.4","tip":"1.2.3.4"}', TRUNCATED).count(b"1.2.3.4") == 2


@pytest.mark.parametrize("kind", ["click", "impression", "landing", "conversion"])
def test_denied(kind: str) -> None:
    """Nothing that links an event to a person or to another event of theirs; the same again on a retry."""
    stated = touch(
        type=kind, action="purchase", consent="denied", user_id="u", click_id="c", ip="203.0.113.99", order_id="o1"
    )
    first, again, other = taken(stated, stated, stated | {"event_id": "e2"}, origin=ORIGIN._replace(keep_ip=str))
    assert first == again
    assert len({"v1", first["visitor_id"], other["visitor_id"]}) == 3
    assert not {"user_id", "click_id", "ip"} & first.keys()


@pytest.mark.parametrize(
    ("fields", "opted_out"),
    [
        ({"consent": "denied", "time": "never"}, False),
        ({"time": "never"}, True),
        ({"type": "odd"}, True),
        ({"pad": "x" * 70_000}, True),
        ({"deep": json.loads("[" * 300 + "]" * 300)}, True),
    ],
)
def test_denied_and_refused(fields: dict[str, Any], *, opted_out: bool) -> None:
    """What is kept of it names nobody, and is a denial when it is replayed."""
    stated = touch(user_id="the-user", visitor_id="the-visitor", click_id="the-click", ip="203.0.113.99") | fields
    for body in (stated, [stated, 7]):
        found = read_body(json.dumps(body).encode(), ORIGIN._replace(opted_out=opted_out, keep_ip=str), b"s")
        value = found.dead_letters[0].value
        assert not found.records
        assert b"the-" not in value
        assert b"203.0.113.99" not in value
        assert value == b"{}" or json.loads(value)["consent"] == "denied"


def test_a_denial_that_is_refused_names_its_visitor() -> None:
    """It is about that very visitor; its bytes are kept as they came."""
    body = json.dumps(touch(type="consent", consent="denied", time="never")).encode()
    assert [record.value for record in read_body(body, ORIGIN, b"s").dead_letters] == [body]


def test_opted_out_is_denied() -> None:
    """Global Privacy Control, whatever the event says; but a visitor's own statement of consent stands."""
    origin = ORIGIN._replace(opted_out=True)
    granted = touch(consent="granted")
    assert taken(granted, origin=origin)[0]["consent"] == "denied"
    assert taken(granted, origin=origin)[0]["visitor_id"] != "v1"
    [own] = taken(touch(type="consent", consent="granted"), origin=origin)
    assert (own["consent"], own["visitor_id"]) == ("granted", "v1")


def test_refusals_of_strangers_cost_no_more_than_they_bring() -> None:
    """What is answered to the worst body is not larger than the body allows."""
    answer = read_body(b"[" + b",".join([b"7"] * 500) + b"]", ORIGIN, b"s").rejected
    assert len(orjson.dumps(answer)) < 50_000
