"""The registry at the collector: topic ``campaigns``, read to its end at start and followed from then on.

Rule: until it has been read once, nothing is known of any campaign (``ready`` is False), unless an earlier process of
this collector has left what it knew; afterwards a broken connection only means that news comes late. A record that is
no entry is passed over, with a line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import TypeAdapter, ValidationError

from schemas.errors import Unavailable
from schemas.registry import Entry
from streams.collector.registry_copy import read_copy, write_copy
from streams.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from schemas.registry import CampaignEntry, SiteEntry
    from streams.core.registry import Campaign, Site

log = structlog.get_logger()

TOPIC: Final = "campaigns"
_BACKOFF_S: Final = 1.0
_read_entry = TypeAdapter[Any](Entry).validate_json


class CampaignBook:
    """The registry's present state, by record key; a record without value takes its entry out."""

    def __init__(self, entries: Iterable[SiteEntry | CampaignEntry] = (), *, ready: bool = False) -> None:
        self._entries: dict[bytes, SiteEntry | CampaignEntry] = {entry.key.encode(): entry for entry in entries}
        self.ready = ready
        self._index()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str, site: str, time_ms: int) -> Campaign | None:
        """The campaign `name` of `site` (or, where that is '', of whichever site has it) in force at `time_ms`."""
        if site:
            return self._registry.campaign(name, site, time_ms)
        return self._registry.find_campaign(name, time_ms)

    def site(self, site: str, time_ms: int) -> Site:
        """The settings of `site` in force at `time_ms`; the defaults where it is not registered."""
        return self._registry.site(site, time_ms)

    def take(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Apply (key, value) pairs in the order of the topic."""
        for key, value in records:
            if key is None:
                continue
            if value is None:
                self._entries.pop(key, None)
                continue
            try:
                self._entries[key] = _read_entry(value)
            except ValidationError as error:
                log.warning("registry_record_ignored", key=key.decode(errors="replace"), errors=error.error_count())
        self._index()

    def forget_others(self, keys: set[bytes]) -> None:
        """Take out all that is not under `keys`."""
        self._entries = {key: entry for key, entry in self._entries.items() if key in keys}
        self._index()

    def records(self) -> list[tuple[bytes, bytes]]:
        """All entries as (key, value) pairs, which `take` takes."""
        return [(key, entry.model_dump_json().encode()) for key, entry in self._entries.items()]

    def _index(self) -> None:
        self._registry = Registry(self._entries.values())
        self.domains = frozenset(
            domain for entry in self._entries.values() if entry.kind == "site" for domain in entry.domains
        )
        """The domains of all sites; another object after each change."""


class CampaignFollower:
    """Keeps a `CampaignBook` up to date from Kafka; `options` are aiokafka's connection options.

    `copy`: the file in which it is kept for a start while Kafka is away; None: in none.
    """

    def __init__(self, options: dict[str, Any], copy: Path | None = None) -> None:
        self._options = options
        self._copy = copy
        self._read = False
        self._task: asyncio.Task[None] | None = None
        self.book = CampaignBook()

    async def open(self) -> None:
        """Begin to read."""
        known = read_copy(self._copy) if self._copy is not None else None
        if known is not None:
            self.book.take(known)
            self.book.ready = True
            log.info("registry_remembered", entries=len(self.book))
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        said = ""
        while True:
            try:
                await self._follow()
            except (KafkaError, Unavailable, OSError) as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("registry_unreachable", error=said or repr(error))
            await asyncio.sleep(_BACKOFF_S)

    async def _follow(self) -> None:
        """Read the topic, which has one partition, from its start."""
        consumer = AIOKafkaConsumer(
            **self._options, enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        try:
            await consumer.start()
            # Only what exists is asked for: a broker might create a topic that is asked for by name.
            if TOPIC not in await consumer.topics():
                raise Unavailable(f"Kafka lacks the topic {TOPIC}; `headwater topics` creates it")
            partition = TopicPartition(TOPIC, 0)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            seen: set[bytes] | None = set()
            while True:
                if seen is not None and await consumer.position(partition) >= end:
                    # What was known before and is in the topic no more was taken out meanwhile.
                    self.book.forget_others(seen)
                    seen = None
                    await self._know_all()
                found = await consumer.getmany(timeout_ms=1000 if seen is None else 50)
                records = [(record.key, record.value) for some in found.values() for record in some]
                if seen is not None:
                    seen.update(key for key, _ in records if key is not None)
                if records:
                    self.book.take(records)
                    if seen is None:
                        await self._keep_copy()
        finally:
            await consumer.stop()

    async def _know_all(self) -> None:
        self.book.ready = True
        if not self._read:
            self._read = True
            log.info("registry_read", entries=len(self.book))
        await self._keep_copy()

    async def _keep_copy(self) -> None:
        if self._copy is not None:
            await asyncio.to_thread(write_copy, self._copy, self.book.records())
