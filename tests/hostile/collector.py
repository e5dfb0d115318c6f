"""Checks of the collector's routes, by way of its one entrance."""

from __future__ import annotations

import random
import urllib.parse

import orjson
from prometheus_client import CollectorRegistry

from schemas.reasons import REASONS
from streams.collector.app import Collector
from streams.collector.campaigns import CampaignBook
from streams.collector.keys import Keys
from streams.collector.messages import BodyTooLarge, Request
from streams.collector.metrics import Metrics
from streams.collector.networks import Networks
from streams.collector.partners import Partners
from streams.collector.rules import Rules
from tests.hostile.core import CAMPAIGN, KEYS, SITE
from tests.hostile.drive import drive
from tests.hostile.mutations import (
    CLICK,
    CONVERSION,
    COST,
    FIELDS,
    NOW,
    OF_TOPIC,
    break_bytes,
    odd_address,
    odd_event,
    odd_object,
    odd_text,
    odd_value,
)

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
ROUTES = (
    "/events",
    "/pixel.gif",
    "/c/spring",
    "/c/",
    "/postback",
    "/import/costs",
    "/import/conversions",
    "/hw.js",
    "/x",
)
METHODS = ("GET", "POST", "OPTIONS", "HEAD", "PUT", "\x00", "get")
HEADERS = (
    *(
        "user-agent",
        "referer",
        "cookie",
        "origin",
        "x-forwarded-for",
        "forwarded",
        "x-forwarded-proto",
        "authorization",
    ),
    *(
        "content-type",
        "content-length",
        "content-encoding",
        "sec-gpc",
        "sec-purpose",
        "if-none-match",
        "accept-encoding",
    ),
    *("x-headwater-key", "x-headwater-time", "x-headwater-signature", "access-control-request-method", "purpose"),
)
TEXTS = (
    *(
        "1",
        "granted",
        "Bearer x",
        "Bearer token",
        "hw_vid=abc; hw_consent=denied",
        "hw_vid=\x00",
        "a=b;;=;",
        "prefetch",
    ),
    *(
        "application/json",
        "text/csv",
        "text/plain; charset=\xff",
        "gzip",
        "-1",
        "1e9",
        "for=[::1]:99999",
        "1.2.3.4, x, ",
    ),
    *(
        "https://shop.example",
        "null",
        "file://",
        "sha256=" + "0" * 64,
        "Mozilla/5.0 Googlebot/2.1",
        "x" * 5000,
        "::ffff:1.2.3.4",
    ),
)


class Log:
    """Keeps records in a list."""

    ready, state = True, ""

    def __init__(self):
        self.records = []

    async def append(self, records):
        self.records += records


class Headers(dict):
    """As granian has them."""

    def get_all(self, key):
        return [self[key]] if key in self else []


def _collector(**more):
    log = Log()
    book = CampaignBook(ready=True)
    spring = {**CAMPAIGN, "campaign": "spring"}
    book.take([(b"s", SITE.model_dump_json().encode()), (b"c", orjson.dumps(spring))])
    rules = Rules(
        proxies=Networks("10.0.0.0/8", "trusted_proxies"),
        api_keys=Keys("k:key", "api_keys"),
        partners=Partners("", "acme/1:token"),
        rate_per_ip=0,
        rate_authenticated=0,
        **more,
    )
    made = Collector(log, book, Metrics(CollectorRegistry()), keys=KEYS, rules=rules, clock=lambda: NOW)
    return made, log


COLLECTORS = {"kept": _collector(keep_ip=str), "truncated": _collector()}
"""One that keeps addresses of people as they are, and so every byte, and one that does not."""


def ask(method, path, query="", body=b"", addresses="truncated", **headers):
    """The answer to a request, and the records that it left; checks what holds for every answer."""

    async def read(limit):
        if len(body) > limit:
            raise BodyTooLarge(body[:limit])
        return body

    stated = Headers({"user-agent": AGENT} | {name.replace("_", "-"): value for name, value in headers.items()})
    collector, log = COLLECTORS[addresses]
    log.records.clear()
    answer = drive(collector.handle(Request(method, path, query, stated, "203.0.113.7", "http", read)))
    assert answer.status != 500, (method, path, query, body, headers)
    assert answer.status in {200, 202, 204, 302, 304, 400, 401, 403, 404, 405, 408, 413, 415, 429, 503}
    for name, value in answer.headers:
        assert all(text.isascii() and text.isprintable() for text in (name, value)), (name, value)
    for record in log.records:
        assert record.topic in {"clicks", "conversions", "costs", "dead-letters"}
        if record.key is not None:
            record.key.encode()
        for name, value in record.headers or ():
            assert name != "reason" or value.decode() in REASONS
    return answer, list(log.records)


def check_events(batch):
    """Every event of an array is accepted or rejected by its index; the good ones are kept, of the others the bytes."""
    parts = []
    for number, drawn in enumerate(batch):
        if isinstance(drawn, int) and not isinstance(drawn, bool) and drawn >= 0:
            parts.append(odd_event(drawn, ("clicks", "conversions", "costs")[drawn % 3], whole=True))
        else:
            parts.append(orjson.dumps(drawn))
        parts.append(orjson.dumps({**CLICK, "event_id": f"good-{number}"}))
    answer, records = ask("POST", "/events", body=b"[" + b",".join(parts) + b"]", addresses="kept")
    assert answer.status == 202, answer
    told = orjson.loads(answer.body)
    assert told["accepted"] + len(told["rejected"]) == len(parts)
    assert all(entry["reason"] in REASONS and entry["detail"] for entry in told["rejected"])
    rejected = [entry["index"] for entry in told["rejected"]]
    assert not [index for index in rejected if index % 2]
    dead = [record.value for record in records if record.topic == "dead-letters"]
    assert len(dead) == len(rejected)
    for value, index in zip(dead, rejected, strict=True):
        stated = orjson.loads(parts[index])
        # What links an event to a visitor who denied consent is not kept in what is refused either.
        if not isinstance(stated, dict) or stated.get("consent") != "denied":
            assert value == parts[index]
    kept = [orjson.loads(record.value) for record in records if record.topic == "clicks"]
    assert {event["event_id"] for event in kept if event["event_id"].startswith("good-")} >= {
        f"good-{number}" for number in range(len(batch))
    }


def check_bodies(batch):
    """Each body by itself; what is refused as a whole is kept as a whole."""
    for drawn in batch:
        if isinstance(drawn, bytes):
            body = drawn
        else:
            chance = random.Random(drawn)
            events = [odd_object(chance, chance.choice(OF_TOPIC["clicks"])) for _ in range(chance.randint(1, 3))]
            body = break_bytes(chance, orjson.dumps(events if chance.random() < 0.7 else events[0]))
        answer, records = ask("POST", "/events", body=body, addresses="kept")
        assert answer.status in {202, 400, 413}
        if answer.status != 202:
            assert [record.value for record in records] == [body]


def check_requests(batch):
    """Any method, address and headers."""
    for drawn in batch:
        chance = random.Random(drawn)
        path = chance.choice(ROUTES)
        if chance.random() < 0.2:
            path = "/" + odd_text(chance)
        elif chance.random() < 0.2:
            path += odd_text(chance)
        headers = {}
        for _ in range(chance.randint(0, 4)):
            value = chance.choice(TEXTS) if chance.random() < 0.7 else odd_address(chance.getrandbits(40))
            headers[chance.choice(HEADERS)] = value
        method = chance.choice(METHODS[:2]) if chance.random() < 0.8 else chance.choice(METHODS)
        ask(method, path, _query(chance), b"" if method == "GET" else odd_event(drawn, "clicks"), **headers)


def _query(chance):
    """The event of a pixel or a click, as an address states it."""
    good = chance.choice(OF_TOPIC["clicks"] + OF_TOPIC["conversions"])
    stated = {name: value for name, value in good.items() if chance.random() < 0.8}
    for _ in range(chance.randint(0, 3)):
        stated[chance.choice(FIELDS)] = odd_value(chance)
    pairs = [(name, value if isinstance(value, str) else str(value)) for name, value in stated.items()]
    text = urllib.parse.urlencode(pairs, errors="replace")
    if chance.random() < 0.3:
        text = break_bytes(chance, text.encode()).decode("latin-1")
    return text


def check_postbacks(batch):
    """By parameters, by a form and by JSON, from a partner whose token is right."""
    for drawn in batch:
        chance = random.Random(drawn)
        stated = odd_object(
            chance,
            {"txid": "t1", "payout": "9.90", "currency": "EUR", "site": "shop", "status": "sale", "click_id": "abc"},
        )
        for _ in range(chance.randint(0, 2)):
            name = chance.choice(("status", "cid", "clickid", "action", "event_id", "time", "hw_cid", "visitor_id"))
            stated[name] = odd_value(chance)
        texts = [(name, value if isinstance(value, str) else str(value)) for name, value in stated.items()]
        form = urllib.parse.urlencode(texts, errors="replace")
        way = drawn % 3
        if way == 0:
            answer, records = ask("GET", "/postback", f"token=token&{form}")
        elif way == 1:
            body = form.encode() if chance.random() < 0.7 else break_bytes(chance, form.encode())
            answer, records = ask("POST", "/postback", "token=token", body)
        else:
            body = orjson.dumps(stated)
            body = body if chance.random() < 0.7 else break_bytes(chance, body)
            answer, records = ask("POST", "/postback", "token=token", body, content_type="application/json")
        assert answer.status in {200, 400, 413}, answer
        if answer.status == 200:
            assert [record.topic for record in records] == ["conversions"]
        elif b'"reason"' in answer.body:
            assert [record.topic for record in records] == ["dead-letters"]


def check_imports(batch):
    """Any file, as CSV, as JSON lines, or as it comes."""
    for kind, good in (("costs", COST), ("conversions", CONVERSION)):
        lines = [",".join(good).encode()]
        for drawn in batch:
            if isinstance(drawn, bytes):
                lines.append(drawn)
            else:
                chance = random.Random(drawn)
                made = odd_object(chance, good)
                lines.append(",".join(str(made.get(name, "")) for name in good).encode("utf-8", "replace"))
        chance = random.Random(len(lines[-1]))
        if chance.random() < 0.3:
            lines[0] = break_bytes(chance, lines[0])
        query = f"file={urllib.parse.quote(odd_text(chance))}&time={NOW}"
        form = chance.choice(("text/csv", "application/x-ndjson", ""))
        answer, records = ask(
            "POST", f"/import/{kind}", query, b"\n".join(lines), authorization="Bearer key", content_type=form
        )
        told = orjson.loads(answer.body)
        if answer.status == 200:
            assert told["accepted"] + told["rejected_total"] == len(records)
        else:
            assert answer.status == 400
            assert told["reason"] in REASONS
