"""What has come of it, as others see it: committed records of Kafka's topics, read on from where the last look ended.

Rule: each look opens a client of its own, so that no client's own recovery hides a fault or adds one. Of outputs the
latest record of each key is kept, of inputs where each event lies.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import asynccontextmanager

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import INPUTS, OUTPUTS
from streams.core.attribution import differs
from streams.core.ids import partition_of
from tests.faults.clients import committed, opened
from tests.faults.crowds import WALKED
from tests.reference.cluster import key_of
from tests.reference.events import identity
from tests.reference.model import TOUCHES


class Observed:
    """The state of all topics up to the last `look`."""

    def __init__(self, address: str, partitions: int, app: str = "headwater") -> None:
        self.touches: dict[tuple, dict] = {}
        """Touches, consents and verdicts by (site, visitor, event id)."""
        self.facts: set[tuple] = set()
        """(site, conversion id, event id) of all that `orders` holds."""
        self.attributions: dict[tuple, dict] = {}
        """By partition and key."""
        self.versions: dict[str, Counter[tuple]] = defaultdict(Counter)
        """Of each conversion, by partition and key."""
        self.panes: dict[tuple, dict] = {}
        """By partition and key."""
        self.spend: dict[tuple, dict] = {}
        """By partition and key."""
        self.stated: set[tuple] = set()
        """Identities of all statements of cost that `spend` holds or held."""
        self.recorded: dict[str, list[dict]] = defaultdict(list)
        """Input records of sites that clicks are led on to, by visitor."""
        self.letters: Counter[tuple] = Counter()
        """(topic, partition, offset, payload) of dead letters, and how often they are there."""
        self.letter_ids: set[str] = set()
        """The collector gives each of its letters an id: where Kafka's answer was lost it writes it again."""
        self.repeated = 0
        """Letters that were there already, by their id."""
        self.places: dict[tuple, set] = defaultdict(set)
        """Where an event of the input topics lies: (topic, partition, offset), in its right partition."""
        self.jumps: list[str] = []
        """Versions of attributions that do not follow the one before."""
        self.positions: dict[TopicPartition, int] = {}
        self.last: dict[TopicPartition, int] = {}
        """Offset of the last record."""
        self._address = address
        self._app = app
        self._partitions = partitions
        self._tps = [TopicPartition(topic, p) for topic in {*INPUTS, *OUTPUTS} for p in range(partitions)]
        self._take = {
            "touches": self._touch,
            "orders": self._order,
            "attributions": self._attribution,
            "panes": self._pane,
            "spend": self._statement,
            "dead-letters": self._letter,
            "clicks": self._input,
            "conversions": self._input,
        }

    @asynccontextmanager
    async def consumer(self):
        """A consumer of committed records that is nobody's member."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._address,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=16 << 20,
            request_timeout_ms=10_000,
        )
        async with opened(consumer):
            yield consumer

    async def look(self) -> bool:
        """Read all that is new; whether there was anything."""
        before = dict(self.positions)
        async with self.consumer() as consumer:
            consumer.assign(self._tps)
            starts = await consumer.beginning_offsets(self._tps)
            ends = await consumer.end_offsets(self._tps)
            for tp in self._tps:
                consumer.seek(tp, max(self.positions.get(tp, 0), starts[tp]))
            while True:
                self.positions = {tp: await consumer.position(tp) for tp in self._tps}
                if all(self.positions[tp] >= ends[tp] for tp in self._tps):
                    break
                for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                    self.last[tp] = records[-1].offset
                    take = self._take.get(tp.topic)
                    if take is not None:
                        for record in records:
                            take(record)
        return self.positions != before

    async def behind(self) -> dict[str, int]:
        """What is not done yet: records by group and topic, of those seen by the last `look`."""
        found: Counter[str] = Counter()
        for group, topics in ((self._app, INPUTS), (f"{self._app}-sink", OUTPUTS)):
            done = await committed(self._address, group)
            for tp, last in self.last.items():
                if tp.topic in topics:
                    found[f"{group}: {tp.topic}"] += max(0, last + 1 - done.get(tp, 0))
        return {name: number for name, number in found.items() if number}

    def _touch(self, record) -> None:
        touch = orjson.loads(record.value)
        self.touches[touch["site"], touch["visitor_id"], touch["event_id"]] = touch

    def _order(self, record) -> None:
        order = orjson.loads(record.value)
        self.facts.update((order["site"], order["conversion_id"], fact["event_id"]) for fact in order["facts"])

    def _attribution(self, record) -> None:
        attribution = orjson.loads(record.value)
        key = (record.partition, record.key)
        old = self.attributions.get(key)
        # What changes no credit, as when another event names the visitor, is no new version.
        if attribution["version"] != (old["version"] + bool(differs(attribution, old)) if old else 1):
            before = old["version"] if old else "nothing"
            self.jumps.append(f"{attribution['conversion_id']}: version {attribution['version']} after {before}")
        self.attributions[key] = attribution
        self.versions[attribution["conversion_id"]][key] = attribution["version"]

    def _pane(self, record) -> None:
        self.panes[record.partition, record.key] = orjson.loads(record.value)

    def _statement(self, record) -> None:
        spend = self.spend[record.partition, record.key] = orjson.loads(record.value)
        said = spend["said"] | {"type": "cost", "site": spend["site"]}
        self.stated.update(identity(said | {"event_id": event_id}) for event_id in spend["events"])

    def _letter(self, record) -> None:
        said = {name: value.decode() for name, value in record.headers}
        number = said.get("id", "")
        if number in self.letter_ids:
            self.repeated += 1
            return
        if number:
            self.letter_ids.add(number)
        self.letters[said["topic"], said["partition"], said["offset"], record.value, said["reason"]] += 1

    def _input(self, record) -> None:
        event = parsed(record.value)
        if event is not None and event.get("site") in WALKED:
            self.recorded[event["visitor_id"]].append(event)
        if event is not None and partition_of(key_of(event), self._partitions) == record.partition:
            self.places[identity(event)].add((record.topic, record.partition, record.offset))

    # ---- final rows

    def version(self, attribution: dict) -> int:
        """A conversion's version: what was said of it under each visitor."""
        return self.versions[attribution["conversion_id"]].total()

    def shown_touches(self, sites) -> dict[tuple, dict]:
        """Touches of some sites."""
        return {key: row for key, row in self.touches.items() if row["site"] in sites and row["type"] in TOUCHES}

    def conversions(self, sites) -> tuple[dict[str, dict], list[str]]:
        """Attributions in force by conversion id, and what is wrong with their number."""
        found: dict[str, dict] = {}
        wrong = []
        for row in self.attributions.values():
            if row["site"] not in sites:
                continue
            rank = (not row["withdrawn"], row["revision"])
            old = found.get(row["conversion_id"])
            if old is not None and rank[0] and not old["withdrawn"]:
                wrong.append(f"conversion {row['conversion_id']}: two attributions in force")
            if old is None or rank > (not old["withdrawn"], old["revision"]):
                found[row["conversion_id"]] = row
        wrong += [f"conversion {name}: withdrawn everywhere" for name, row in found.items() if row["withdrawn"]]
        return found, wrong


def parsed(value: bytes | None) -> dict | None:
    """An event, where these bytes are one."""
    try:
        event = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "type" in event and "event_id" in event else None
