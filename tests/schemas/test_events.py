"""What a producer may send: every field's type and range (contract, section 2)."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Refused
from schemas.events import MAX_TIME_MS, parse_json, read_event, read_money, read_time
from tests.reference.events import T0
from tests.reference.money import micros
from tests.reference.shop import adjustment, click, consent, purchase, verdict

COST = {"event_id": "m", "site": "s", "campaign": "c", "time": T0, "cost": "1", "from": T0, "to": T0 + 1}


def refused(event, topic=None):
    """(reason, detail) of a refusal."""
    with pytest.raises(Refused) as caught:
        read_event(event, topic)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize(
    "event",
    [
        click("a"),
        consent("a", "denied"),
        verdict("a", "b"),
        purchase(),
        adjustment("a", "reject"),
        {**COST, "type": "cost"},
    ],
)
@pytest.mark.parametrize("name", ["event_id", "time", "site"])
def test_common_fields_are_required(event, name):
    """Missing, null and empty are the same: no statement."""
    for value in (..., None, ""):
        changed = {key: item for key, item in event.items() if key != name} | ({} if value is ... else {name: value})
        assert refused(changed) == ("schema", f"{name}: missing")


@pytest.mark.parametrize(
    ("event", "name", "most"),
    [
        (click("a"), "event_id", 64),
        (click("a"), "site", 64),
        (click("a"), "visitor_id", 128),
        (click("a"), "user_id", 128),
        (click("a"), "campaign", 256),
        (click("a"), "url", 8192),
        (click("a"), "user_agent", 2048),
        (purchase(), "action", 64),
        (purchase(), "order_id", 128),
        (verdict("a", "b"), "touch_event_id", 64),
    ],
)
def test_texts_have_a_longest_length_in_characters(event, name, most):
    """Exactly that many are taken, of any script."""
    assert read_event(event | {name: "\U0001d4b3" * most})[name] == "\U0001d4b3" * most
    assert refused(event | {name: "x" * (most + 1)})[0] == "schema"


@pytest.mark.parametrize(
    ("event", "name", "value"),
    [
        (click("a"), "event_id", 7),
        (click("a"), "visitor_id", True),
        (click("a"), "time", True),
        (click("a"), "time", 1.5),
        (click("a"), "time", -1),
        (click("a"), "time", MAX_TIME_MS + 1),
        (click("a"), "time", [T0]),
        (click("a"), "consent", "yes"),
        (click("a"), "schema", 2),
        (click("a"), "campaign", ["c"]),
        (click("a"), "cost", "-0.01"),
        (click("a"), "cost", "1,5"),
        (click("a"), "cost", True),
        (click("a"), "currency", "EURO"),
        (click("a"), "currency", "XQQ"),
        (click("a"), "sent_at", "now"),
        (purchase(), "value", "1e3"),
        (purchase(), "value", "NaN"),
        (purchase(), "value", " 1"),
        (purchase(), "value", "\u0661"),
        (purchase(), "value", "1000000000000"),
        (purchase(), "value", {"amount": 1}),
        (purchase(), "status", "retracted"),
        (verdict("a", "b"), "valid", "yes"),
        (verdict("a", "b"), "valid", 1),
        (verdict("a", "b"), "reasons", "bot"),
        (verdict("a", "b"), "reasons", ["x"] * 17),
        (adjustment("a", "reject"), "adjustment", "delete"),
        ({**COST, "type": "cost"}, "impressions", -1),
        ({**COST, "type": "cost"}, "clicks", 1.5),
        ({**COST, "type": "cost"}, "date", "2025-10-09"),
        ({**COST, "type": "cost"}, "to", T0),
        ({**COST, "type": "cost"}, "to", T0 + 401 * 86_400_000),
    ],
)
def test_a_wrong_type_or_range_is_refused(event, name, value):
    """`schema`, and the detail names the field."""
    reason, detail = refused(event | {name: value})
    assert reason == "schema"
    assert detail.partition(":")[0].split(".")[0] in {name, "to", "date"}


@pytest.mark.parametrize(
    "event",
    [
        {key: value for key, value in click("a").items() if key != "visitor_id"},
        {key: value for key, value in purchase().items() if key != "action"},
        {key: value for key, value in verdict("a", "b").items() if key != "touch_event_id"},
        {key: value for key, value in consent("a", "denied").items() if key != "consent"},
        {key: value for key, value in adjustment("a", "reject").items() if key != "action"},
        {key: value for key, value in adjustment("a", "reject").items() if key != "order_id"},
        adjustment("a", "restate"),
        {**COST, "from": None},
        {**COST, "from": None, "to": None, "date": "2025-02-30"},
        {**COST, "campaign": None},
    ],
)
def test_what_each_kind_needs(event):
    """A visitor for touches, an action for conversions, an order and value for adjustments, a period for costs."""
    assert refused(event, "costs" if "cost" in event else None)[0] == "schema"


@pytest.mark.parametrize(
    ("event", "topic"),
    [(click("a"), "conversions"), (purchase(), "clicks"), ({**COST, "type": "cost"}, "clicks"), (click("a"), "costs")],
)
def test_an_event_belongs_in_its_topic(event, topic):
    """Elsewhere it is refused."""
    assert refused(event, topic)[0] == "schema"


def test_a_cost_needs_no_type_in_its_topic():
    """An imported line has none."""
    assert read_event(COST, "costs")["cost_micros"] == 1_000_000
    assert refused(COST) == ("schema", "type: missing")


def test_empty_texts_and_nulls_are_left_out():
    """No statements."""
    assert read_event(click("a", term="", ad=None, consent="")) == read_event(click("a"))


def test_unknown_fields_are_kept_aside():
    """And ignored; at most 64 KiB of them."""
    assert read_event(click("a", colour="red"))["extra"] == {"colour": "red"}
    assert refused(click("a", pad="x" * 65_536))[0] == "too_large"


def test_the_event_handed_in_is_left_as_it_was():
    """Its caller may need it for dead letters."""
    event = click("a", term="", colour="red", cost="1", currency="eur")
    before = dict(event)
    assert read_event(event)["currency"] == "EUR"
    assert event == before


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2025-10-09T08:53:20Z", T0),
        ("2025-10-09T08:53:20.123Z", T0 + 123),
        ("2025-10-09T08:53:20.123999Z", T0 + 123),
        ("2025-10-09T10:53:20+02:00", T0),
        ("2025-10-09T10:53:20+0200", T0),
        ("20251009T085320Z", T0),
        ("2025-10-09 08:53:20+00:00", T0),
        ("2025-10-09T14:23:20+05:30", T0),
        ("9999-12-31T23:59:59.999Z", MAX_TIME_MS),
    ],
)
def test_iso_times(text, time):
    """ISO 8601 with a zone, to the millisecond."""
    assert read_time(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "2025-10-09T08:53:20",
        "2025-10-09",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-05:00",
        "1760000000000",
        "today",
    ],
)
def test_times_that_are_none(text):
    """Without a zone, before the epoch, after the year 9999, not ISO 8601."""
    with pytest.raises(Refused):
        read_time(text)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("12.34", 12_340_000),
        (12.34, 12_340_000),
        (0.1, 100_000),
        (7, 7_000_000),
        ("-0.5", -500_000),
        ("+1", 1_000_000),
        ("0.0000005", 0),
        ("0.0000015", 2),
        ("0.00000050000001", 1),
        (1e-7, 0),
        (1.5e-6, 2),
        ("999999999999.999999", 10**18 - 1),
        ("007", 7_000_000),
    ],
)
def test_money_is_read_as_written(amount, expected):
    """Micros, half-even."""
    assert read_money(amount) == expected


@settings(deadline=None)
@given(st.decimals(-(10**11), 10**11, places=9))
def test_money_is_the_reference_s(amount):
    """Any number of places."""
    text = f"{amount:f}"
    assert read_money(text) == micros(text)


@pytest.mark.parametrize("amount", [float("inf"), "1_000", "1.", ".5", "", "0x10", "1" * 25, 10**40, 1e300])
def test_money_that_is_none(amount):
    """Refused, whatever reads it first."""
    with pytest.raises(Refused):
        read_money(amount)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(raw):
    """Refused, or an object."""
    reason, data = "malformed", {}
    try:
        data = parse_json(raw)
    except Refused as error:
        reason = error.reason
    assert (reason, type(data)) == ("malformed", dict)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.sampled_from(
        [click("a"), consent("a", "denied"), verdict("a", "b"), purchase(), adjustment("a", "restate", value=1), COST]
    ),
    st.dictionaries(
        st.sampled_from(
            ["type", "time", "event_id", "value", "cost", "currency", "from", "to", "date", "reasons", "sent_at"]
        ),
        _json,
        max_size=3,
    ),
)
def test_no_json_breaks_the_reader(event, fields):
    """An event in normal form, or `Refused`; never another error."""
    reason, found = "schema", {"time": 0}
    try:
        found = read_event(orjson.loads(orjson.dumps(event | fields)), None)
    except Refused as error:
        reason = error.reason
    assert reason in {"schema", "too_large"}
    assert isinstance(found["time"], int)
    assert not {None, ""} & {value for value in found.values() if not isinstance(value, (list, dict))}
