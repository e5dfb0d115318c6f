"""`POST /import/costs` and `/import/conversions`."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client import CollectorRegistry

from schemas.errors import Unavailable
from streams.collector import imports
from streams.collector.app import Collector
from streams.collector.keys import Keys
from streams.collector.messages import BodyTooSlow, Request
from streams.collector.metrics import Metrics
from streams.collector.rules import Rules
from tests.collector.conftest import KEYS, NO_BODY, NOW, Headers, browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from streams.collector.campaigns import CampaignBook
    from streams.collector.eventlog import Record
    from streams.collector.messages import Response
    from tests.collector.conftest import MemoryLog

KEY = {"authorization": "Bearer import-key"}
COSTS = f"site,campaign,date,cost,time\nshop,spring,2026-09-20,12.50,{NOW - 5000}\nshop,summer,2026-09-20,3,{NOW}\n"


@pytest.fixture
def importer(events: MemoryLog, book: CampaignBook) -> Collector:
    """A collector with an API key."""
    rules = Rules(api_keys=Keys("old:other-key,new:import-key", "api_keys"))
    return Collector(events, book, Metrics(CollectorRegistry()), keys=KEYS, rules=rules, clock=lambda: NOW)


async def post(collector: Collector, path: str, body: bytes | str, **headers: str) -> httpx.Response:
    async with browser(collector) as client:
        return await client.post(f"/import/{path}", content=body, headers={**KEY, **headers})


async def send(collector: Collector, pieces: Callable[[], AsyncIterator[bytes]], **headers: str) -> Response:
    """A file that comes in pieces."""
    sent = Headers(httpx.Headers({**KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}))
    path = "/import/costs"
    return await collector.handle(Request("POST", path, "file=a.csv", sent, "203.0.113.7", "http", NO_BODY, pieces))


async def test_costs(importer: Collector, events: MemoryLog) -> None:
    """Each line an event in `costs`; nothing of the uploader is in it."""
    answer = await post(importer, "costs", COSTS)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2, "rejected_total": 0, "rejected": []})
    assert [record.topic for record in events.records] == ["costs", "costs"]
    assert not {"ip", "user_agent"} & json.loads(events.records[0].value).keys()


async def test_conversions(importer: Collector, events: MemoryLog) -> None:
    """In `conversions`, with what is refused in `dead-letters`, whatever name the JSON has."""
    good = {"site": "shop", "time": NOW, "action": "purchase", "order_id": "o1", "value": "5"}
    lines = "\n".join(json.dumps(line) for line in (good, {**good, "value": "free"}))
    answer = (await post(importer, "conversions", lines, **{"content-type": "application/x-ndjson"})).json()
    assert (answer["accepted"], answer["rejected_total"]) == (1, 1)
    assert (answer["rejected"][0]["line"], answer["rejected"][0]["reason"]) == (2, "schema")
    assert [record.topic for record in events.records] == ["conversions", "dead-letters"]


async def test_sent_twice_counts_once(importer: Collector, events: MemoryLog) -> None:
    """The same file brings the same events, so that one that broke off can be sent again whole."""
    for _ in range(2):
        await post(importer, "costs?file=a.csv", COSTS)
    await post(importer, "costs?file=b.csv", COSTS)
    values = [json.loads(record.value) for record in events.records]
    assert values[:2] == values[2:4]
    assert len({value["event_id"] for value in values}) == 4


async def test_the_files_time(importer: Collector, events: MemoryLog) -> None:
    """Is that of lines without one; nonsense is refused before anything is read."""
    lines = "site,campaign,date,cost\nshop,spring,2026-09-20,1\n"
    assert (await post(importer, f"costs?time={NOW - 7}", lines)).json()["accepted"] == 1
    assert json.loads(events.records[0].value)["time"] == NOW - 7
    for wrong in ("yesterday", "-1", "9" * 30):
        assert (await post(importer, f"costs?time={wrong}", lines)).status_code == 400
    assert len(events.records) == 1


@pytest.mark.parametrize("headers", [{"authorization": "Bearer wrong"}, {"authorization": ""}])
async def test_without_a_key(importer: Collector, events: MemoryLog, headers: dict[str, str]) -> None:
    """401 before a byte is read."""

    async def pieces() -> AsyncIterator[bytes]:
        raise AssertionError
        yield b""

    assert (await send(importer, pieces, **headers)).status == 401
    assert not events.records


@pytest.mark.parametrize("key", ["other-key", "import-key"])
async def test_keys_are_rotated_by_id(importer: Collector, key: str) -> None:
    """While both are set, both open; also as `X-Api-Key`."""
    async with browser(importer) as client:
        assert (await client.post("/import/costs", content=COSTS, headers={"x-api-key": key})).status_code == 200


async def test_no_key_is_set(collector: Collector) -> None:
    """Then nobody imports."""
    assert (await post(collector, "costs", COSTS)).status_code == 401


async def test_wrong_header(importer: Collector, events: MemoryLog) -> None:
    """400 that says what it lacks; the header is kept."""
    answer = await post(importer, "costs", "site;campaign;cost\n")
    assert (answer.status_code, answer.json()["reason"]) == (400, "schema")
    assert [record.value for record in events.of("dead-letters")] == [b"site;campaign;cost"]


async def test_compressed(importer: Collector) -> None:
    """A small body may be a very large file: it comes as it is."""
    assert (await post(importer, "costs", b"\x1f\x8b", **{"content-encoding": "gzip"})).status_code == 415


async def test_a_file_is_not_held_in_memory(importer: Collector, events: MemoryLog) -> None:
    """200 MB take no more than their largest batch, however fast they come."""
    stated = {"site": "shop", "campaign": "spring", "date": "2026-09-20", "cost": 1, "time": NOW, "note": "x" * 60_000}
    line = json.dumps(stated).encode() + b"\n"
    count = 3_400
    kept = 0

    async def append(records: Sequence[Record]) -> None:
        nonlocal kept
        kept += len(records)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield line

    events.append = append  # type: ignore[method-assign]
    gc.collect()
    tracemalloc.start()
    try:
        answer = await send(importer, pieces)
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (answer.status, kept, len(line) * count > 200_000_000) == (200, count, True)
    assert grown < 12_000_000


async def test_too_long(importer: Collector, events: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused at once where it says so, else where it turns out; what was kept by then is told."""
    monkeypatch.setattr(imports, "MAX_BYTES", 100_000)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"site,campaign,date,cost,time\n"
        for _ in range(5_000):
            yield b"shop,spring,2026-09-20,1,%d\n" % NOW

    said = await send(importer, pieces, content_length="100001")
    assert (said.status, json.loads(said.body)["accepted"], events.records) == (413, 0, [])
    found = await send(importer, pieces)
    assert (found.status, json.loads(found.body)["accepted"]) == (413, len(events.records))
    assert len(events.records) > 1000


async def test_broken_off(importer: Collector, events: MemoryLog) -> None:
    """A line that may be half of one is not taken for whole."""

    async def pieces() -> AsyncIterator[bytes]:
        yield COSTS[:-3].encode()
        raise BodyTooSlow

    answer = await send(importer, pieces)
    assert answer.status == 408
    assert json.loads(answer.body)["accepted"] == len(events.records) == 0


async def test_not_kept(importer: Collector, events: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with what was kept until then, and the promise that it counts once."""
    append = events.append

    async def append_once(records: Sequence[Record]) -> None:
        if events.records:
            raise Unavailable("Kafka is not reachable")
        await append(records)

    monkeypatch.setattr(events, "append", append_once)
    lines = "site,campaign,date,cost,time\n" + f"shop,spring,2026-09-20,1,{NOW}\n" * 900
    answer = await post(importer, "costs", lines)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["accepted"] == 500
    assert "send the file again" in answer.json()["error"]


async def test_formulas_are_only_texts(importer: Collector, events: MemoryLog) -> None:
    """A text that a spreadsheet would run is kept as it is: it is made harmless where a sheet is written."""
    lines = f'site,campaign,date,cost,time\nshop,"=HYPERLINK(""http://x"")",2026-09-20,1,{NOW}\n'
    assert (await post(importer, "costs", lines)).json()["accepted"] == 1
    assert json.loads(events.records[0].value)["campaign"] == '=HYPERLINK("http://x")'
    answer = await post(importer, "costs", "=cmd|x,site\n")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
