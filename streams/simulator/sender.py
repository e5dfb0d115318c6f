"""Sends a simulation to a collector over HTTP: arrays of events, single pages by pixel, costs as files to be imported.

What browsers send goes without a key; adjustments and verdicts are the back office's, and go with its API key.

Rule: a line counts as sent only when the collector has acknowledged it; until then it is sent again, so a line can
arrive twice. Which lines may have is counted, for they can add to duplicates and dead letters.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson

from schemas.errors import HeadwaterError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from streams.simulator.generator import Line, Simulation
    from streams.simulator.journeys import Event

BATCH: Final = 250
CONNECTIONS: Final = 4
OFFICE: Final = ("adjustment", "verdict")
"""Events that no visitor's browser sends."""
COST_LINES: Final = 40
"""Of one file of costs."""
PIXEL_EVERY: Final = 50
"""One in so many landings goes by pixel."""
PATIENCE: Final = 120.0
"""Seconds without a single acknowledgement after which sending is given up."""
_TIMEOUT: Final = 20.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


class CollectorRefused(HeadwaterError):  # noqa: N818 - as the tree of errors names them
    """The collector answered in a way that sending again does not mend."""


@dataclass(slots=True)
class Sent:
    """What was sent.

    `repeated`: lines by outcome that may have arrived more than once; `refused`: what the collector refused at its
    door, by reason.
    """

    lines: int = 0
    requests: int = 0
    repeated: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Request:
    """One request and the lines that it carries."""

    lines: Sequence[Line]
    route: str = "/events"
    keyed: bool = False
    """Whether the API key goes with it, where there is one."""
    file: str = ""
    """The name of a file to be imported."""


async def send(
    simulation: Simulation,
    url: str,
    *,
    now: Callable[[], int],
    api_key: str = "",
    rate: float | None = None,
    on_progress: Callable[[int], object] = int,
    connections: int = CONNECTIONS,
    patience: float = PATIENCE,
) -> Sent:
    """Send every line of `simulation` to the collector at `url`, the last part after all others are acknowledged.

    `now` is the wall clock in milliseconds since the epoch, for what senders say of their clocks; `api_key` is needed
    for statements of cost, and for adjustments and verdicts where the collector has keys; `rate`: events a second at
    most; `on_progress` is told how many lines have just been acknowledged. Raises `Unavailable` when nothing was
    acknowledged for `patience` seconds, `CollectorRefused`.
    """
    sent = Sent()
    async with _session(url, connections) as session:
        sender = _Sender(session, now, sent, on_progress, patience, api_key)
        for part in (simulation.first, simulation.last):
            await sender.send_all(requests(part), connections, rate)
    return sent


def requests(lines: Sequence[Line], batch: int = BATCH) -> Iterator[Request]:
    """Lines as requests: arrays of up to `batch` events; what is no event goes alone, and some landings by pixel.

    What the back office says goes in arrays of its own, statements of cost in files, CSV and JSON lines in turn.
    """
    sizes = {"/events": batch, "office": batch, "/import/costs": COST_LINES}
    gathered: dict[str, list[Line]] = {way: [] for way in sizes}
    pages = files = 0
    for line in lines:
        way = _way(line)
        pages += way == "page"
        if way == "page":
            way = "/events" if pages % PIXEL_EVERY else "/pixel.gif"
        if way not in gathered:
            yield Request([line], "/events" if way == "alone" else way)
            continue
        gathered[way].append(line)
        if len(gathered[way]) == sizes[way]:
            files += way == "/import/costs"
            yield _gathered(way, gathered[way], files)
            gathered[way] = []
    for way, rest in gathered.items():
        if rest:
            yield _gathered(way, rest, files + 1)


def _way(line: Line) -> str:
    """How a line goes: by which route alone, or with which others; ``page``: by pixel, or with others."""
    if line.event is None:
        return "alone"
    kind = line.event["type"]
    if kind == "cost":
        return "/import/costs"
    if kind in OFFICE:
        return "office"
    return "page" if line.outcome == "accepted" and kind == "landing" else "/events"


def _gathered(way: str, lines: Sequence[Line], number: int) -> Request:
    if way == "/import/costs":
        return Request(lines, way, keyed=True, file=f"costs-{number}.{'csv' if number % 2 else 'jsonl'}")
    return Request(lines, keyed=way == "office")


def content_of(events: Sequence[Event], file: str) -> bytes:
    """Statements of cost as the content of `file`, by the end of its name."""
    if not file.endswith(".csv"):
        return b"\n".join(map(orjson.dumps, events))
    names = list(dict.fromkeys(name for event in events for name in event))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(events)
    return text.getvalue().encode()


def departing(event: Event, now: int) -> Event:
    """`event` as sent at `now`: its sender's clock goes on; when it is received, the collector states."""
    leaving = {name: value for name, value in event.items() if name != "received_at"}
    if "sent_at" in event:
        leaving["sent_at"] = now + event["sent_at"] - event["received_at"]
    return leaving


@asynccontextmanager
async def _session(url: str, connections: int) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:
        yield session


class _Sender:
    """Several connections that take requests from one list until each is acknowledged."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        now: Callable[[], int],
        sent: Sent,
        on_progress: Callable[[int], object],
        patience: float,
        api_key: str,
    ) -> None:
        self._session = session
        self._key = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._now = now
        self._sent = sent
        self._on_progress = on_progress
        self._patience = patience
        self._acknowledged_at = monotonic()

    async def send_all(self, waiting: Iterator[Request], connections: int, rate: float | None) -> None:
        """Send all requests, each until it is acknowledged."""
        started = monotonic()
        taken = 0

        async def connection() -> None:
            nonlocal taken
            for request in waiting:
                taken += len(request.lines)
                if rate:
                    await asyncio.sleep(max(0.0, started + taken / rate - monotonic()))
                await self._send(request)

        self._acknowledged_at = started
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(connections):
                    group.create_task(connection())
        except* HeadwaterError as failures:
            failure = failures.exceptions[0]
        else:
            return
        raise failure

    async def _send(self, request: Request) -> None:
        pause = _FIRST_PAUSE
        while True:
            problem = await self._try(request)
            if not problem:
                break
            for line in request.lines:
                self._sent.repeated[line.outcome] += 1
            if monotonic() - self._acknowledged_at > self._patience:
                raise Unavailable(f"the collector acknowledged nothing for {self._patience:g} s: {problem}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._acknowledged_at = monotonic()
        self._sent.lines += len(request.lines)
        self._on_progress(len(request.lines))

    async def _try(self, request: Request) -> str:
        """Send once; what is in the way, or "" when it is acknowledged."""
        self._sent.requests += 1
        try:
            if request.route == "/pixel.gif":
                async with self._session.get(request.route, params=self._parameters(request.lines[0])) as answer:
                    return self._judge(request, answer.status, await answer.read())
            if request.file:
                return await self._import(request)
            headers = {"content-type": "application/json"} | (self._key if request.keyed else {})
            async with self._session.post(request.route, data=self._body(request.lines), headers=headers) as answer:
                return self._judge(request, answer.status, await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"{type(error).__name__} {error}".strip()

    async def _import(self, request: Request) -> str:
        now = self._now()
        content = content_of([departing(line.event, now) for line in request.lines if line.event], request.file)
        named = {"file": request.file}
        async with self._session.post(request.route, params=named, data=content, headers=self._key) as answer:
            return self._judge(request, answer.status, await answer.read())

    def _body(self, lines: Sequence[Line]) -> bytes:
        if lines[0].event is None:
            return lines[0].raw
        now = self._now()
        return orjson.dumps([departing(line.event, now) for line in lines if line.event is not None])

    def _parameters(self, line: Line) -> dict[str, str]:
        return {name: str(value) for name, value in departing(line.event or {}, self._now()).items()}

    def _judge(self, request: Request, status: int, body: bytes) -> str:
        if status in {408, 429} or status >= 500:
            return f"it answers {status}"
        if status in {200, 202}:
            if request.route != "/pixel.gif":
                answer: dict[str, Any] = orjson.loads(body)
                self._sent.refused.update(rejection["reason"] for rejection in answer["rejected"])
            return ""
        if status == 400 and request.lines[0].event is None:
            self._sent.refused["malformed"] += 1
            return ""
        raise CollectorRefused(f"the collector answers {status} to {request.route}: {body[:200]!r}")
