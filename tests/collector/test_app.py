"""Health, metrics, and addresses that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import Settings
from streams.collector.networks import Networks
from streams.collector.server import signing_keys

if TYPE_CHECKING:
    import httpx

    from streams.collector.campaigns import CampaignBook
    from tests.collector.conftest import MemoryLog

NOW = 1_790_000_000_000


async def test_alive_without_kafka(client: httpx.AsyncClient, events: MemoryLog) -> None:
    """A restart would not bring Kafka back."""
    events.down = True
    assert (await client.get("/healthz")).status_code == 200


async def test_ready(client: httpx.AsyncClient, events: MemoryLog, book: CampaignBook) -> None:
    """Ready when Kafka is there and the registry is read."""
    assert (await client.get("/readyz")).status_code == 200
    book.ready = False
    assert (await client.get("/readyz")).status_code == 503
    book.ready = True
    events.down = True
    assert (await client.get("/readyz")).status_code == 503


async def test_figures(client: httpx.AsyncClient) -> None:
    """Requests by route and status, events by outcome, refusals by reason."""
    event = {"event_id": "e", "type": "click", "time": NOW, "site": "s", "visitor_id": "v"}
    await client.post("/events", json=[event, event, {"type": "x"}])
    await client.get("/c/unknown")
    await client.get("/secret/../../etc/passwd")
    text = (await client.get("/metrics")).text
    assert 'headwater_collector_requests_total{route="/events",status="202"} 1.0' in text
    assert 'headwater_collector_requests_total{route="/c/{campaign}",status="404"} 1.0' in text
    assert 'headwater_collector_requests_total{route="other",status="404"} 1.0' in text
    assert 'headwater_collector_request_seconds_count{route="/events"} 1.0' in text
    assert 'headwater_collector_events_total{outcome="accepted",topic="clicks"} 2.0' in text
    assert 'headwater_collector_events_total{outcome="dead_letter",topic="http"} 1.0' in text
    assert 'headwater_dead_letters_total{reason="schema"} 1.0' in text
    assert 'headwater_collector_requests_total{route="/pixel.gif",status="503"} 0.0' in text
    assert "headwater_ready 1.0" in text
    assert "headwater_collector_spooled_events 0.0" in text


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/events", 405, "POST, OPTIONS"),
        ("POST", "/pixel.gif", 405, "GET"),
        ("DELETE", "/c/spring", 405, "GET, HEAD"),
        ("GET", "/", 404, None),
        ("GET", "/c/", 404, None),
        ("GET", "/<script>alert(1)</script>", 404, None),
    ],
)
async def test_other_addresses(
    client: httpx.AsyncClient, method: str, path: str, status: int, allow: str | None
) -> None:
    """405 says what is taken; nothing of a request is repeated; browsers are told not to guess types."""
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    assert "script" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_failure_of_ours(client: httpx.AsyncClient, events: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug costs one request, and tells the client nothing."""

    async def fail(records: object) -> None:
        raise ValueError("inner secret")

    monkeypatch.setattr(events, "append", fail)
    answer = await client.post("/events", content=b"{")
    assert answer.status_code == 500
    assert "secret" not in answer.text


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example"])
def test_wrong_proxies(text: str) -> None:
    """Names and nonsense are a configuration error, in one line."""
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        Networks(text, "trusted_proxies")


def test_signing_keys() -> None:
    """As set; a key of the process's own where none is; an error where they are not `id:secret`."""
    assert signing_keys(Settings(click_id_keys="a:b,c:d"))[0] == ("a", b"b")
    assert signing_keys(Settings())[0][0] == "process"
    with pytest.raises(ConfigurationError):
        signing_keys(Settings(click_id_keys="secret-without-id"))
