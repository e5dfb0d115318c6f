"""The page's server: files, headers, one answer as JSON, health, and a ClickHouse that comes and goes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from deploy.local.ports import free_port
from deploy.local.probe import http_ok, until
from schemas.settings import Settings
from sinks.page import PageMetrics, PageServer
from tests.sinks.conftest import EngineProcess, Put
from tests.sinks.samples import Sample, as_json, pane

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def page(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the page on the test's database; the roles are away."""
    away = f"collector=http://127.0.0.1:{free_port()}"
    server = PageServer(
        settings.model_copy(update={"page_port": 0, "page_roles": away}), PageMetrics(CollectorRegistry())
    )
    await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        yield session
    await server.stop()


async def test_files_are_served_with_headers_that_let_nothing_in(page: aiohttp.ClientSession) -> None:
    """Nothing from elsewhere, nothing inline; unchanged files are not sent again; what is not there is not there."""
    async with page.get("/") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        html = await answer.text()
        tag = answer.headers["ETag"]
    assert "style=" not in html
    async with page.get("/", headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with page.get("/static/vendor/uPlot.iife.min.js", auto_decompress=False) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert int(answer.headers["Content-Length"]) < 30_000
        assert answer.content_type == "text/javascript"
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/nothing.js", "/static/", "/etc/passwd"):
        async with page.get(path) as answer:
            assert answer.status == 404, path
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_figures_once_as_json(page: aiohttp.ClientSession, put: Put) -> None:
    """The same as the live stream's; a parameter that means nothing is refused by its name."""
    sample = Sample("panes", as_json(pane(clicks=3)), offset=1)
    await asyncio.to_thread(put, sample)
    async with page.get("/figures", params={"site": "shop", "period": "24h"}) as answer:
        found = await answer.json()
    assert found["figures"]["kpis"]["values"]["visits"] == 3
    assert found["health"]["verdict"] == "bad"
    assert found["health"]["roles"][0]["state"] == "away"
    for path in ("/figures", "/live"):
        async with page.get(path, params={"period": "now"}) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"].startswith("period: ")


async def test_health_by_the_usual_routes(page: aiohttp.ClientSession) -> None:
    """As every role has them."""
    for path in ("/healthz", "/readyz"):
        async with page.get(path) as answer:
            assert answer.status == 200
    async with page.get("/metrics") as answer:
        text = await answer.text()
    assert "headwater_page_viewers 0.0" in text
    assert "headwater_ready 1.0" in text
    assert "headwater_build_info" in text


async def test_clickhouse_may_come_and_go(page: aiohttp.ClientSession, engine: EngineProcess, put: Put) -> None:
    """While it is away the stream says so and stays; when it is back, figures come by themselves."""
    await asyncio.to_thread(put, Sample("panes", as_json(pane()), offset=1))
    async with asyncio.timeout(60), page.get("/live", params={"site": "shop"}) as stream:
        assert stream.content_type == "text/event-stream"

        async def tick(*, well: bool) -> dict:
            async for line in stream.content:
                if line.startswith(b'data: {"at"'):
                    found = orjson.loads(line.removeprefix(b"data: "))
                    if (not found["problem"]) is well:
                        return found
            pytest.fail("the stream ended")

        await tick(well=True)
        engine.kill()
        try:
            problem = (await tick(well=False))["problem"]
            assert "does not answer" in problem
            async with page.get("/figures", params={"site": "shop"}) as answer:
                assert answer.status == 503
            async with page.get("/readyz") as answer:
                assert answer.status == 200
        finally:
            await asyncio.to_thread(engine.start)
        await tick(well=True)


async def test_the_command_starts_without_anything_and_stops_with_viewers(tmp_path) -> None:
    """No ClickHouse, no roles: it serves; SIGTERM ends it in order while a stream is open."""
    port = free_port()
    environment = {**os.environ, "HEADWATER_PAGE_PORT": str(port), "HEADWATER_DATA_DIR": str(tmp_path)}
    environment |= {"HEADWATER_CLICKHOUSE_PORT": str(free_port())}
    command = [sys.executable, "-m", "streams.cli.main", "page"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert await until(lambda: http_ok("127.0.0.1", port, "/readyz"), 30)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session, session.get("/live") as stream:
            async for line in stream.content:
                if b"does not answer" in line:
                    break
            process.send_signal(signal.SIGTERM)
            await stream.content.read()
        told, _ = await asyncio.to_thread(process.communicate, timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, told
    assert "page_stopped" in told


def test_a_taken_port_is_one_clear_line(tmp_path) -> None:
    """Named by its setting."""
    taken = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", "page"],
        env={
            **os.environ,
            "HEADWATER_PAGE_PORT": "1",
            "HEADWATER_PAGE_HOST": "203.0.113.1",
            "HEADWATER_DATA_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert taken.returncode == 1
    assert taken.stderr.startswith("headwater: page_port: ")
    assert taken.stderr.count("\n") == 1
