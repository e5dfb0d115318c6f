"""Short ways to write events of one shop, and to run them: every hand-made case is also held against the reference."""

from __future__ import annotations

import itertools

from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.compare import assert_same
from tests.reference.events import T0
from tests.reference.model import reference

SITE = "shop.example"


def touch(kind, event_id, time=T0, **fields):
    """A click, impression or landing of visitor `v`; with `at_once=False` style extras given as fields."""
    return {
        "type": kind,
        "event_id": event_id,
        "site": SITE,
        "visitor_id": "v",
        "time": time,
        "received_at": time,
    } | fields


def click(event_id, time=T0, **fields):
    """A click; from google / cpc where nothing else is said."""
    return touch("click", event_id, time, **{"source": "google", "medium": "cpc"} | fields)


def landing(event_id, time=T0, **fields):
    """A landing; it says nothing unless `fields` do."""
    return touch("landing", event_id, time, **fields)


def impression(event_id, time=T0, **fields):
    """An impression of a display campaign."""
    return touch("impression", event_id, time, **{"source": "dv360", "medium": "display"} | fields)


def consent(event_id, said, time=T0, **fields):
    """A statement of consent."""
    return touch("consent", event_id, time, consent=said) | fields


def verdict(event_id, about, time=T0, *, valid=False, **fields):
    """A verdict on a touch."""
    return touch("verdict", event_id, time, touch_event_id=about, valid=valid) | fields


def purchase(event_id="c", time=T0, *, order_id="o", **fields):
    """A conversion of visitor `v` worth 100 EUR; None takes a field away."""
    event = {
        "type": "conversion",
        "event_id": event_id,
        "site": SITE,
        "action": "purchase",
        "order_id": order_id,
        "visitor_id": "v",
        "value": "100",
        "currency": "EUR",
        "time": time,
        "received_at": time,
    } | fields
    return {name: value for name, value in event.items() if value is not None}


def adjustment(event_id, what, time=T0, **fields):
    """An adjustment of order `o`."""
    event = {
        "type": "adjustment",
        "event_id": event_id,
        "site": SITE,
        "action": "purchase",
        "order_id": "o",
        "adjustment": what,
        "time": time,
        "received_at": time,
    } | fields
    return {name: value for name, value in event.items() if value is not None}


def taken(*events, entries=(), one_by_one=True):
    """A cluster that has taken `events`, in this order; what it holds equals the reference."""
    cluster = Cluster(Registry(entries), chaos=False, most=1 if one_by_one else 1000)
    for event in events:
        cluster.send(event)
        if one_by_one:
            cluster.run()
    cluster.run()
    assert_same(cluster, reference(list(events), Registry(entries)))
    return cluster


def run(*events, entries=(), one_by_one=True):
    """As `taken`, and in the opposite order all the same: a rule knows no arrival."""
    taken(*events[::-1], entries=entries, one_by_one=one_by_one)
    return taken(*events, entries=entries, one_by_one=one_by_one)


def only(cluster):
    """The one conversion's attribution in force."""
    (attribution,) = cluster.attributions().values()
    return attribution


def in_every_order(*events, entries=()):
    """The attribution that all orders of arrival come to, by one event at a time; without its history."""
    found = [only(taken(*order, entries=entries)) for order in itertools.permutations(events)]
    history = {"version", "cause", "first_reported_at", "last_changed_at", "revision", "order"}
    results = [{name: value for name, value in one.items() if name not in history} for one in found]
    assert all(result == results[0] for result in results)
    return results[0]


def candidates(attribution):
    """Event ids of the candidates, in order."""
    return [shown["touch_id"] for shown in attribution["touches"]]


def credits_of(attribution, model):
    """(touch id, millionths, micros) of a model's credits."""
    ids = candidates(attribution)
    return [(ids[index], weight, value) for index, weight, value in attribution["credits"][model]]


def refusals(cluster):
    """(reason, original bytes) of all dead letters, in order."""
    return [
        (dict(output.headers)["reason"].decode(), output.value)
        for (topic, _), outputs in cluster.logs.items()
        if topic == "dead-letters"
        for output in outputs
    ]
