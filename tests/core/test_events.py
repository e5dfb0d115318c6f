"""From bytes to an accepted event: the sender's clock and the ages (contract, section 2)."""

from __future__ import annotations

import orjson
import pytest

from schemas.errors import Refused
from streams.core.events import accept
from tests.reference.events import DAY, MINUTE, T0
from tests.reference.shop import adjustment, click, consent, purchase, refusals, run, verdict

COST = {"type": "cost", "event_id": "x", "site": "s", "campaign": "c", "cost": "1", "from": T0, "to": T0 + DAY}


def taken(event, topic="clicks", timestamp=T0):
    """The event as it is accepted, or the reason it is refused for."""
    try:
        return accept(orjson.dumps(event), timestamp, topic)
    except Refused as error:
        return error.reason


@pytest.mark.parametrize(
    ("event", "topic", "most"),
    [
        (click("a"), "clicks", 7 * DAY),
        (consent("a", "denied"), "clicks", 7 * DAY),
        (verdict("a", "b"), "clicks", 7 * DAY),
        (purchase("a"), "conversions", 35 * DAY),
        ({**COST, "time": T0, "received_at": T0}, "costs", 35 * DAY),
    ],
)
def test_too_old_is_more_than_the_kind_allows(event, topic, most):
    """Exactly 7 d (touches) and 35 d (conversions, costs) are taken; a millisecond more is not."""
    assert taken(event | {"received_at": T0 + most}, topic)["time"] == T0
    assert taken(event | {"received_at": T0 + most + 1}, topic) == "too_old"


@pytest.mark.parametrize(
    ("event", "topic"),
    [(click("a"), "clicks"), (purchase("a"), "conversions"), (adjustment("a", "reject"), "conversions")],
)
def test_in_future_is_more_than_10_minutes_ahead(event, topic):
    """Exactly 10 minutes are taken."""
    assert taken(event | {"received_at": T0 - 10 * MINUTE}, topic)["time"] == T0
    assert taken(event | {"received_at": T0 - 10 * MINUTE - 1}, topic) == "in_future"


def test_an_adjustment_s_age_is_not_judged_by_its_receipt():
    """Only against its conversion."""
    assert taken(adjustment("a", "reject", received_at=T0 + 300 * DAY), "conversions")["time"] == T0


@pytest.mark.parametrize(
    ("sent", "time"),
    [
        (T0 - 5 * MINUTE, T0),
        (T0 + 5 * MINUTE, T0),
        (T0 - 5 * MINUTE - 1, T0 + 5 * MINUTE + 1),
        (T0 + 5 * MINUTE + 1, T0 - 5 * MINUTE - 1),
    ],
)
def test_a_sender_s_clock_is_set_right_beyond_5_minutes(sent, time):
    """Time := time + received_at - sent_at; a difference of exactly 5 minutes is left alone."""
    assert taken(click("a", sent_at=sent, received_at=T0))["time"] == time


def test_ages_are_judged_by_the_right_clock():
    """A phone that lives in 2031 and one that lives in 1970."""
    ahead, behind = T0 + 2000 * DAY, 1_000
    assert taken(click("a", ahead, sent_at=ahead + 2, received_at=T0))["time"] == T0 - 2
    assert taken(click("a", behind, sent_at=behind + 2, received_at=T0))["time"] == T0 - 2


def test_the_record_s_timestamp_stands_for_received_at():
    """Where the collector has not set it."""
    event = click("a")
    del event["received_at"]
    assert taken(event, timestamp=T0 + 5)["received_at"] == T0 + 5
    assert taken(event, timestamp=T0 + 8 * DAY) == "too_old"


def test_iso_times_come_to_the_same_event():
    """Another zone is another way to write the same moment: a duplicate, not a collision."""
    texts = ["2025-10-09T08:53:20Z", "2025-10-09T10:53:20+02:00", "2025-10-09T08:53:20.000+00:00", T0]
    events = [taken(click("a", time=text, received_at=T0)) for text in texts]
    assert {(event["time"], event["fp"]) for event in events} == {(T0, events[0]["fp"])}


def test_the_fingerprint_leaves_out_how_an_event_travelled():
    """sent_at, received_at, ip, user_agent and schema; everything else is content, unknown fields too."""
    event = click("a")
    known = taken(event)["fp"]
    for name, value in {"sent_at": T0, "ip": "::1", "user_agent": "x", "schema": 1, "source": "google"}.items():
        assert taken(event | {name: value})["fp"] == known
    assert taken(event | {"received_at": T0 + 1})["fp"] == known
    for name, value in {
        "source": "bing",
        "time": T0 + 1,
        "colour": "red",
        "user_id": "u",
        "consent": "granted",
    }.items():
        assert taken(event | {name: value})["fp"] != known


def test_empty_texts_and_nulls_are_no_statements():
    """The same content as without them."""
    assert taken(click("a", term="", ad=None))["fp"] == taken(click("a"))["fp"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "malformed"),
        (b"", "malformed"),
        (b"\xff\xfe{}", "malformed"),
        (b"{", "malformed"),
        (b"[]", "malformed"),
        (b"7", "malformed"),
        (b'{"type":"click","event_id":"\xff"}', "malformed"),
        (b"{}", "schema"),
        (b'{"type":"tick"}', "schema"),
        (b'{"type":{}}', "schema"),
        (orjson.dumps({**click("a"), "time": "yesterday"}), "schema"),
        (orjson.dumps({**click("a"), "event_id": "x" * 65}), "schema"),
        (orjson.dumps({**click("a"), "type": "conversion", "action": "lead"}), "schema"),
        (orjson.dumps({**click("a"), "pad": "x" * 1_000_000}), "too_large"),
        (b" " * 1_000_001, "too_large"),
        (orjson.dumps({**click("a"), "time": 32_472_144_000_000}), "in_future"),
        (orjson.dumps({**click("a"), "time": 1}), "too_old"),
    ],
)
def test_a_bad_record_is_refused_and_its_neighbours_count(raw, reason):
    """The original bytes go to dead letters with the reason (contract, section 2)."""
    cluster = run()
    cluster.most, cluster.chance.randint = 9, lambda least, most: most
    cluster.send(click("a1"))
    cluster.put("clicks", 0, raw, b"v", T0)
    cluster.send(click("a2"))
    cluster.run()
    assert [key[2] for key in cluster.touches()] == ["a1", "a2"]
    assert refusals(cluster) == [(reason, raw or b"")]
    assert cluster.counts["clicks", "dead_letter"] == 1
