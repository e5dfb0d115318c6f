"""Registry and imports as a person uses them: commands against a running stack, and what reports say then."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
import time
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from deploy.local.stack import LocalStack
from schemas.settings import Settings
from sinks.clickhouse.connection import connect

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

KEY = "a-key-for-imports"
REGISTRY = """
sites:
  - {site: shop, domains: [shop.example], currency: EUR, timezone: Europe/Berlin}
campaigns:
  - {campaign: spring, site: shop, source: google, medium: cpc, destinations: ["https://shop.example/"]}
"""
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Googlebot/2.1")
PATIENCE = 60.0


class Shell:
    """Runs commands against the stack in a directory."""

    def __init__(self, directory: Path, collector: str) -> None:
        self._env = os.environ | {"HEADWATER_DATA_DIR": str(directory), "HEADWATER_API_KEYS": f"test:{KEY}"}
        self.collector = collector

    async def run(self, *arguments: object, status: int = 0) -> str:
        """What a command prints to stdout."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "streams.cli.main",
            *map(str, arguments),
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, told = await process.communicate()
        assert process.returncode == status, told.decode()
        return output.decode()


def figures(settings: Settings) -> tuple[Any, ...]:
    """Visits, invalid touches and cost of paid search, and conversions, in ClickHouse."""
    with connect(settings) as client:
        came = "SELECT sum(visits), sum(invalid), sum(cost) FROM traffic WHERE channel = 'Paid Search'"
        return (*client.query(came).result_rows[0], client.query("SELECT count() FROM conversions").result_rows[0][0])


async def window_cost(settings: Settings) -> Decimal:
    """What the worker's window of a day says of the campaign's cost."""
    async with httpx.AsyncClient() as client:
        page = await client.get(f"http://{settings.worker_host}:{settings.worker_metrics_port}/metrics")
    labels = {"channel": "Paid Search", "campaign": "spring", "window": "24h", "currency": "EUR"}
    return sum(
        (
            Decimal(str(sample.value))
            for family in text_string_to_metric_families(page.text)
            for sample in family.samples
            if sample.name == "headwater_window_cost" and labels.items() <= sample.labels.items()
        ),
        Decimal(0),
    )


def access_log() -> str:
    """Ten visits of the campaign and five of a bot, in the last hour, and as many images."""
    lines = []
    for number in range(15):
        moment = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(time.time() - 60 * (number + 1)))
        agent = AGENTS[number >= 10]
        page = f"/p/{number}?utm_source=google&utm_medium=cpc&utm_campaign=spring"
        lines += [
            f'203.0.{number}.7 - - [{moment}] "GET {target} HTTP/1.1" 200 512 "-" "{agent}"'
            for target in (page, "/logo.png")
        ]
    return "\n".join(lines) + "\n"


def statements(cost: str, stated_at: int) -> str:
    """The costs of the last two hours, stated at a time."""
    hour = stated_at // 3_600_000 * 3_600_000
    lines = ["site,campaign,from,to,cost,currency,time"]
    lines += [f"shop,spring,{hour - n * 3_600_000},{hour - (n - 1) * 3_600_000},{cost},EUR,{stated_at}" for n in (1, 2)]
    return "\n".join(lines) + "\n"


async def test_registry_costs_conversions_and_logs(tmp_path):
    """All through the front door, twice: the figures are those of once, and a restatement is the last word.

    Views, report and the worker's windows agree.
    """
    now = int(time.time() * 1000)
    files = {name: tmp_path / name for name in ("shop.yaml", "a.csv", "b.jsonl", "orders.csv", "access.log.gz")}
    files["shop.yaml"].write_text(REGISTRY)
    files["a.csv"].write_text(statements("10.00", now))
    hour = now // 3_600_000 * 3_600_000
    restated = {"site": "shop", "campaign": "spring", "from": hour - 3_600_000, "to": hour, "cost": "12.34"}
    files["b.jsonl"].write_text(json.dumps(restated | {"currency": "EUR", "time": now + 1}) + "\nbroken\n")
    files["orders.csv"].write_text(
        f"site,time,action,order_id,value,currency\nshop,{now},purchase,o-1,67.02,EUR\nshop,{now},purchase,o-2,x,EUR\n"
    )
    files["access.log.gz"].write_bytes(gzip.compress(access_log().encode()))
    settings = Settings(data_dir=tmp_path / "stack", api_keys=SecretStr(f"test:{KEY}"))
    async with LocalStack(settings) as stack:
        at = stack.settings
        shell = Shell(tmp_path / "stack", f"http://{at.collector_host}:{at.collector_port}")
        assert (await shell.run("campaigns", "apply", files["shop.yaml"])).endswith("2 changes written\n")
        assert await shell.run("campaigns", "apply", files["shop.yaml"]) == "nothing changes: 2 as they are\n"
        log = await shell.run("import", "logs", files["access.log.gz"], "--site", "shop")
        assert "15 page views, 5 of them of bots" in log
        assert await shell.run("import", "logs", files["access.log.gz"], "--site", "shop") == log
        # Straight to Kafka and through the collector: the same lines are the same events.
        await shell.run("import", "costs", files["b.jsonl"], files["a.csv"], "--collector", shell.collector)
        await shell.run("import", "costs", files["a.csv"], files["b.jsonl"])
        await shell.run("import", "conversions", files["orders.csv"], "--collector", shell.collector)
        told = json.loads(await shell.run("import", "conversions", files["orders.csv"], "--json"))
        assert (told["accepted"], [line["line"] for line in told["rejected"]]) == (1, [3])

        seen: tuple[Any, ...] = ()
        deadline = monotonic() + PATIENCE
        while seen != (10, 5, Decimal("22.34"), 1):
            assert monotonic() < deadline, seen
            await asyncio.sleep(0.2)
            seen = await asyncio.to_thread(figures, at)
        while await window_cost(at) != Decimal("22.34"):
            assert monotonic() < deadline, await window_cost(at)
            await asyncio.sleep(0.2)
        report = json.loads(await shell.run("report", "campaigns", "--last", "24h", "--compare", "none", "--json"))
        (spring,) = [row for row in report["rows"] if row["campaign"] == "spring"]
        (money,) = spring["money"]
        assert (spring["visits"], spring["clicks"], money["cost"], money["roi"], money["cpc"]) == (
            10,
            0,
            22.34,
            -1,
            None,
        )
        (money,) = report["total"]["money"]
        assert (money["cost"], money["revenue"], money["roas"], money["cpa"]) == (22.34, 67.02, 3, 22.34)
