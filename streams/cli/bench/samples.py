"""Sampled events of ``headwater bench latency``: what they are, and when they are seen where.

Rule: a sample bears an id and a site of its own; it is seen when a query of the view has returned it. The moments of a
sample are read from one clock, in this process.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from schemas.settings import Settings
    from sinks.clickhouse.server import Server
    from streams.cli.bench.figures import Run

SITE: Final = "sample.example"
CONVERSIONS: Final = 10
"""One sample in so many is a conversion."""
POLL_S: Final = 0.03
_CREDITS: Final = 3


@dataclass(slots=True)
class Sample:
    """One sampled event; the moments are seconds (monotonic)."""

    id: str
    kind: str
    time_ms: int
    due: float
    acknowledged: float = 0.0
    committed: float = 0.0
    seen: float = 0.0


@dataclass(slots=True)
class Samples:
    """All samples: those that are awaited, by id, and all."""

    all: list[Sample] = field(default_factory=list)
    awaited: dict[str, Sample] = field(default_factory=dict)
    queries: list[float] = field(default_factory=list)

    def oldest_ms(self, kind: str) -> int | None:
        """Event time of the first sample of this kind that is not seen yet."""
        return next((sample.time_ms for sample in self.awaited.values() if sample.kind == kind), None)


def request(sample: Sample, number: int) -> bytes:
    """The request that posts a sample; a conversion follows a click of its visitor that was sampled just before."""
    import orjson

    from streams.cli.bench.http_load import post

    visitor = f"sampled-{number - number % CONVERSIONS:06d}"
    event: dict[str, Any] = {"event_id": sample.id, "time": sample.time_ms, "site": SITE, "visitor_id": visitor}
    if sample.kind == "credits":
        event |= {"type": "conversion", "action": "purchase", "order_id": sample.id, "value": 10, "currency": "EUR"}
    else:
        event |= {"type": "click", "campaign": "sampled", "source": "google", "medium": "cpc"}
    return post(orjson.dumps(event), number)


async def watch_views(server: Server, found: Samples) -> None:
    """Ask the views for what is awaited, again and again."""
    touches = "SELECT event_id AS id FROM touches WHERE site = {site:String} AND time >= {since:DateTime64(3)}"
    credits_ = (
        "SELECT DISTINCT order_id AS id FROM credits "
        "WHERE site = {site:String} AND conversion_time >= {since:DateTime64(3)}"
    )
    for turn in itertools.count():
        # A query takes a few milliseconds of the engine's time, so credits, which are fewer, are asked for less often.
        for kind, statement in (("touches", touches), ("credits", credits_))[: 1 if turn % _CREDITS else 2]:
            since = found.oldest_ms(kind)
            if since is None:
                continue
            began = time.perf_counter()
            rows = await server.query(statement, site=SITE, since=f"{since / 1000:.3f}")
            now = time.perf_counter()
            if kind == "touches":
                found.queries.append(now - began)
            for row in rows:
                sample = found.awaited.pop(row["id"], None)
                if sample is not None:
                    sample.seen = now
        await asyncio.sleep(POLL_S)


async def watch_commits(settings: Settings, found: Samples) -> None:
    """Note when the touches that were sampled are committed: read them as any reader of the topic would."""
    import orjson
    from aiokafka import AIOKafkaConsumer

    from schemas.settings import kafka_client_options

    consumer = AIOKafkaConsumer(
        "touches",
        **kafka_client_options(settings),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="latest",
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    mark = f'"{SITE}"'.encode()
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                now = time.perf_counter()
                ids = [orjson.loads(record.value)["event_id"] for record in records if mark in record.value]
                by_id = {sample.id: sample for sample in found.all} if ids else {}
                for id_ in ids:
                    by_id[id_].committed = now
    finally:
        await consumer.stop()


def figures(found: Samples, answers: list[float]) -> Run:
    """What all samples say."""
    from streams.cli.bench.http_load import percentile

    def spread(prefix: str, values: list[float], *shares: tuple[str, float]) -> Run:
        ordered = sorted(values)
        return {f"{prefix}{name}_ms": round(1000 * percentile(ordered, share), 2) for name, share in shares if ordered}

    p50, p90, p99 = ("p50", 0.5), ("p90", 0.9), ("p99", 0.99)
    touches = [sample for sample in found.all if sample.kind == "touches"]
    conversions = [sample for sample in found.all if sample.kind == "credits"]
    followed = [sample for sample in touches if sample.committed]
    return {
        "samples": len(found.all),
        **spread("", [sample.seen - sample.acknowledged for sample in touches], p50, p90, p99),
        **spread("committed_", [max(0.0, s.committed - s.acknowledged) for s in followed], p50, p99),
        **spread("sink_", [sample.seen - sample.committed for sample in followed], p50, p99),
        **spread("credits_", [sample.seen - sample.acknowledged for sample in conversions], p50, p99),
        **spread("answer_", answers, p50, p99),
        "query_ms": round(1000 * percentile(sorted(found.queries), 0.5), 2),
    }
