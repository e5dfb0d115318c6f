"""Output records by hand, as the worker writes them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import orjson

NOW_MS = int(time.time()) * 1000 - 3_600_000
"""An hour ago, so that no table's time to live has passed."""
MINUTE = NOW_MS // 60_000


@dataclass
class Sample:
    """Stands in for a consumed record."""

    topic: str
    value: bytes | None
    partition: int = 0
    offset: int = 0
    timestamp: int = NOW_MS
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = field(default_factory=tuple)


def as_json(value: dict[str, Any]) -> bytes:
    """The value of a record."""
    return orjson.dumps(value)


def touch(event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    """A valid click of a paid search campaign."""
    return {
        "site": "shop",
        "visitor_id": "v1",
        "event_id": event_id,
        "type": "click",
        "time": NOW_MS,
        "received_at": NOW_MS,
        "channel": "Paid Search",
        "source": "google",
        "medium": "cpc",
        "campaign": "brand",
        "content": "",
        "term": "",
        "valid": True,
        "invalid_reasons": [],
        "internal": False,
        "cost_micros": 250_000,
        "currency": "USD",
        **fields,
    }


def candidate(touch_id: str = "e1", **fields: Any) -> dict[str, Any]:
    """A touch as an attribution lists it."""
    return {
        "touch_id": touch_id,
        "type": "click",
        "time": NOW_MS,
        "channel": "Paid Search",
        "source": "google",
        "medium": "cpc",
        "campaign": "brand",
        "content": "",
        "term": "",
        "ad_group": "",
        "ad": "",
        "partner": "",
        "variant": "",
        "audience": "",
        **fields,
    }


def attribution(conversion_id: str = "c" * 32, **fields: Any) -> dict[str, Any]:
    """A purchase of 10 with one touch, credited whole to it under two models."""
    value = fields.get("value_micros", 10_000_000)
    return {
        "site": "shop",
        "conversion_id": conversion_id,
        "visitor_id": "v1",
        "conversion_time": NOW_MS,
        "action": "purchase",
        "order_id": "o1",
        "status": "approved",
        "currency": "USD",
        "value_micros": value,
        "value_reported_micros": value,
        "revision": 1,
        "version": 1,
        "withdrawn": False,
        "cause": "first",
        "first_reported_at": NOW_MS,
        "last_changed_at": NOW_MS,
        "counted": True,
        "touches": [candidate()],
        "credits": {"last_touch": [[0, 1_000_000, value]], "linear": [[0, 1_000_000, value]]},
        **fields,
    }


def pane(**fields: Any) -> dict[str, Any]:
    """One click in a minute, no conversion."""
    return {
        "site": "shop",
        "minute": MINUTE,
        "channel": "Paid Search",
        "campaign": "brand",
        "partner": "",
        "variant": "",
        "audience": "",
        "currency": "USD",
        "impressions": 0,
        "clicks": 1,
        "landings": 0,
        "invalid": 0,
        "cost_micros": 250_000,
        "models": {},
        **fields,
    }


def spend(**fields: Any) -> dict[str, Any]:
    """A statement of 1 over two hours."""
    hour = NOW_MS // 3_600_000
    return {
        "site": "shop",
        "campaign": "brand",
        "from": hour * 3_600_000,
        "to": (hour + 2) * 3_600_000,
        "currency": "USD",
        "cost_micros": 1_000_000,
        "time": NOW_MS,
        "event_id": "s1",
        "hours": [[hour, 500_000, 3, 1], [hour + 1, 500_000, 3, 1]],
        **fields,
    }


LETTER_HEADERS = (
    ("reason", b"malformed"),
    ("detail", b"unexpected end"),
    ("topic", b"clicks"),
    ("partition", b"2"),
    ("offset", b"77"),
    ("time", str(NOW_MS).encode()),
    ("k", b"\x00\xff"),
)
