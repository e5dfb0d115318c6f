"""Health, metrics, and addresses that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from schemas.errors import ConfigurationError, Unavailable
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


async def test_why_not_now_is_for_operators(
    client: httpx.AsyncClient, events: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a broker or of a directory is nobody else's business."""

    async def fail(records: object) -> None:
        raise Unavailable("broker-7.internal:9092 is away")

    monkeypatch.setattr(events, "append", fail)
    for path in ("/events", "/c/spring"):
        answer = await client.request("POST" if path == "/events" else "GET", path, content=b"{")
        assert answer.status_code == 503
        assert "internal" not in answer.text


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


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/events", {}),
        ("POST", "/events", {"origin": "https://shop.example\n"}),
        ("GET", "/pixel.gif?type=click&site=%0d%0alevel=error", {"user-agent": "a\tb"}),
        ("GET", "/c/spring%0a%7B%22event%22:1%7D", {"referer": "https://x.example/?token=SECRET"}),
        ("GET", "/postback?token=SECRET&key=SECRET&sig=SECRET", {}),
        ("POST", "/import/costs?file=%0aSECRET", {"authorization": "Bearer SECRET"}),
        ("GET", "/nothing%0aSECRET", {"x-api-key": "SECRET", "cookie": "hw_vid=SECRET"}),
    ],
)
async def test_nothing_of_a_request_is_logged(
    client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    """So nobody writes lines into the log, and no key gets there; nor is one in an answer."""
    with structlog.testing.capture_logs() as logs:
        sent = {name: value.replace("\n", "") for name, value in headers.items()}
        answer = await client.request(method, path, headers=sent)
    assert logs == []
    assert answer.status_code < 500
    assert "SECRET" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/readyz", "/metrics", "/nothing", "/c/unknown", "/postback", "/hw.js", "/pixel.gif", "/events"],
)
async def test_security_headers(client: httpx.AsyncClient, path: str) -> None:
    """No answer is taken for another type; none but the image and the script is anything to a page."""
    answer = await client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    if path in {"/hw.js", "/pixel.gif"}:
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    elif path != "/metrics":
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
