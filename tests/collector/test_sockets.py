"""The front door as the internet meets it: real sockets, slow, broken and hostile ones."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.registry import CampaignEntry
from streams.collector import server
from streams.collector.campaigns import CampaignBook
from streams.collector.keys import Keys
from streams.collector.rules import Rules
from tests.collector.door import DEADLINE_S, Door, open_door, read_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = b"host: x\r\nconnection: close\r\n"


RULES = Rules(api_keys=Keys("a:import-key", "api_keys"))
BOOK = CampaignBook(
    [CampaignEntry(campaign="spring", site="shop", destinations=["https://shop.example/"])],
    ready=True,
)


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    """A collector."""
    with open_door(BOOK, RULES) as door:
        yield door


@pytest.fixture(scope="module")
def hasty() -> Iterator[Door]:
    """One that has no patience."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "HEADERS_S", 0.5)
        patch.setattr(server, "UNREAD_S", 0.5)
        with open_door(BOOK, RULES, body_s=0.5) as door:
            yield door


def event(**fields: Any) -> bytes:
    now = time.time_ns() // 1_000_000
    stated = {"event_id": "e1", "type": "click", "time": now, "site": "shop", "visitor_id": "v1"}
    return json.dumps(stated | fields).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def trickle(door: Door, start: bytes, drop: bytes) -> bytes:
    """Send `start`, then `drop` again and again, until the other side has enough; what it answered."""
    until = time.monotonic() + DEADLINE_S
    found = b""
    with door.connect() as connection:
        connection.sendall(start)
        connection.settimeout(0.1)
        while time.monotonic() < until:
            try:
                piece = connection.recv(65_536)
                if not piece:
                    return found
                found += piece
            except TimeoutError:
                try:
                    connection.sendall(drop)
                except ConnectionError:
                    return found + read_all(connection)
            except ConnectionError:
                return found
    raise AssertionError("it was never cut")


@pytest.mark.parametrize(
    ("start", "drop", "answered"),
    [
        (b"", b"", 0),
        (b"POST /events HTTP/1.1\r\n", b"x: y\r\n", 0),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b"", 200),
        (b"POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n{", b" ", 408),
        (b"POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n{", b" ", 408),
        (b"POST /events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n", 408),
        (b"POST /postback HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n", b"a", 408),
        (
            b"POST /import/costs HTTP/1.1\r\nhost: x\r\nx-api-key: import-key\r\ncontent-length: 999999\r\n\r\n",
            b"site,",
            408,
        ),
    ],
    ids=["silent", "headers", "idle", "body", "large body", "chunks", "postback", "file"],
)
def test_slow_clients_are_cut(hasty: Door, start: bytes, drop: bytes, answered: int) -> None:
    """However they dawdle; where a request can be told from it, they are told."""
    assert status(trickle(hasty, start, drop)) == answered
    assert hasty.lives()


def test_who_reads_nothing_is_cut(hasty: Door) -> None:
    """Who asks and asks and leaves the answers lying does not keep a connection."""
    until = time.monotonic() + DEADLINE_S
    with hasty.connect() as connection:
        connection.settimeout(0.1)
        while time.monotonic() < until:
            try:
                connection.send(b"GET /hw.js HTTP/1.1\r\nhost: x\r\n\r\n" * 100)
            except TimeoutError:
                pass
            except ConnectionError:
                break
        else:
            raise AssertionError("it was never cut")
    assert hasty.lives()


def test_many_slow_clients_stop_nobody(hasty: Door) -> None:
    """Hundreds at once, while others are answered."""
    slow: list[socket.socket] = []
    try:
        for _ in range(400):
            slow.append(hasty.connect())
            slow[-1].sendall(b"POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        assert all(hasty.lives() for _ in range(5))
        assert {status(read_all(connection)) for connection in slow} == {408}
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize(
    ("request_head", "expected"),
    [
        (b"GET /healthz HTTP/1.1\r\n" + HEAD + b"x: " + b"y" * 200_000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\n" + HEAD + b"".join(b"x%d: y\r\n" % n for n in range(200)) + b"\r\n", 431),
        (b"GET /c/" + b"x" * 200_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 431),
        (b"GET /c/" + b"x" * 20_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
        (b"GET /pixel.gif?" + b"&".join(b"a%d=" % n for n in range(3_000)) + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 200),
        (b"POST /events HTTP/1.1\r\n" + HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}", 400),
        (b"POST /events HTTP/1.1\r\n" + HEAD + b"content-length: -1\r\n\r\n", 400),
        (b"POST /events HTTP/1.1\r\n" + HEAD + b"content-length: " + b"9" * 30 + b"\r\n\r\n", 400),
        (b"POST /events HTTP/1.1\r\n" + HEAD + b"transfer-encoding: gzip, identity\r\n\r\n{}", 400),
        (b"GET /healthz HTTP/1.1\r\n" + HEAD + b"x: a\r\n b\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n" + HEAD + b"x: a\x00b\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 400),
        (b"GET /health\x00z HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60, 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
        (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
        (b"TRACE /healthz HTTP/1.1\r\n" + HEAD + b"\r\n", 405),
        (b"GET /c/%ff%fe%00%0d%0a HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
    ],
)
def test_odd_requests(door: Door, request_head: bytes, expected: int) -> None:
    """Each gets one short answer or none, and nothing of it is repeated."""
    answer = door.ask(request_head)
    assert status(answer) == expected
    assert len(answer) < 1_000
    assert b"evil" not in answer
    assert b"passwd" not in answer
    assert door.lives()


def test_texts_that_are_no_ascii(door: Door) -> None:
    """In headers and addresses: never a failure of ours."""
    before = len(door.events.records)
    answer = door.ask(
        b"GET /pixel.gif?type=click&site=shop&sub1=\xc3\xa9%ff HTTP/1.1\r\n" + HEAD + b"user-agent: \xff\xfe\r\n"
        b"cookie: hw_vid=\xff\r\nreferer: \xe9\r\nx-forwarded-for: \xff\r\norigin: \xff\r\nsec-gpc: \xff\r\n\r\n"
    )
    assert status(answer) == 200
    [record] = door.events.records[before:]
    assert json.loads(record.value)["sub1"] == "é\ufffd"


@pytest.mark.parametrize("path", [b"/events", b"/postback"])
@pytest.mark.parametrize(
    "stated", [b"content-length: 5\r\ntransfer-encoding: chunked\r\n", b"transfer-encoding: chunked\r\n"]
)
def test_limits_hold_whatever_length_is_stated(door: Door, path: bytes, stated: bytes) -> None:
    """A body in chunks is as long as its chunks, whatever stands beside them."""
    head = b"POST " + path + b" HTTP/1.1\r\n" + HEAD + stated + b"\r\n"
    assert status(door.ask(head + chunked(b" " * 8_100_000))) == 413
    assert status(door.ask(head + chunked(event()))) == (202 if path == b"/events" else 401)


@pytest.mark.parametrize("stated", [b"content-length: 5000\r\n", b"transfer-encoding: chunked\r\n"])
@pytest.mark.parametrize("path", [b"/events", b"/import/conversions"])
def test_what_breaks_off_is_not_taken_for_whole(door: Door, path: bytes, stated: bytes) -> None:
    """Neither a file, whose last line would be another one, nor a body."""
    order = event(type="conversion", action="purchase", value=1500).replace(b"1500}", b"15")
    before = len(door.events.records)
    with door.connect() as connection:
        connection.sendall(b"POST " + path + b" HTTP/1.1\r\n" + HEAD + b"x-api-key: import-key\r\n" + stated + b"\r\n")
        csv = b"site,action,order_id,time,value\nshop,purchase,o1,%d,15" % (time.time_ns() // 1_000_000)
        body = csv if b"import" in path else order
        connection.sendall(b"%x\r\n%s\r\n" % (len(body), body) if b"chunked" in stated else body)
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert status(answer) in {0, 408}
    assert len(door.events.records) == before


def test_a_large_file_without_a_key(door: Door) -> None:
    """The answer comes before the file is read, and is seen."""
    head = b"POST /import/costs HTTP/1.1\r\n" + HEAD + b"x-api-key: wrong\r\ncontent-length: 50000000\r\n\r\n"
    assert status(door.ask(head + b"x" * 1_000_000)) == 401


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b"GET /c/spring?",
            b"POST /events HTTP/1.1\r\n" + HEAD,
            b"GET /pixel.gif HTTP/1.1\r\n" + HEAD + b"cookie: ",
        ]
    ),
)
def test_noise(door: Door, noise: bytes, start: bytes) -> None:
    """Any bytes: an answer of HTTP or none, never a failure of ours."""
    with door.connect() as connection:
        connection.sendall(start + noise)
        connection.shutdown(socket.SHUT_WR)
        assert status(read_all(connection)) // 100 in {0, 2, 3, 4}


def test_memory_is_flat_under_a_flood(door: Door) -> None:
    """Hundreds of megabytes of the worst bodies, and requests that are taken, from many connections at once."""
    door.events.records.clear()
    process = psutil.Process()
    worst: list[Callable[[], bytes]] = [
        lambda: b"[" + b"{}," * 2_600_000 + b"{}]",
        lambda: b"[" * 7_900_000,
        lambda: b'{"a":"' + b"x" * 7_900_000 + b'"}',
        lambda: b"x" * 9_000_000,
    ]

    def send(number: int) -> int:
        body = worst[number % len(worst)]()
        head = b"POST /events HTTP/1.1\r\n" + HEAD + b"content-length: %d\r\n\r\n" % len(body)
        answer = status(door.ask(head + body))
        door.events.records.clear()
        return answer

    def small(_number: int) -> int:
        body = event()
        return status(door.ask(b"POST /events HTTP/1.1\r\n" + HEAD + b"content-length: %d\r\n\r\n" % len(body) + body))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, range(24))) <= {202, 400, 413, 503}
        before = process.memory_info().rss
        assert set(pool.map(send, range(36))) <= {202, 400, 413, 503}
        assert set(pool.map(small, range(500))) == {202}
    assert process.memory_info().rss - before < 200_000_000  # of 300 MB that came
