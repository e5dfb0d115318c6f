"""`headwater attribute FILE`: the pure core over a file (contract, section 7)."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import pytest

from schemas.reasons import MODELS
from tests.reference.events import DAY, T0
from tests.reference.shop import adjustment, click, impression, landing, purchase

EVENTS = [
    click("k", T0, campaign="spring", cost="0.35", currency="EUR"),
    landing("l", T0 + DAY),
    purchase("c", T0 + 2 * DAY, value="100.01"),
    purchase("d", T0, order_id="p", visitor_id="w", value="7"),
    purchase("e", T0 - DAY, order_id="q", visitor_id=None, value="-3.5"),
    adjustment("x", "reject", T0, order_id="p"),
]


def headwater(*arguments, stdin=b""):
    """Exit code, lines on stdout, text on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *map(str, arguments)], input=stdin, capture_output=True, check=False
    )
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


def text_of(events):
    """A file's content; events as dicts or raw lines."""
    return b"".join((event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n" for event in events)


@pytest.fixture
def file(tmp_path):
    """A file of the events above, in an order of arrival that is not that of time."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(text_of(EVENTS[::-1]))
    return path


def test_one_line_a_conversion_in_order_of_time(file):
    """With the fields of the contract, numbers exact."""
    code, lines, errors = headwater("attribute", file)
    assert (code, errors) == (0, "")
    rows = [json.loads(line, parse_float=Decimal) for line in lines]
    assert [set(row) for row in rows] == [
        {"site", "conversion_id", "conversion_time", "version", "status", "value", "currency", "credits"}
    ] * 3
    assert [(row["conversion_time"], row["status"], row["value"]) for row in rows] == [
        (T0 - DAY, "approved", Decimal("-3.5")),
        (T0, "rejected", 0),
        (T0 + 2 * DAY, "approved", Decimal("100.01")),
    ]
    listed = rows[2]["credits"]
    assert [set(credit) for credit in listed] == [
        {"model", "touch_id", "channel", "campaign", "weight", "value"}
    ] * len(listed)
    linear = [list(credit.values())[1:] for credit in listed if credit["model"] == "linear"]
    assert linear == [
        ["k", "Paid Search", "spring", Decimal("0.5"), Decimal("50.005")],
        ["l", "Direct", "", Decimal("0.5"), Decimal("50.005")],
    ]
    for row in rows:
        for model in MODELS:
            mine = [credit for credit in row["credits"] if credit["model"] == model]
            assert sum(credit["weight"] for credit in mine) == 1
            assert sum(credit["value"] for credit in mine) == row["value"]


def test_standard_input_in_any_order_comes_to_the_same(file):
    """But for the versions, which are history."""
    _, lines, _ = headwater("attribute", file)
    code, piped, _ = headwater("attribute", "-", stdin=text_of(EVENTS))
    assert code == 0
    strip = [{**json.loads(line), "version": 0} for line in lines]
    assert [{**json.loads(line), "version": 0} for line in piped] == strip


def test_touches_are_printed_instead(file):
    """Classified and judged, in order of time."""
    code, lines, _ = headwater("attribute", "--touches", file)
    rows = [json.loads(line, parse_float=Decimal) for line in lines]
    assert code == 0
    assert [(row["event_id"], row["channel"], row["valid"], row["cost"]) for row in rows] == [
        ("k", "Paid Search", True, Decimal("0.35")),
        ("l", "Direct", True, 0),
    ]


def test_events_without_received_at_are_taken_as_received_when_they_happened():
    """Files of years ago."""
    event = {key: value for key, value in impression("i", 1_000).items() if key != "received_at"}
    code, lines, errors = headwater("attribute", "--touches", "-", stdin=text_of([event]))
    assert (code, len(lines), errors) == (0, 1, "")


def test_refusals_are_told_and_do_not_stop_the_rest():
    """A line each on stderr, with its number and reason."""
    code, lines, errors = headwater("attribute", "-", stdin=text_of([b"{", purchase(), {"type": "tick"}]))
    assert (code, len(lines)) == (0, 1)
    assert [line.split(": ")[:2] for line in errors.splitlines()] == [["line 1", "malformed"], ["line 3", "schema"]]


def test_the_registry_comes_from_a_file(tmp_path):
    """As `headwater campaigns apply` takes it."""
    registry = tmp_path / "registry.yaml"
    registry.write_text("- {kind: site, site: shop.example, currency: JPY}\n")
    code, lines, errors = headwater("attribute", "--campaigns", registry, "-", stdin=text_of([purchase(currency=None)]))
    assert (code, errors) == (0, "")
    assert json.loads(lines[0])["currency"] == "JPY"


def test_a_file_that_is_not_there(tmp_path):
    """Non-zero, one clear line on stderr."""
    code, lines, errors = headwater("attribute", tmp_path / "nothing.jsonl")
    assert code != 0
    assert lines == []
    assert len(errors.splitlines()) == 1
    assert "nothing.jsonl" in errors


def test_an_empty_file_is_no_error():
    """It has no conversions."""
    assert headwater("attribute", "-") == (0, [], "")
