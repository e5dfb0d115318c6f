"""Load for benchmarks: events as a busy site sends them, and those of the field's yardstick, straight into Kafka.

Rule: reproducible by seed and cheap to make; what it looks like (shares, sizes, campaigns, visitors) is stated in
`Load`, so that a figure says what it was measured on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiokafka import AIOKafkaProducer
from murmurhash2 import murmurhash2

from schemas.settings import Settings, kafka_client_options

if TYPE_CHECKING:
    from collections.abc import Iterator

SITE: Final = "bench.example"
ADS: Final = 1_000
CAMPAIGNS: Final = 100
ADDED: Final = frozenset({"received_at", "ip", "user_agent"})
"""What the collector adds to an event."""
_SEED: Final = 0x9747B28C
_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: `events` in all, of which `conversions` (a share) are conversions of known visitors.

    `duplicates` (a share) of them are sent a second time, right after a later one.
    """

    events: int = 400_000
    visitors: int = 200_000
    campaigns: int = 1_000
    conversions: float = 0.01
    span_ms: int = 600_000
    seed: int = 1
    duplicates: float = 0.0

    def make(self, end_ms: int) -> Iterator[tuple[str, bytes, bytes]]:
        """(topic, key, value) of each event; times rise evenly over `span_ms` up to `end_ms`."""
        repeats = random.Random(self.seed)  # noqa: S311 - load, not secrets
        waiting = None
        for event in self._make(end_ms):
            yield event
            if waiting is not None:
                yield waiting
                waiting = None
            elif self.duplicates and repeats.random() < self.duplicates:
                waiting = event

    def _make(self, end_ms: int) -> Iterator[tuple[str, bytes, bytes]]:
        rng = random.Random(self.seed)  # noqa: S311 - load, not secrets
        for number in range(self.events):
            time = time_of(self, number, end_ms)
            visitor = f"visitor-{rng.randrange(self.visitors):07d}-{self.seed:04d}"
            event = {
                "event_id": f"{number:012x}-{self.seed:04x}-{rng.getrandbits(32):08x}",
                "time": time,
                "received_at": time + 20,
                "site": SITE,
                "visitor_id": visitor,
                "ip": f"203.0.113.{number & 255}",
                "user_agent": _AGENT,
            }
            if rng.random() < self.conversions:
                order = f"order-{number}"
                event |= {"type": "conversion", "action": "purchase", "order_id": order, "value": number % 20_000 / 100}
                event["currency"] = "EUR"
                yield "conversions", order.encode(), orjson.dumps(event)
                continue
            campaign = f"campaign-{rng.randrange(self.campaigns):04d}"
            kind = number % 5
            if kind == 0:
                event |= {"type": "impression", "campaign": campaign, "source": "dv360", "medium": "display"}
            elif kind == 1:
                event |= {"type": "click", "campaign": campaign, "source": "google", "medium": "cpc", "cost": 0.25}
                event["currency"] = "EUR"
            elif kind == 4:
                event |= {"type": "landing", "url": f"https://{SITE}/p/{number % 997}"}
            else:
                gclid = f"EAIaIQ{rng.getrandbits(96):024x}"
                query = f"utm_source=google&utm_medium=cpc&utm_campaign={campaign}&gclid={gclid}"
                event |= {"type": "landing", "url": f"https://{SITE}/p/{number % 997}?{query}"}
                event["referrer"] = "https://www.google.com/"
            yield "clicks", visitor.encode(), orjson.dumps(event)

    def stated(self, end_ms: int) -> Iterator[bytes]:
        """The same events as their senders state them to the collector: without what that one adds."""
        for _, _, value in self.make(end_ms):
            event = orjson.loads(value)
            yield orjson.dumps({name: event[name] for name in event if name not in ADDED})


@dataclass(frozen=True, slots=True)
class AdEvents:
    """The events of the Yahoo Streaming Benchmark (github.com/yahoo/streaming-benchmarks): seven texts, a third views.

    Of `ADS` ads, ten belong to a campaign. Times rise evenly over `span_ms`.
    """

    events: int = 400_000
    span_ms: int = 100_000
    users: int = 10_000
    seed: int = 1

    def make(self, end_ms: int) -> Iterator[tuple[str, bytes, bytes]]:
        """(topic, key, value) of each event; the key is the user."""
        rng = random.Random(self.seed)  # noqa: S311 - load, not secrets
        ads = list(campaign_of_ads())
        for number in range(self.events):
            user = f"user-{rng.randrange(self.users):08d}-{self.seed:04d}"
            event = {
                "user_id": user,
                "page_id": f"page-{rng.randrange(1_000):08d}",
                "ad_id": rng.choice(ads),
                "ad_type": rng.choice(("banner", "modal", "sponsored-search", "mail", "mobile")),
                "event_type": ("view", "click", "purchase")[rng.randrange(3)],
                "event_time": str(time_of(self, number, end_ms)),
                "ip_address": f"203.0.113.{number & 255}",
            }
            yield "clicks", user.encode(), orjson.dumps(event)


def campaign_of_ads() -> dict[str, str]:
    """Ad -> campaign, of all ads of `AdEvents`."""
    return {f"ad-{number:06d}": f"campaign-{number % CAMPAIGNS:03d}" for number in range(ADS)}


def time_of(load: Load | AdEvents, number: int, end_ms: int) -> int:
    """When the event of a number happens (ms)."""
    return end_ms - load.span_ms + min(number, load.events) * load.span_ms // load.events


async def produce(settings: Settings, load: Load | AdEvents, end_ms: int) -> None:
    """Write the load to Kafka, each event in its partition, as if when it happened."""
    partitions = settings.partitions
    producer = AIOKafkaProducer(
        **kafka_client_options(settings), acks="all", compression_type="lz4", max_batch_size=1 << 19
    )
    await producer.start()
    try:
        batches: dict[tuple[str, int], Any] = {}
        for number, (topic, key, value) in enumerate(load.make(end_ms)):
            place = (topic, (int(murmurhash2(key, _SEED)) & 0x7FFFFFFF) % partitions)
            batch = batches.get(place)
            written = time_of(load, number, end_ms)
            if batch is None or batch.append(key=key, value=value, timestamp=written) is None:
                if batch is not None:
                    await producer.send_batch(batch, place[0], partition=place[1])
                batch = batches[place] = producer.create_batch()
                batch.append(key=key, value=value, timestamp=written)
        for (topic, partition), batch in batches.items():
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()
    finally:
        await producer.stop()
