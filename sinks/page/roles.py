"""What the other processes say of themselves: their ``/metrics`` and ``/readyz``, read from time to time.

Rule: a role that does not answer is a fact to show, never an error. Rates are differences of counters over the last
minute; a counter that went down has started anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.settings import Settings

TIMEOUT_S: Final = 2.0
MEMORY_S: Final = 60.0
"""Rates are taken over this time."""
WANTED: Final = (
    "headwater_events_total",
    "headwater_collector_events_total",
    "headwater_consumer_lag",
    "headwater_commit_age_seconds",
    "headwater_lost_records_total",
    "headwater_sink_lag_seconds",
    "headwater_sink_insert_failures_total",
)
"""What is read of a role (contract, section 8); a role computes no more than that."""

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels."""


@dataclass(frozen=True, slots=True)
class Role:
    """What one process said: ``away`` it did not answer, ``waiting`` it works not yet (`reason`), ``up``."""

    name: str
    address: str
    state: str
    reason: str = ""
    values: Mapping[Series, float] = field(default_factory=dict)

    def find(self, metric: str, **labels: str) -> list[float]:
        """The values of a metric's series that bear these labels."""
        wanted = labels.items()
        return [value for (name, own), value in self.values.items() if name == metric and wanted <= dict(own).items()]


def targets(settings: Settings) -> dict[str, str]:
    """Name -> base address of the processes to read: as set, else this machine's collector, worker and sink.

    Raises `ConfigurationError`.
    """
    if not settings.page_roles:
        return {
            "collector": f"http://{settings.collector_host}:{settings.collector_port}",
            "worker": f"http://{settings.worker_host}:{settings.worker_metrics_port}",
            "sink": f"http://{settings.sink_host}:{settings.sink_metrics_port}",
        }
    found = {}
    for part in settings.page_roles.split(","):
        name, _, address = part.strip().partition("=")
        if not name or not address.startswith(("http://", "https://")):
            raise ConfigurationError(f"page_roles: {part.strip()!r} is not name=http://host:port")
        found[name] = address.rstrip("/")
    return found


class Scraper:
    """Reads the targets; `close` when done."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._session: aiohttp.ClientSession | None = None

    async def read(self) -> list[Role]:
        """What each target says now, in the order of the targets."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        session = self._session
        return list(await asyncio.gather(*(_read(session, name, address) for name, address in self._addresses.items())))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read(session: aiohttp.ClientSession, name: str, address: str) -> Role:
    try:
        async with session.get(f"{address}/metrics", params=[("name[]", metric) for metric in WANTED]) as answer:
            text = await answer.text()
            if answer.status != 200:
                return Role(name, address, "away", f"/metrics answers {answer.status}")
        async with session.get(f"{address}/readyz") as answer:
            reason = "" if answer.status == 200 else " ".join((await answer.text()).split())[:200]
            ready = answer.status == 200
        values = parse(text)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return Role(name, address, "away", "does not answer")
    return Role(name, address, "up" if ready else "waiting", reason, values)


def parse(text: str) -> dict[Series, float]:
    """The wanted series of a text in Prometheus' format. Raises `ValueError`."""
    # Only those lines: parsing is slow, and a collector tells everything it knows.
    lines = [line for line in text.splitlines() if line.startswith(WANTED)]
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families("\n".join([*lines, ""]))
        for sample in family.samples
    }


class Rates:
    """Counters read again and again, and how fast they rise."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, dict[str, float]]]] = deque()

    def take(self, moment: float, counters: Mapping[str, Mapping[str, float]]) -> dict[str, float] | None:
        """Rises a second of what was counted, by name, over the last `MEMORY_S`; None at the first look.

        `counters`: process -> name -> count at `moment` (seconds of a steady clock). A process that was not seen before
        has risen by nothing yet.
        """
        self._seen.append((moment, {process: dict(counts) for process, counts in counters.items()}))
        while self._seen[0][0] < moment - MEMORY_S and len(self._seen) > 2:
            self._seen.popleft()
        first = self._seen[0][0]
        if first == moment:
            return None
        risen: dict[str, float] = {}
        looks = list(self._seen)
        for (_, earlier), (_, later) in pairwise(looks):
            for process, counts in later.items():
                known = earlier.get(process)
                for name, count in counts.items():
                    old = count if known is None else known.get(name, 0.0)
                    risen[name] = risen.get(name, 0.0) + (count - old if count >= old else count)
        return {name: rise / (moment - first) for name, rise in risen.items()}
