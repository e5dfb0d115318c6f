"""Inputs that nobody wants: good ones, broken in ways that senders, networks and attackers break them.

Rule: an input is a function of one number, so that Hypothesis may draw millions of them, and one that broke something
can be made again.
"""

from __future__ import annotations

import random
from typing import Any, Final

import orjson

NOW: Final = 1_790_000_000_000

ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**64 - 1, -(2**63), 1e308, 5e-324, -0.0, 0.1),
    *("", " ", "\x00", "\x7f", "\u00ff", "\U0001f4a5" * 20, "\u202e", "\ufeff", "\u2028", "i\u0307", "\u0661\u0662"),
    *("a" * 65, "a" * 129, "a" * 257, "a" * 9000, "\n", "\r\nset-cookie: x=y", "<script>", "' OR 1=1 --", "%00", "%"),
    *(
        "0",
        "-1",
        "1e999",
        "NaN",
        "Infinity",
        "null",
        "1" * 400,
        "0x10",
        "1_000",
        "1,5",
        "+1",
        "1e-7",
        "99999999999.9999995",
    ),
    *("2026-02-30T00:00:00Z", "9999-12-31T23:59:59.999999-23:59", "0001-01-01T00:00:00+14:00", "2026-07-01"),
    *("2026-07-01T12:00", "+10000-01-01T00:00:00Z", "2026-W01-1T00:00Z", "1970-01-01T00:00:00Z", "2106-01-02"),
    *([], {}, [[]], {"": {}}, ["a"] * 40, {"a": None}, [None, 1, "x"], {"type": "click"}),
    *("click", "conversion", "adjustment", "consent", "verdict", "cost", "EUR", "eur", "XXX", "granted", "restate"),
    *(NOW, NOW + 10**7, NOW - 40 * 86_400_000, float(NOW), NOW + 0.5, 253_402_300_799_999, 253_402_300_800_000),
)
"""Values in the place of others."""
RAW: Final = (
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"-",
        b"1" * 500,
        b"01",
        b"1.",
        b".5",
        b"0x10",
        b"'a'",
        b"undefined",
    ),
    *(
        b'"\\ud800"',
        b'"\\u0000"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\xaf"',
        b'"',
        b'"\\',
        b"[" * 600,
        b'{"a":' * 300,
    ),
    *(b"[" * 40 + b"]" * 40, b'{"a":' * 40 + b"1" + b"}" * 40, b"{}", b"[]", b"", b"\x00", b"/* */1", b"1,", b"}"),
)
"""Bytes in the place of a value."""
ADDRESSES: Final = (
    *(
        "https://shop.example/?utm_source=google&utm_medium=cpc",
        "http://[::1]:99999/",
        "https://[::1",
        "https://a@b@c/",
    ),
    *("//shop.example", "https:/\\shop.example", "javascript:alert(1)", "data:text/html,x", "https://\u00fc.example/"),
    *("https://xn--\u00fc.example/", "https://xn--/", "https://a..b/", "https://-a-.example", "https://1.2.3.4.5/"),
    *("https://shop.example:port/", "https://%73hop.example/", "https://shop.example%00.evil/", "https://\u2488.com/"),
    *("https://shop.example/#?utm_source=%E0%A4%A", "https://shop.example/?hw_cid=hw1.x.y.z", "?utm_source", "&&&=&="),
    *(
        "android-app://com.google.android.gm/",
        "ios-app://12345",
        "https://" + "a" * 300 + ".example/",
        "https://." * 50,
    ),
    *("https%3A%2F%2Fshop.example%2F%3Futm_source%3Da", "https%3A%2F%2F" * 20, "http://\u0130.example", "about:blank"),
    *(
        "https://shop.example/?" + "utm_source=a&" * 400,
        "https://google.com/search?q=x",
        "https://" + "\U0001f4a9" * 30,
    ),
    *(
        "https://shop.example/?gclid=" + "x" * 3000,
        "?gclid=%FF%FE",
        "https://shop.example/?utm_source=%2525",
        "\x00://",
    ),
)
"""Addresses, and what only looks like one."""
CLICK: Final[dict[str, Any]] = {
    "event_id": "e1",
    "type": "click",
    "time": NOW,
    "site": "shop",
    "visitor_id": "v1",
    "url": "https://shop.example/?utm_source=google&utm_medium=cpc&gclid=abc",
    "referrer": "https://www.google.com/",
    "cost": "0.25",
    "currency": "EUR",
}
CONVERSION: Final[dict[str, Any]] = {
    "event_id": "c1",
    "type": "conversion",
    "time": NOW,
    "site": "shop",
    "visitor_id": "v1",
    "action": "purchase",
    "order_id": "o1",
    "value": "49.90",
    "currency": "EUR",
    "status": "pending",
}
COST: Final[dict[str, Any]] = {
    "event_id": "k1",
    "time": NOW,
    "site": "shop",
    "campaign": "spring",
    "date": "2026-09-20",
    "cost": "12.34",
    "currency": "EUR",
    "impressions": 1000,
    "clicks": 10,
}
OF_TOPIC: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "clicks": (
        CLICK,
        {**CLICK, "type": "landing", "event_id": "l1"},
        {**CLICK, "type": "impression", "event_id": "i1"},
        {"event_id": "s1", "type": "consent", "time": NOW, "site": "shop", "visitor_id": "v1", "consent": "denied"},
        {
            "event_id": "j1",
            "type": "verdict",
            "time": NOW,
            "site": "shop",
            "visitor_id": "v1",
            "touch_event_id": "e1",
            "valid": False,
            "reasons": ["bot"],
        },
    ),
    "conversions": (
        CONVERSION,
        {
            "event_id": "a1",
            "type": "adjustment",
            "time": NOW,
            "site": "shop",
            "action": "purchase",
            "order_id": "o1",
            "adjustment": "restate",
            "value": "10",
        },
        {
            "event_id": "a2",
            "type": "adjustment",
            "time": NOW,
            "site": "shop",
            "adjustment": "retract",
            "conversion_event_id": "c1",
        },
    ),
    "costs": (COST, {**{name: COST[name] for name in COST if name != "date"}, "from": NOW, "to": NOW + 7_200_000}),
}
"""Good events of each topic."""
FIELDS: Final = tuple(
    dict.fromkeys(
        [name for events in OF_TOPIC.values() for event in events for name in event]
        + ["user_id", "sent_at", "received_at", "ip", "user_agent", "consent", "schema", "click_id", "source", "medium"]
        + ["content", "term", "partner", "variant", "audience", "sub1", "country", "channel", "extra", "fp", "\x00", ""]
        + ["value_micros", "cost_micros", "said", "valid", "invalid_reasons", "evidence", "__proto__", "a" * 300]
    )
)


def odd_value(chance: random.Random) -> Any:
    """Something in the place of a value."""
    pick = chance.random()
    if pick < 0.2:
        return chance.choice(ADDRESSES)
    if pick < 0.3:
        return odd_text(chance)
    return chance.choice(ODD)


def odd_text(chance: random.Random) -> str:
    """A short text of any characters."""
    ranges = ((32, 126), (0, 31), (128, 0x2FF), (0x300, 0xD7FF), (0x1F300, 0x1F6FF))
    return "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(chance.randint(0, 12)))


def odd_object(chance: random.Random, good: dict[str, Any]) -> dict[str, Any]:
    """`good` with a few of its fields, or others, as nobody expects them; now and then as it was."""
    made = dict(good)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 4))):
        name = chance.choice(FIELDS) if chance.random() < 0.4 else chance.choice(list(good))
        if chance.random() < 0.2:
            made.pop(name, None)
        else:
            made[name] = odd_value(chance)
    return made


def break_bytes(chance: random.Random, data: bytes) -> bytes:
    """`data` cut, changed, doubled, or with something in it that does not belong there."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randint(0, len(data))
        what = chance.randint(0, 5)
        if what == 0:
            data = data[:place]
        elif what == 1 and place < len(data):
            data = data[:place] + bytes([data[place] ^ (1 << chance.randint(0, 7))]) + data[place + 1 :]
        elif what == 2:
            data = data[:place] + chance.randbytes(chance.randint(1, 8)) + data[place:]
        elif what == 3:
            data = data[:place] + data[chance.randint(0, len(data)) :]
        elif what == 4:
            data = data[:place] + chance.choice(RAW) + data[place:]
        else:
            colon = data.find(b":", place)
            end = data.find(b",", colon)
            if 0 <= colon < end:
                data = data[: colon + 1] + chance.choice(RAW) + data[end:]
    return data


def odd_event(seed: int, topic: str, *, whole: bool = False) -> bytes:
    """An event of `topic` as bytes; `whole`: JSON, whatever it says."""
    chance = random.Random(seed)
    made = orjson.dumps(odd_object(chance, chance.choice(OF_TOPIC[topic])))
    return made if whole or chance.random() < 0.6 else break_bytes(chance, made)


def odd_address(seed: int) -> str:
    """An address, or what only looks like one."""
    chance = random.Random(seed)
    text = chance.choice(ADDRESSES)
    for _ in range(chance.choice((0, 1, 2, 3))):
        place = chance.randint(0, len(text))
        piece = chance.choice(
            (odd_text(chance), chance.choice(ADDRESSES), "%", "?", "#", "@", ":", "[", "]", "\\", "//")
        )
        text = text[:place] + piece + text[chance.choice((place, min(len(text), place + 3))) :]
    return text
