"""Checks of the pure core: events, batches, addresses, channels, click ids and the registry."""

from __future__ import annotations

import contextlib
import random

import orjson

from schemas.errors import Refused
from schemas.events import MAX_MICROS, MAX_TIME_MS
from schemas.reasons import CHANNELS, REASONS
from schemas.registry import CampaignEntry, SiteEntry
from streams.collector.campaigns import CampaignBook
from streams.collector.redirects import choose_destination, choose_variant, location, macros
from streams.core import addresses
from streams.core.apply import apply, apply_without_poison
from streams.core.channels import classify
from streams.core.events import accept
from streams.core.ids import mint_click_id, read_click_id, verify_click_id
from streams.core.outcome import Scope
from streams.core.registry import Registry
from streams.core.state import MemoryView
from tests.hostile.mutations import (
    CLICK,
    CONVERSION,
    COST,
    NOW,
    break_bytes,
    odd_address,
    odd_event,
    odd_object,
    odd_text,
    odd_value,
)
from tests.reference.cluster import Record

TOPICS = ("clicks", "conversions", "costs")
GOOD = {"clicks": CLICK, "conversions": CONVERSION, "costs": COST}
NAMED = {"clicks": "event_id", "conversions": "order_id", "costs": "event_id"}
SITE = SiteEntry(
    site="shop",
    domains=("shop.example",),
    currency="EUR",
    timezone="Europe/Berlin",
    channels=({"channel": "Partners", "source": "^part.*"}, {"channel": "Email", "medium": "news.*"}),
)
SPRING = CampaignEntry(campaign="spring", site="shop", source="google", medium="cpc", partner="acme")
SCOPE = Scope(0, 1, Registry([SITE, SPRING]))
KEYS = [("k", b"secret")]
ORDER = {
    "order": {
        "site": "shop",
        "conversion_id": "e801ed75b20ae28d189741222545e62b",
        "action": "purchase",
        "order_id": "o1",
        "time": NOW,
        "visitor_id": "v1",
        "named_at": NOW,
        "user_id": "",
        "click_id": "",
        "status": "pending",
        "currency": "EUR",
        "value_micros": 99_900_000,
        "revision": 2,
    },
    "gone": False,
    "cause": "adjustment",
    "at": NOW,
}
CAMPAIGN = {
    "kind": "campaign",
    "campaign": "c",
    "site": "shop",
    "source": "google",
    "medium": "cpc",
    "channel": "Email",
    "destinations": [{"url": "https://shop.example/{sub1}/?a={click_id}#{campaign}", "weight": 2}],
    "variants": ["a"],
    "partner": "p",
    "valid_from": 5,
    "lookbacks": {"click": 7},
}


def value_of(drawn, topic):
    """The bytes of a drawn input: a number makes an event, bytes are themselves, all else is JSON."""
    if isinstance(drawn, bytes):
        return drawn
    if isinstance(drawn, int) and not isinstance(drawn, bool) and drawn >= 0:
        return odd_event(drawn, topic)
    return orjson.dumps(drawn)


def check_refusal(refusal):
    """It has a reason of the closed set, and a line for a person."""
    assert refusal.reason in REASONS
    assert refusal.detail.encode()


def check_accept(batch):
    """Accepted in normal form, or refused."""
    for topic, drawn in batch:
        try:
            event = accept(value_of(drawn, topic), NOW, topic)
        except Refused as refusal:
            check_refusal(refusal)
            continue
        orjson.dumps(event)
        assert type(event["time"]) is int
        assert 0 <= event["time"] <= MAX_TIME_MS
        assert all(abs(event.get(name, 0)) <= MAX_MICROS for name in ("value_micros", "cost_micros"))


def check_apply(batch):
    """Each topic's records in one batch, a good one between every two of them, from one state to the next."""
    view = MemoryView()
    for topic in TOPICS:
        records, good = [], []
        for number, (_, drawn) in enumerate(entry for entry in batch if entry[0] == topic):
            records.append(value_of(drawn, topic))
            good.append(
                {
                    **GOOD[topic],
                    "event_id": f"good-{number}",
                    NAMED[topic]: f"good-{number}",
                    "visitor_id": f"g{number}",
                }
            )
            records.append(orjson.dumps(good[-1]))
        outcome = taken(topic, records, view)
        refused = [(value, dict(headers)) for _, value, headers, _ in outcome.outputs.get(("dead-letters", 0), ())]
        assert not [value for value, _ in refused if b"good-" in value and value in records[1::2]]
        assert outcome.accepted >= len(good)
        for value, headers in refused:
            assert value == records[int(headers["offset"])]
            assert headers["reason"].decode() in REASONS
        commit(view, outcome)
        if topic == "conversions":
            hand_on = [value for _, value, _, _ in outcome.outputs.get(("orders-by-visitor", 0), ())]
            commit(view, taken("orders-by-visitor", hand_on, view))


def taken(topic, values, view):
    """The outcome of records of these `values`; every one of them is counted once."""
    outcome = apply(topic, _records(values), view, SCOPE)
    _check_counts(outcome, len(values))
    return outcome


def _records(values):
    return [Record(b"key", value, offset, NOW) for offset, value in enumerate(values)]


def _check_counts(outcome, number):
    counted = outcome.accepted + outcome.duplicate + outcome.dead_letter + outcome.moved
    assert outcome.read == counted == number


def _settle(topic, records, view):
    """The outcomes of `records` as a unit has them: at once, else without the bad ones, else half by half."""
    try:
        outcome = apply(topic, records, view, SCOPE)
    except Exception:  # noqa: BLE001 - as the unit does
        try:
            outcome, _ = apply_without_poison(topic, records, view, SCOPE)
        except Exception:
            if len(records) == 1:
                raise
            half = len(records) // 2
            return _settle(topic, records[:half], view) + _settle(topic, records[half:], view)
    _check_counts(outcome, len(records))
    commit(view, outcome)
    return [outcome]


def commit(view, outcome):
    """Have `view` hold what `outcome` changes."""
    for key, value in outcome.puts.items():
        view.put(key, value)


def check_orders(batch):
    """One by one where need be; the good one between them is taken."""
    values = []
    for number, drawn in enumerate(batch):
        if isinstance(drawn, bytes):
            values.append(drawn)
        else:
            chance = random.Random(drawn)
            made = {**ORDER, "order": odd_object(chance, ORDER["order"])} if drawn % 3 else odd_object(chance, ORDER)
            data = orjson.dumps(made)
            values.append(break_bytes(chance, data) if chance.random() < 0.3 else data)
        order = {**ORDER["order"], "conversion_id": f"{number:032x}", "visitor_id": f"g{number}"}
        values.append(orjson.dumps({**ORDER, "order": order}))
    outcomes = _settle("orders-by-visitor", _records(values), MemoryView())
    assert sum(outcome.accepted for outcome in outcomes) >= len(batch)
    for outcome in outcomes:
        for _, value, headers, _ in outcome.outputs.get(("dead-letters", 0), ()):
            stated = dict(headers)
            assert value == values[int(stated["offset"])]
            assert int(stated["offset"]) % 2 == 0
            assert stated["reason"].decode() in REASONS


def check_addresses(batch):
    """Nothing raises; a host is its own host."""
    for drawn in batch:
        text = odd_address(drawn) if isinstance(drawn, int) else drawn
        host = addresses.host_of(text)
        assert host == "" or addresses.host_of(f"https://{host}/") == host
        assert addresses.registrable(host) in ({host, *addresses.endings(host)} if host else {""})
        addresses.app_of(text)
        addresses.plain_host(text)
        assert addresses.decoded(text) == addresses.decoded(text).strip()
        query = addresses.read_query(text)
        assert addresses.read_query(text) == query
        assert all(query.shape.utm.values())
        query.evidence.encode()


def check_channels(batch):
    """One of the shipped ones or the site's own."""
    for drawn in batch:
        chance = random.Random(drawn)
        touch = {"site": "shop", "time": NOW, "type": chance.choice(("click", "landing", "impression"))}
        for name in ("url", "referrer"):
            if chance.random() < 0.7:
                touch[name] = odd_address(chance.getrandbits(40))
        for name in ("source", "medium", "campaign", "content", "term", "click_id"):
            if chance.random() < 0.3:
                value = odd_value(chance)
                touch[name] = value if isinstance(value, str) and value else odd_text(chance) or "x"
        found = classify(touch, SCOPE.registry)
        assert found.channel in {*CHANNELS, "Partners"}
        for text in (found.source, found.medium, found.campaign):
            text.encode()


def check_click_ids(batch):
    """A click id with any change is none of ours."""
    ours = mint_click_id("v1", "spring", b"123456789012", KEYS, "shop")
    assert verify_click_id(ours, KEYS) is not None
    for drawn in batch:
        if isinstance(drawn, int):
            chance = random.Random(drawn)
            text = break_bytes(chance, ours.encode()).decode("utf-8", "replace")
        else:
            text = drawn
        read_click_id(text)
        if text != ours:
            assert verify_click_id(text, KEYS) is None, text


def check_campaigns(batch):
    """The one good entry is known whatever else there is, and no entry's clicks are led to another host."""
    records = []
    for number, drawn in enumerate(batch):
        if isinstance(drawn, int) and not isinstance(drawn, bool) and drawn >= 0:
            chance = random.Random(drawn)
            data = orjson.dumps(_odd_entry(chance))
            records.append((b"k%d" % number, break_bytes(chance, data) if chance.random() < 0.2 else data))
        else:
            records.append((b"k%d" % number, drawn if isinstance(drawn, bytes) else orjson.dumps(drawn)))
    book = CampaignBook()
    book.take([*records, (b"good", orjson.dumps({**CAMPAIGN, "campaign": "good", "valid_from": 0})), (None, b"x")])
    assert book.find("good", "shop", NOW) is not None
    for entry in [*book._entries.values()]:
        book.site(entry.site, NOW)
        if not isinstance(entry, CampaignEntry):
            continue
        campaign = book.find(entry.campaign, entry.site, NOW)
        destination = choose_destination(campaign, "v1") if campaign is not None else None
        if destination is None:
            continue
        stated = {"sub1": "/../\r\nset-cookie: a=b", "utm_source": "@evil.example"}
        values = macros(campaign, choose_variant(campaign, destination, "v1"), "hw1.x", stated)
        goal = location(destination.url, "hw1.x", values)
        assert goal.isascii()
        assert goal.isprintable()
        assert addresses.host_of(goal) == addresses.host_of(destination.url)
        # Nothing that a click states begins a parameter, a fragment or another part of the path.
        plain = location(destination.url, "hw1.x", dict.fromkeys(values, "x"))
        assert [goal.count(sign) for sign in "/?#&="] == [plain.count(sign) for sign in "/?#&="]


def _odd_entry(chance):
    """An entry that is nearly right."""
    entry = odd_object(chance, CAMPAIGN if chance.random() < 0.6 else {**SITE.model_dump(mode="json"), "kind": "site"})
    with contextlib.suppress(TypeError, KeyError, IndexError):
        if chance.random() < 0.4:
            entry["destinations"] = [{"url": odd_address(chance.getrandbits(40)), "weight": odd_value(chance)}]
        if chance.random() < 0.3:
            entry["channels"] = [odd_object(chance, {"channel": "Own", "source": chance.choice(PATTERNS)})]
    return entry


PATTERNS = ("(a+)+$", "(", "[", "\\", "^(?:.*)*$", "(?=x)", "x{99999}", "\\d", "a|b", "(?i)a", "*", "\u00fc", ".{,5}")
