"""The metrics server of a role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from importlib.metadata import version

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, Counter

from sinks.prometheus import MetricsServer


class Role:
    """Stands in for a role that is ready or is not."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answer = (True, "")
        self.server = MetricsServer("127.0.0.1", 0, lambda: self.answer, self.registry)

    async def get(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Status, body and content type."""
        url = f"http://127.0.0.1:{self.server.port}{path}"
        async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as response:
            return response.status, await response.text(), response.headers["Content-Type"]


@pytest_asyncio.fixture
async def role() -> AsyncIterator[Role]:
    role = Role()
    await role.server.start()
    yield role
    await role.server.stop()


async def test_metrics_are_those_of_the_registry(role: Role) -> None:
    """What is counted is shown, in Prometheus' text format."""
    Counter("headwater_seen", "Seen.", registry=role.registry).inc(3)
    status, text, content_type = await role.get("/metrics")
    assert status == 200
    assert "headwater_seen_total 3.0" in text
    assert content_type.startswith("text/plain; version=")


async def test_openmetrics_where_asked(role: Role) -> None:
    """A scraper that accepts OpenMetrics gets it."""
    _, text, content_type = await role.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_what_a_role_writes_itself_is_a_part_of_it(role: Role, accept: str) -> None:
    """In both formats; where names are asked for, it hears them, and the registry gives nothing else."""
    asked: list[list[str]] = []

    async def more(names: Collection[str]) -> str:
        asked.append(list(names))
        return "# HELP own Own.\n# TYPE own gauge\nown 7\n"

    role.server._more = more
    for query in ("", "?name[]=own&name[]=headwater_ready"):
        _, text, _ = await role.get(f"/metrics{query}", Accept=accept)
        assert text.count("\nown 7\n") == 1
        assert text.endswith("# EOF\n" if accept else "\nown 7\n")
        assert "\nheadwater_ready 1.0\n" in text
        assert ("headwater_build_info" in text) == (not query)
    assert asked == [[], ["own", "headwater_ready"]]


async def test_a_role_says_whether_it_is_ready_and_which_version_it_is(role: Role) -> None:
    """As `/readyz` does, at the moment of the scrape."""
    assert role.registry.get_sample_value("headwater_ready") == 1
    role.answer = (False, "no partitions")
    _, text, _ = await role.get("/metrics")
    assert "\nheadwater_ready 0.0\n" in text
    assert f'headwater_build_info{{version="{version("headwater")}"}} 1.0' in text


async def test_alive_and_ready(role: Role) -> None:
    """A role that is ready says so."""
    assert (await role.get("/healthz"))[:2] == (200, "ok\n")
    assert (await role.get("/readyz"))[:2] == (200, "ready\n")


async def test_not_ready_says_why_in_one_line(role: Role) -> None:
    """Not ready is 503 and one line; alive all the same."""
    role.answer = (False, "no partitions\nassigned yet")
    assert (await role.get("/readyz"))[:2] == (503, "no partitions assigned yet\n")
    assert (await role.get("/healthz"))[0] == 200


async def test_stop_frees_the_port_and_may_be_repeated(role: Role) -> None:
    """After a stop the same port can be served again."""
    await role.server.stop()
    await role.server.stop()
    await role.server.start()
    assert (await role.get("/healthz"))[0] == 200


async def test_a_taken_port_is_an_error(role: Role) -> None:
    """Two roles cannot share one port."""
    other = MetricsServer("127.0.0.1", role.server.port, lambda: (True, ""), role.registry)
    with pytest.raises(OSError, match="address already in use"):
        await other.start()
