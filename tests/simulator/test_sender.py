"""Sending over HTTP: every line acknowledged, whatever the collector does meanwhile."""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web

from schemas.errors import Unavailable
from streams.simulator import simulate
from streams.simulator.sender import CollectorRefused, content_of, departing, requests, send

END = 1_795_000_000_000
SHOP = simulate(3_000, 1, END, costs=True)
KEY = "a-key-for-imports"


def clock() -> int:
    return END + 60_000


@asynccontextmanager
async def collector(answer):
    """A collector on a free port; `answer(number, request)` may give a status, None takes the request."""
    taken: list[tuple[str, object]] = []
    count = 0

    def take_file(request: web.Request, body: bytes) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        events = rows(request.query["file"], body)
        taken.append((request.path, events))
        return web.json_response({"accepted": len(events), "rejected_total": 0, "rejected": []})

    async def handle(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        status = answer(count, request)
        if status == "cut":
            request.transport.close()
            return web.Response()
        if status:
            return web.Response(status=status)
        if request.method == "GET":
            taken.append((request.path, dict(request.query)))
            return web.Response(body=b"GIF89a")
        body = await request.read()
        if request.path == "/import/costs":
            return take_file(request, body)
        try:
            events = orjson.loads(body)
        except orjson.JSONDecodeError:
            events = None
        if not isinstance(events, list):
            taken.append((request.path, body))
            return web.json_response({"error": "malformed"}, status=400)
        taken.append((request.path, events))
        return web.json_response({"accepted": len(events), "rejected": []}, status=202)

    app = web.Application(client_max_size=10_000_000)
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}", taken
    finally:
        await runner.cleanup()


def rows(file: str, content: bytes) -> list[dict]:
    """What a file of costs says, as a reader of CSV or JSON lines has it."""
    if file.endswith(".csv"):
        return list(csv.DictReader(content.decode().splitlines()))
    return [orjson.loads(line) for line in content.splitlines()]


def identities(taken) -> list[str]:
    """One text for each line that was taken."""
    found = []
    for path, content in taken:
        if path == "/pixel.gif":
            found.append(content["event_id"])
        elif isinstance(content, bytes):
            found.append(content.decode(errors="replace"))
        else:
            found += [str(event.get("event_id")) for event in content]
    return found


def expected() -> Counter[str]:
    return Counter(
        line.raw.decode(errors="replace") if line.event is None else str(line.event.get("event_id"))
        for line in SHOP.lines
    )


async def test_every_line_arrives_once_and_progress_is_told():
    """Arrays, single malformed lines, some landings by pixel, and costs as files."""
    told = []
    async with collector(lambda number, request: None) as (url, taken):
        sent = await send(SHOP, url, now=clock, api_key=KEY, on_progress=told.append)
    assert Counter(identities(taken)) == expected()
    assert sum(told) == sent.lines == 3_000
    assert not sent.repeated
    assert sum(path == "/pixel.gif" for path, _ in taken) > 10
    assert sent.refused["malformed"] == SHOP.truth.dead_letters["malformed"]


async def test_what_is_not_acknowledged_is_sent_again():
    """503, 429 and a cut connection; what may have arrived twice is counted."""
    trouble = {1: 503, 3: "cut", 5: 429, 6: 500}
    async with collector(lambda number, request: trouble.get(number)) as (url, taken):
        sent = await send(SHOP, url, now=clock, api_key=KEY)
    assert Counter(identities(taken)) == expected()
    assert sent.repeated.total() > 0


async def test_the_last_part_comes_when_all_else_is_acknowledged():
    """Even where the first request is refused at first."""
    async with collector(lambda number, request: 503 if number <= 2 else None) as (url, taken):
        await send(SHOP, url, now=clock, api_key=KEY)
    marks = [
        isinstance(events, list)
        and any(str(e.get("content")).startswith("other-") or str(e.get("cost")) == "999999" for e in events)
        for _, events in taken
    ]
    assert marks.count(True) == 2
    assert marks[-2:] == [True, True]


async def test_an_answer_that_no_retry_mends_ends_sending():
    """404 is not waited out."""
    async with collector(lambda number, request: 404) as (url, _):
        with pytest.raises(CollectorRefused, match="404"):
            await send(SHOP, url, now=clock)


async def test_costs_need_a_key():
    """Without one the collector takes none, and nothing mends that."""
    async with collector(lambda number, request: None) as (url, _):
        with pytest.raises(CollectorRefused, match="401 to /import/costs"):
            await send(SHOP, url, now=clock)


def test_a_file_says_the_same_as_csv_and_as_json_lines():
    """Whatever fields its lines have."""
    events = [{"event_id": "a", "cost": 1.5}, {"event_id": "b", "clicks": 3, "cost": None}]
    assert rows("x.jsonl", content_of(events, "x.jsonl")) == events
    found = [{name: cell for name, cell in row.items() if cell} for row in rows("x.csv", content_of(events, "x.csv"))]
    assert found == [{"event_id": "a", "cost": "1.5"}, {"event_id": "b", "clicks": "3"}]


async def test_patience_ends():
    """Nothing acknowledged for too long."""
    async with collector(lambda number, request: 503) as (url, _):
        with pytest.raises(Unavailable, match="acknowledged nothing for 0.2 s: it answers 503"):
            await send(SHOP, url, now=clock, patience=0.2)


def test_senders_clocks_go_on():
    """What a sender says of its clock keeps its distance from the true time; receipt is the collector's to state."""
    event = {"event_id": "e", "received_at": END, "sent_at": END - 7_000, "time": 5}
    assert departing(event, END + 60_000) == {"event_id": "e", "sent_at": END + 53_000, "time": 5}
    assert departing({"received_at": END, "time": 5}, END + 60_000) == {"time": 5}


def test_requests_hold_each_line_once_in_bounded_arrays():
    """Never more than a batch; what no browser says goes apart, with the key."""
    made = list(requests(SHOP.first, batch=100))
    assert sum(len(request.lines) for request in made) == len(SHOP.first)
    assert max(len(request.lines) for request in made) == 100
    office = {"adjustment", "verdict", "cost"}
    for request in made:
        kinds = {line.event["type"] for line in request.lines if line.event}
        assert kinds <= office if request.keyed else not kinds & office
    assert len({request.file for request in made if request.file}) == len([r for r in made if r.file]) > 0
