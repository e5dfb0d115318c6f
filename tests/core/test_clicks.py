"""Touches: identity, duplicates, what is counted and where (contract, sections 1, 2 and 4)."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.registry import CampaignEntry, SiteEntry
from streams.core import clicks
from streams.core.registry import Registry
from streams.core.visitors import Visitor
from tests.reference.cluster import Cluster
from tests.reference.compare import assert_same
from tests.reference.events import T0, event_sets, identity
from tests.reference.model import reference
from tests.reference.shop import SITE, click, consent, impression, landing, purchase, refusals, run, verdict

ALIKE = {"ip": "192.0.2.1", "user_agent": "retry", "sent_at": T0 + 1, "received_at": T0 + 2, "schema": 1}


@pytest.mark.parametrize("one_by_one", [True, False])
def test_the_same_content_again_is_a_duplicate(one_by_one):
    """Counted, without effect; within a batch and after it."""
    cluster = run(click("a"), click("a", **ALIKE), click("a"), one_by_one=one_by_one)
    assert (cluster.counts["clicks", "accepted"], cluster.counts["clicks", "duplicate"]) == (1, 2)
    assert len(list(cluster.outputs("touches"))) == 1


@pytest.mark.parametrize("one_by_one", [True, False])
def test_other_content_under_the_same_identity_is_a_collision(one_by_one):
    """The first to arrive stays."""
    cluster = run(click("a"), click("a", source="bing"), one_by_one=one_by_one)
    assert [reason for reason, _ in refusals(cluster)] == ["id_collision"]
    assert cluster.touches()[SITE, "v", "a"]["source"] == "google"


def test_kinds_of_one_visitor_share_their_event_ids():
    """A consent under a click's id is a collision."""
    cluster = run(click("a"), consent("a", "denied"), verdict("a", "a"))
    assert [reason for reason, _ in refusals(cluster)] == ["id_collision", "id_collision"]


def test_a_touch_is_site_visitor_and_event_id():
    """The same event id elsewhere is another touch."""
    cluster = run(click("a"), click("a", visitor_id="w"), click("a", site="other.example"))
    assert len(cluster.touches()) == 3


def test_a_touch_record_has_the_statements_and_nothing_of_the_journey_it_took():
    """Registry's partner, site's currency; no ip, user agent or clock."""
    entries = [
        SiteEntry(site=SITE, currency="EUR"),
        CampaignEntry(campaign="spring", site=SITE, source="news", medium="email", partner="agency"),
    ]
    cluster = run(touch := landing("a", campaign="spring", sub1="s", **ALIKE), entries=entries)
    record = cluster.touches()[SITE, "v", "a"]
    assert {name: record[name] for name in ("channel", "source", "partner", "currency", "cost_micros", "sub1")} == {
        "channel": "Email",
        "source": "news",
        "partner": "agency",
        "currency": "EUR",
        "cost_micros": 0,
        "sub1": "s",
    }
    assert not {"ip", "user_agent", "sent_at", "schema"} & set(record)
    assert record["received_at"] == touch["received_at"]


def test_traffic_counts_what_is_valid_and_not_internal():
    """Continuations count, internal landings do not; nor by a verdict, but without consent; cost always."""
    cluster = run(
        click("a", cost="1"),
        landing("b", T0 + 1, source="google", medium="cpc"),
        landing("c", T0 + 2, referrer="https://www.paypal.com/", medium="cpc", source="google", cost="2"),
        impression("i", source="google", medium="cpc", consent="denied"),
        click("x", cost="4"),
        verdict("y", "x"),
    )
    traffic, _ = cluster.panes()
    assert list(traffic.values()) == [{"clicks": 1, "landings": 1, "impressions": 1, "invalid": 1, "cost": 7_000_000}]


def test_a_verdict_moves_a_touch_between_traffic_and_invalid():
    """Panes are corrected: out of the old, into the new."""
    cluster = run(click("a"), verdict("x", "a", T0), verdict("y", "a", T0 + 1, valid=True))
    traffic, _ = cluster.panes()
    assert list(traffic.values()) == [{"clicks": 1}]


def test_a_record_in_the_wrong_partition_is_moved():
    """As it is: key, bytes, time stamp and headers; there it counts."""
    cluster = Cluster(Registry(), 4, chaos=False)
    event = click("a")
    del event["received_at"]
    for place in range(4):
        cluster.put("clicks", place, orjson.dumps(event), b"another key", T0 + 3, [("h", b"1")])
    cluster.run()
    assert cluster.counts["clicks", "moved"] == 3
    assert (cluster.counts["clicks", "accepted"], cluster.counts["clicks", "duplicate"]) == (1, 3)
    moved = [output for (topic, _), outputs in cluster.logs.items() if topic == "clicks" for output in outputs]
    assert {(output.key, output.timestamp, tuple(output.headers)) for output in moved} == {
        (b"another key", T0 + 3, (("h", b"1"),))
    }
    assert cluster.touches()[SITE, "v", "a"]["received_at"] == T0 + 3


@settings(max_examples=20, deadline=None)
@given(
    event_sets(max_size=12),
    st.lists(st.integers(0, 11), min_size=1, max_size=6),
    st.integers(1, 3),
    st.integers(0, 999),
)
def test_of_two_contents_under_one_identity_exactly_one_survives(events, chosen, partitions, seed):
    """Which one, arrival decides; the result is that of the set with that one alone."""
    events = list({identity(event): event for event in events}.values())
    twins = [events[index] | {"user_id": f"twin {index}"} for index in set(chosen) if index < len(events)]
    cluster = Cluster(Registry(), partitions, seed).run([*events, *twins])
    refused = [orjson.loads(raw) for _, raw in refusals(cluster)]
    survivors = [event for event in [*events, *twins] if event not in refused]
    assert len({identity(event) for event in survivors}) == len(survivors)
    assert_same(cluster, reference(survivors, Registry()))


def test_a_visitor_s_touches_before_and_after_a_mark_come_to_the_same():
    """The quick path of visitors without conversions, and the thorough one."""
    events = [
        click("a"),
        landing("b", T0 + 1),
        consent("s", "denied", T0 + 2),
        click("c", T0 + 3),
        purchase(time=T0 + 4),
    ]
    forth, back = run(*events), run(*events[::-1])
    assert forth.touches() == back.touches()
    assert forth.panes() == back.panes()


@pytest.mark.parametrize("twin", [clicks.compiled, None])
def test_only_a_touch_that_can_change_something_has_its_visitor_looked_at(twin, monkeypatch):
    """Not one after all conversions; after a restore one is enough to know that again."""
    monkeypatch.setattr(clicks, "compiled", twin)
    cluster = run(click("a"), purchase(time=T0 + 10))
    looked_at = []
    monkeypatch.setattr(clicks, "Visitor", lambda *args: looked_at.append(1) or Visitor(*args))

    def looks(*events):
        looked_at.clear()
        for event in events:
            cluster.send(event)
        cluster.run()
        return len(looked_at)

    assert looks(click("b", T0 + 11), landing("d", T0 + 12)) == 0
    assert looks(click("e", T0 + 10)) == 1, "as late as the conversion"
    assert looks(click("f", T0 + 13, click_id="an-id")) == 1, "landings before it may arrive from it"
    cluster.restart(0)
    assert [looks(click(name, T0 + 20)) for name in "ghi"] == [1, 0, 0]
    assert looks(consent("j", "granted", T0 + 30)) == 1
    assert looks(click("k", T0 + 40)) == 1, "a statement is about touches at any time"
