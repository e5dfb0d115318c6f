"""A stack with two workers and a real Prometheus that has watched a simulated shop go through it."""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from clickhouse_connect.driver.client import Client

from deploy.local.ports import HOST, free_port
from deploy.local.probe import http_ok, until
from deploy.local.process import Child, Lifeline, last_line
from deploy.local.stack import LocalStack
from deploy.prometheus.local import command, configuration, read_ports
from schemas.settings import Settings
from sinks.clickhouse.connection import connect
from streams.cli.campaigns import write_registry
from streams.cli.demo_figures import count_rows
from streams.cli.registry_file import read_registry_file
from streams.simulator import simulate
from streams.simulator.sender import send
from streams.simulator.shop import SITE, registry

EVENTS = 4_000
VISITS = 3
WORKERS = 2


@dataclass(frozen=True)
class Observed:
    """Where everything is, what was sent, and from when to when it was watched (seconds since the epoch)."""

    settings: Settings
    clickhouse: Client
    http: httpx.Client
    ports: dict[str, int]
    prometheus: str
    refused: int
    duplicates: int
    began: float

    def ask(self, path: str, **parameters: Any) -> Any:
        """The answer of Prometheus' API to a question; an error fails."""
        answer = self.http.get(f"{self.prometheus}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def values(self, expr: str, *, over_time: bool = False) -> list[float]:
        """All numbers that an expression has now, or, a point a second, since the beginning."""
        if over_time:
            data = self.ask("query_range", query=expr, start=self.began, end=time.time(), step=1)["result"]
            found = [float(value) for series in data for _, value in series["values"]]
        else:
            data = self.ask("query", query=expr)
            rows = [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
            found = [float(value) for _, value in rows]
        return [number for number in found if not math.isnan(number)]

    def rows(self, statement: str) -> list[list[Any]]:
        """ClickHouse's answer to a statement."""
        return [list(row) for row in self.clickhouse.query(statement).result_rows]

    def metrics(self, service: str) -> str:
        """What a service of the stack tells Prometheus, in OpenMetrics, as Prometheus asks for it."""
        accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
        answer = self.http.get(f"http://{HOST}:{self.ports[service]}/metrics", headers=accept)
        assert answer.status_code == 200
        return answer.text


@asynccontextmanager
async def observed(directory: Path) -> AsyncIterator[Observed]:
    """Start it all, send the shop's events, and wait until ClickHouse and Prometheus know of all of them."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed (Debian: package prometheus)")
    began = time.time()
    async with (
        LocalStack(Settings(data_dir=directory / "stack", partitions=4), workers=WORKERS) as stack,
        Lifeline() as lifeline,
        AsyncExitStack() as resources,
    ):
        settings = stack.settings
        client = resources.enter_context(connect(settings))
        http = resources.enter_context(httpx.Client(timeout=30))
        ports = read_ports(settings.data_dir)
        port = free_port()
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration(ports, every="1s")), encoding="utf-8")
        prometheus = Child(command(directory, port), directory / "prometheus.log", lifeline=lifeline)
        await prometheus.start()
        try:
            assert await until(partial(http_ok, HOST, port, "/-/ready"), 30), last_line(prometheus.log)
            shop = directory / "shop.yaml"
            now = time.time_ns() // 1_000_000
            shop.write_text(yaml.safe_dump(registry(now)), encoding="utf-8")
            await write_registry(settings, read_registry_file(shop))
            keys = settings.click_id_keys.get_secret_value()
            simulation = await asyncio.to_thread(simulate, EVENTS, 1, now, keys)
            truth = simulation.truth
            refused = sum(truth.dead_letters.values())
            address = f"http://{HOST}:{port}"
            watched = Observed(settings, client, http, ports, address, refused, truth.duplicates, began)
            assert await until(partial(_all_up, watched, len(ports) - 1), 20)
            url = f"http://{settings.collector_host}:{settings.collector_port}"
            await send(simulation, url, now=lambda: time.time_ns() // 1_000_000)
            await asyncio.to_thread(visit, http, url)
            expected = truth.touches + truth.conversions + refused + VISITS
            assert await until(partial(_arrived, watched, expected), 60)
            assert await until(partial(_counted, watched), 30)
            yield watched
        finally:
            await prometheus.stop(5)


def visit(http: httpx.Client, url: str) -> None:
    """Somebody comes just now: at night the simulated shop may have had nobody for an hour."""
    now = time.time_ns() // 1_000_000
    page = f"https://www.{SITE}.example/?utm_source=google&utm_medium=cpc"
    visits = [
        {"event_id": f"now-{n}", "type": "landing", "time": now, "site": SITE, "visitor_id": f"now-{n}", "url": page}
        for n in range(VISITS)
    ]
    assert http.post(f"{url}/events", json=visits).json() == {"accepted": VISITS, "rejected": []}


async def _all_up(watched: Observed, targets: int) -> bool:
    return await asyncio.to_thread(watched.values, "sum(up)") == [targets]


async def _arrived(watched: Observed, expected: int) -> bool:
    return await asyncio.to_thread(count_rows, watched.clickhouse, SITE) >= expected


async def _counted(watched: Observed) -> bool:
    """Whether Prometheus has seen all of it, and the rules too."""
    total = await asyncio.to_thread(watched.values, "sum(headwater_dead_letters_total)")
    repeated = await asyncio.to_thread(watched.values, 'sum(headwater_events_total{outcome="duplicate"})')
    ratio = await asyncio.to_thread(watched.values, "sum(headwater:dead_letters:ratio5m)")
    taken = await asyncio.to_thread(watched.values, 'sum(headwater_collector_events_total{outcome="accepted"})')
    read = 'sum(headwater_records_read_total{topic=~"clicks|conversions|costs"})'
    all_read = await asyncio.to_thread(watched.values, read) == taken
    enough = all_read and sum(total) >= watched.refused and sum(repeated) >= watched.duplicates
    return enough and bool(ratio and ratio[0] > 0)
