"""The compiled code and the Python code, held against each other: the same records, byte for byte or word for word."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.registry import CampaignEntry, SiteEntry
from streams.core import clicks, panes
from streams.core.apply import apply
from streams.core.compiled import compiled
from streams.core.ids import partition_of
from streams.core.outcome import Scope
from streams.core.registry import Registry
from streams.core.state import MemoryView
from streams.simulator.load import Load
from tests.fetched import as_fetched
from tests.reference.cluster import Record
from tests.reference.crowds import Crowd
from tests.reference.events import T0

pytestmark = pytest.mark.skipif(compiled is None, reason="not compiled: no C compiler here")

DAY = 86_400_000
SITES = ("shop.example", "b.example", "denied.example")
ENTRIES = (
    SiteEntry(site="shop.example", domains=("shop.example", "other.example"), currency="EUR"),
    SiteEntry(site="shop.example", domains=("shop.example",), currency="GBP", valid_from=T0 - 500),
    SiteEntry(site="denied.example", consent_default="denied"),
    CampaignEntry(campaign="spring", site="shop.example", source="news", medium="email", partner="p"),
    CampaignEntry(campaign="spring", site="shop.example", channel="Audio", valid_from=T0 - 500),
)
VECTORS = yaml.safe_load((Path(__file__).parent / "vectors" / "channels.yaml").read_text())


def both(values, *, registry=None, partitions=1, partition=0, chunks=None):
    """What the compiled code, by fetched records and by others, and the Python code make of the same batches."""
    one_by_one = [Record(b"k", value, offset, T0) for offset, value in enumerate(values)]
    results = []
    for module, records in ((compiled, as_fetched(one_by_one)), (compiled, one_by_one), (None, one_by_one)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clicks, "compiled", module)
            patch.setattr(panes, "compiled", module)
            view, seen = MemoryView(), []
            scope = Scope(partition, partitions, registry or Registry(ENTRIES))
            start = 0
            for size in chunks or [len(records)]:
                outcome = apply("clicks", records[start : start + size], view, scope)
                for key, value in outcome.puts.items():
                    view.put(key, value)
                seen.append(plain(outcome))
                start += size
            results.append(seen)
    return results


def plain(outcome):
    """An outcome with its JSON read, so that the order of members does not matter."""
    outputs = {
        place: [
            (key, orjson.loads(value) if place[0] in {"touches", "panes"} else value, headers, at)
            for key, value, headers, at in records
        ]
        for place, records in outcome.outputs.items()
        if records
    }
    puts = {key: orjson.loads(value) if value else value for key, value in outcome.puts.items()}
    counts = {name: getattr(outcome, name) for name in ("read", "accepted", "duplicate", "dead_letter", "moved")}
    return outputs, puts, counts, dict(outcome.pane_changes), outcome.latest, outcome.reasons, outcome.invalid


def agree(values, **how):
    fast, fast_too, slow = both(values, **how)
    assert fast == fast_too == slow
    return fast


texts = st.sampled_from(
    [
        "",
        "google",
        "Google ",
        "cpc",
        "spring",
        "%20",
        "spr%69ng",
        "a+b",
        "straße",
        "ÅÄÖ",
        "x" * 256,
        "x" * 257,
        "é" * 200,
        "a\\b",
        'a"b',
        "a\nb",
        "\x7f",
        "😀",
    ]
)
urls = st.one_of(
    st.sampled_from(
        [
            "https://shop.example/",
            "https://shop.example",
            "HTTPS://Shop.Example/p?UTM_Source=a",
            "https%3A%2F%2Fshop.example%2F%3Futm_source%3Da",
            "//shop.example/?gclid=1",
            "shop.example/p?utm_source=x#utm_medium=y",
            "https://shop.example/#/p?utm_source=x&amp;utm_medium=cpc",
            "android-app://com.shop/x",
            "https://user@shop.example:8443/a%20b",
        ]
    ),
    st.builds(
        lambda host, path, query: f"https://{host}/{path}{query}",
        st.sampled_from(["shop.example", "www.shop.example", "b.example", "Shop.example", "xn--bcher-kva.example"]),
        st.sampled_from(["", "p/1", "a%20b", "ü"]),
        st.lists(
            st.builds(
                lambda start, name, value: f"{start}{name}={value}",
                st.sampled_from(["?", "&", "&amp;", "#", "&&"]),
                st.sampled_from(
                    [
                        "utm_source",
                        "utm_medium",
                        "utm_campaign",
                        "utm_id",
                        "UTM_CONTENT",
                        "utm_",
                        "gclid",
                        "fbclid",
                        "msclkid",
                        "gbraid",
                        "GCLID",
                        "hw_cid",
                        "q",
                        "Itemid",
                        "%75tm_term",
                        "dclid",
                        "wbraid",
                        "ttclid",
                        "yclid",
                    ]
                ),
                st.sampled_from(["", "a", "spring", "Abc-1_2.3", "a%20b", "a+b", "%20", "a=b", "google", "cpc", "ü"]),
            ),
            max_size=9,
        ).map("".join),
    ),
)
referrers = st.sampled_from(
    [
        "https://www.google.com/",
        "https://www.google.com",
        "http://t.co/x",
        "https://shop.example/p",
        "https://other.example/",
        "https://www.paypal.com/checkout",
        "android-app://com.google.android.gm/",
        "https://chatgpt.com/?q=1",
        "HTTPS://Www.Bing.com/x",
        "www.bing.com/s",
        "null",
        "https://news.example/a/b?c",
        "https://a.b:80/x",
        "https://",
    ]
)
amounts = st.sampled_from(
    [
        0,
        1,
        0.25,
        1.5,
        12.345678,
        0.1234567,
        1e-7,
        123456789,
        1234567890123,
        "0.25",
        "007.5",
        "1.",
        ".5",
        "12",
        "1e3",
        -1,
        "-0",
        True,
        "x",
        0.1,
        100.10,
        1e15,
    ]
)
times = st.sampled_from(
    [
        T0,
        T0 - 1,
        T0 - 500,
        T0 - 501,
        T0 - 8 * DAY,
        T0 + 600_000,
        T0 + 600_001,
        float(T0),
        str(T0),
        "2026-06-01T00:00:00Z",
        -1,
        0,
        10**15,
        10**16,
    ]
)
events = st.fixed_dictionaries(
    {
        "event_id": st.sampled_from(["a", "b", "c", "é", "x" * 64, "x" * 65]),
        "time": st.one_of(st.integers(T0 - 3 * 60_000, T0), times),
        "site": st.sampled_from(SITES),
        "visitor_id": st.sampled_from(["v", "w", "ü", "1" * 128, "1" * 129]),
        "type": st.sampled_from(["click", "landing", "impression", "landing", "consent", "pageview"]),
    },
    optional={
        "url": urls,
        "referrer": referrers,
        "sent_at": st.sampled_from([T0, T0 - 200_000, T0 - 400_000, T0 + 400_000, str(T0)]),
        "received_at": st.sampled_from([T0, T0 + 1, T0 + 7 * DAY, None]),
        "consent": st.sampled_from(["granted", "denied", "unknown", "GRANTED"]),
        "cost": amounts,
        "currency": st.sampled_from(["EUR", "eur", "USD", "XXXX", "EU", "ZZZ"]),
        "schema": st.sampled_from([1, 2, "1", True]),
        "ip": texts,
        "user_agent": texts,
        "user_id": texts,
        "click_id": texts,
        "unknown": texts,
        **dict.fromkeys(("source", "medium", "campaign", "content", "term", "partner", "variant", "audience"), texts),
        **dict.fromkeys(("ad", "ad_group", "placement", "sub1", "sub5", "country", "device"), texts),
    },
)


@given(st.lists(events, min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_any_events(found, chance):
    """Plain and odd ones together, repeated and colliding, over several batches and two partitions."""
    values = [orjson.dumps(event) for event in found for _ in range(chance.choice((1, 1, 2)))]
    chance.shuffle(values)
    cut = chance.randrange(len(values) + 1)
    agree(values, chunks=[cut, len(values) - cut])
    agree(values, partitions=2, partition=chance.randrange(2))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes(data):
    """A touch with some of its bytes changed: what is no JSON, no UTF-8 or no touch is refused with the same words."""
    event = orjson.dumps(
        {
            "event_id": "a",
            "type": "landing",
            "time": T0,
            "site": "shop.example",
            "visitor_id": "v",
            "cost": 0.25,
            "url": "https://shop.example/?utm_source=é&gclid=1",
            "schema": 1,
            "currency": "EUR",
        }
    )
    value = bytearray(event)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value) - 1))
        what = data.draw(
            st.sampled_from(
                [
                    b"",
                    b" ",
                    b'"',
                    b"\\",
                    b",",
                    b":",
                    b"{",
                    b"}",
                    b"0",
                    b"-",
                    b".",
                    b"\xff",
                    b"\xc3",
                    b"\n",
                    b"\x00",
                    b"e",
                    b"null",
                    b'"a":1,',
                ]
            )
        )
        value[at : at + data.draw(st.integers(0, 2))] = what
    agree([bytes(value)])


@pytest.mark.parametrize(
    "text",
    [
        '{"event_id":"a","event_id":"b","type":"click","time":%d,"site":"s","visitor_id":"v"}',
        '{"event_id":"a","type":"click","time":0%d,"site":"s","visitor_id":"v"}',
        '{"event_id":"a","type":"click","time":%d,"site":"s","visitor_id":"v"} ',
        ' \t{ "event_id" : "a" , "type" : "click","time" : %d ,"site":"s","visitor_id":"v" }\r\n',
        '{"event_id":"a","type":"click","time":%d,"site":"s","visitor_id":"v"}x',
        '{"event_id":"a","type":"click","time":%d,"site":"s","visitor_id":"v",}',
        '{"event_id":"a","type":"click","time":%d,"site":"s","visitor_id":"v","cost":1.}',
        '{"event_id":"a","type":"click","time":%d,"site":"s","visitor_id":"v","cost":"1.5}',
        '{"event_id":"a","type":"click","time":%d,"site":"s","visitor_id":"v","schema":1.0}',
        '{"event_id":"a","type":"click","time":%d,"site":"s","visitor_id":"v","":"x"}',
        '{"event_id":"a","type":"click","time":%d.0,"site":"s","visitor_id":"v"}',
        '{"event_id":"a","type":"click","time":%de0,"site":"s","visitor_id":"v"}',
        '{"event_id":"\\u0061","type":"click","time":%d,"site":"s","visitor_id":"v"}',
        '{"event_id":"a","type":"click","time":%d,"site":"s","visitor_id":"v","sub1":"\ud800"}',
        "{}",
        "[]",
        "",
    ],
)
def test_odd_spellings(text):
    """Of the same touch, or nearly."""
    agree([(text % T0 if "%d" in text else text).encode("utf-8", "surrogatepass")])


@pytest.mark.parametrize("query", ["gclid=1&gbraid=2", "gbraid=2&gclid=1", "wbraid=z&utm_id=7&dclid=a&gclid=1&gclid=2"])
@pytest.mark.parametrize("kind", ["click", "impression"])
def test_several_click_ids(query, kind):
    """Evidence is the same in any order."""
    event = {"type": kind, "event_id": "a", "time": T0, "site": "shop.example", "visitor_id": "v"}
    values = [
        orjson.dumps(event | {"event_id": str(n), "url": f"https://shop.example/?{query}&q={n}"}) for n in range(3)
    ]
    agree(values)


@pytest.mark.parametrize("off", [-300_001, -300_000, -299_999, 299_999, 300_000, 300_001])
@pytest.mark.parametrize("age", [-600_001, -600_000, 0, 7 * DAY, 7 * DAY + 1])
def test_clocks(off, age):
    """Each limit, on either side."""
    event = {"type": "click", "event_id": "a", "time": T0 - age, "site": "shop.example", "visitor_id": "v"}
    agree([orjson.dumps(event | {"received_at": T0, "sent_at": T0 - off})])
    agree([orjson.dumps(event | {"received_at": T0})])


def test_addresses_of_the_channel_vectors():
    """Every vector as a landing, twice: once asked, once remembered."""
    registry = Registry()
    values = []
    for number, vector in enumerate([*VECTORS, *VECTORS]):
        touch = {name: value for name, value in vector.get("touch", {}).items() if isinstance(value, str)}
        touch = {"type": "landing", "site": "shop.example", **touch}
        touch |= {"event_id": str(number), "time": T0, "visitor_id": "v"}
        values.append(orjson.dumps(touch))
    assert agree(values, registry=registry)[0][2]["accepted"] > 100


def test_a_registry_that_changes():
    """What was remembered of it is asked again; entries are selected by the touch's time."""
    registry = Registry(ENTRIES)

    def touches(start):
        common = {"type": "click", "site": "shop.example", "visitor_id": "v", "campaign": "spring"}
        return [orjson.dumps(common | {"event_id": f"{start}-{n}", "time": T0 - n * 100}) for n in range(10)]

    first = agree(touches(0), registry=registry)
    registry.put(CampaignEntry(campaign="spring", site="shop.example", medium="sms", valid_from=T0 - 300))
    second = agree(touches(0), registry=registry)
    channels = [{record["channel"] for _, record, _, _ in found[0][0]["touches", 0]} for found in (first, second)]
    assert channels == [{"Audio", "Email"}, {"Audio", "Email", "SMS"}]


def test_the_load_of_the_benchmark_is_plain():
    """Nearly all of it: what the benchmark measures is the compiled way."""
    events_ = [(key, value) for topic, key, value in Load(events=2_000).make(T0 - 20) if topic == "clicks"]
    values = [value for key, value in events_ if partition_of(key, 4) == 1]
    agree(values, partitions=4, partition=1, registry=Registry())
    odd = []
    compiled.read_all([Record(b"k", value, 0, T0) for value in values], Registry(), 4, 1, [], odd.append)
    assert not odd


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd(seed):
    """Visitors with statements and conversions among them."""
    made = Crowd(seed, 60)
    values = [
        orjson.dumps(event)
        for event in made.events
        if event["type"] in ("click", "landing", "impression", "consent", "verdict")
    ]
    agree(values, chunks=[len(values) // 2, len(values) - len(values) // 2], registry=Registry(made.entries))


@given(st.lists(st.lists(st.integers(-(10**16), 10**16), min_size=5, max_size=5), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_panes(changes):
    """Totals of any size and sign, and one with models between."""
    names = panes.texts_of(("shop.example", "Direct", 'a "c", "impressions":7', "", "ü", "", "EUR"))[1]
    old = None
    for numbers in changes:
        found = compiled.pane_value(29_000_000, names, numbers, old)
        old = panes.write_value(29_000_000, names, numbers, old)
        assert found in (old, None)
        assert found is not None or max(map(abs, numbers)) > 10**15
    full = panes.write_value(29_000_000, names, [1] * panes.WIDTH, old)
    assert compiled.pane_value(29_000_000, names, [1] * 5, full) is None
