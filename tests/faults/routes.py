"""The collector's routes as senders use them: what is asked for, and what the answer says was acknowledged.

Rule: an event is sent until it is acknowledged, a file whole each time; what an answer refuses is acknowledged too,
since it must be in ``dead-letters``. An event comes by whichever route takes it, its copies by others.
"""

from __future__ import annotations

import asyncio
import csv
import hmac
import io
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from streams.collector.import_lines import Reader
from tests.faults.crowds import PARTNER

AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
API_KEY = "files"
POSTBACK_KEY = (f"{PARTNER}/1", b"postbacks")
COLLECTOR = {
    "HEADWATER_API_KEYS": f"load:{API_KEY}",
    "HEADWATER_POSTBACK_KEYS": f"{POSTBACK_KEY[0]}:{POSTBACK_KEY[1].decode()}",
}
"""The collector's settings by which it knows the senders."""
PATIENCE = 120.0
AGAIN = {429, 500, 502, 503, 504}
DAY_MS = 86_400_000
WORDS = {"restate": "restate", "retract": "refund"}
"""Adjustment -> the word by which a postback states it; it has none for the others."""


@dataclass(frozen=True)
class Message:
    """One request; `events` is what it tells of, `taken` says whether the answer's status and body acknowledge it."""

    method: str
    path: str
    events: list[dict]
    right: Callable[[int, bytes], bool]
    body: bytes | None = None
    content_type: str = "application/json"


async def send(
    session: aiohttp.ClientSession,
    url: str,
    message: Message,
    attempted: Callable[[], object],
    *,
    cookie: str = "",
    lost: bool = False,
) -> dict[str, str]:
    """Send a message to the collector at `url` until it is answered for; the answer's headers.

    `lost`: the first answer does not get through to the sender.
    """
    headers = {"content-type": message.content_type} if message.body is not None else {}
    headers |= {"cookie": cookie} if cookie else {}
    # As it is: a signature is about these very characters.
    address = URL(url + message.path, encoded=True)
    deadline = time.monotonic() + PATIENCE
    while True:
        attempted()
        problem = "no answer"
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with session.request(
                message.method, address, data=message.body, headers=headers, allow_redirects=False
            ) as answer:
                text = await answer.read()
                problem = f"{answer.status} {text[:200]!r}"
                if message.right(answer.status, text):
                    if lost:
                        lost = False
                        continue
                    return dict(answer.headers)
                assert answer.status in AGAIN, f"{message.path}: {problem}"
        assert time.monotonic() < deadline, f"the collector acknowledged nothing for {PATIENCE} s: {problem}"
        await asyncio.sleep(0.2)


def opened_session() -> aiohttp.ClientSession:
    """A server's connections: with its key, and without cookies."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=15),
        headers={"user-agent": AGENT, "authorization": f"Bearer {API_KEY}"},
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def by_events(events: list[dict]) -> Message:
    """``POST /events``."""
    return Message("POST", "/events", events, _all_of(202, len(events)), orjson.dumps(events))


def by_pixel(event: dict) -> Message:
    """``GET /pixel.gif``: an image says that the event is kept, or refused and kept as that."""
    said = event | ({"valid": str(event["valid"]).lower()} if "valid" in event else {})
    said |= {"reasons": ",".join(event["reasons"])} if "reasons" in event else {}
    return Message("GET", f"/pixel.gif?{urlencode(said)}", [event], lambda status, _: status == 200)


def fits_postback(event: dict) -> bool:
    """Whether a postback can state this event."""
    return event.get("partner") == PARTNER and event.get("adjustment", "restate") in WORDS


def by_postback(event: dict, chance: random.Random, now: int) -> Message:
    """``/postback``, signed; in our own names where it may be refused, for it lies in dead-letters as it came."""
    said = {name: value for name, value in event.items() if name != "partner"}
    if "adjustment" in said:
        said["status"] = WORDS[said["adjustment"]]
    if now - 20 * DAY_MS < said["time"] < now:
        said = {{"order_id": "txid", "value": "payout"}.get(name, name): value for name, value in said.items()}
    if chance.random() < 0.5:
        return signed("GET", said, [event])
    return signed("POST", said, [event])


def signed(method: str, said: dict, events: list[dict]) -> Message:
    """A postback with its partner's signature, which is the same one each time it is sent."""
    name, secret = POSTBACK_KEY
    stamp = str(int(time.time()))
    query = urlencode({"key": name, "ts": stamp} | (said if method == "GET" else {}))
    body = orjson.dumps(said) if method == "POST" else None
    text = f"{stamp}\n{method}\n{query}\n".encode() + (body or b"")
    signature = hmac.new(secret, text, "sha256").hexdigest()
    return Message(method, f"/postback?{query}&sig={signature}", events, lambda status, _: status in {200, 400}, body)


def by_file(events: list[dict], name: str, chance: random.Random) -> Message:
    """A file for ``/import/costs`` or ``/import/conversions``; some lines leave their event's id to the collector."""
    kind = "cost" if events[0]["type"] == "cost" else "conversion"
    lines = []
    for event in events:
        line = {key: value for key, value in event.items() if key != "type" or chance.random() < 0.5}
        if chance.random() < 0.3:
            del line["event_id"]
        lines.append(line)
    if chance.random() < 0.5:
        columns = list(dict.fromkeys(key for line in lines for key in line))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        body, content_type = text.getvalue().encode(), "text/csv"
    else:
        body, content_type = b"".join(orjson.dumps(line) + b"\n" for line in lines), "application/x-ndjson"
    reader = Reader(kind, file=name)
    told = [line.data for line in [*reader.feed(body), *reader.end()]]
    path = f"/import/{kind}s?{urlencode({'file': name})}"
    return Message("POST", path, told, _all_of(200, len(events)), body, content_type)


def _all_of(status: int, number: int) -> Callable[[int, bytes], bool]:
    """Whether an answer counts all events as accepted or refused."""

    def right(found: int, text: bytes) -> bool:
        if found != status:
            return False
        said = orjson.loads(text)
        return said["accepted"] + said.get("rejected_total", len(said["rejected"])) == number

    return right
