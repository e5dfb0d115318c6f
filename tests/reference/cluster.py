"""The core driven as the worker drives it, in memory: partitions, batches, moved records, restarts, failed batches.

Rule: whatever is left to chance (which unit goes next, batch sizes, wrong partitions, restarts) comes from one seed.
What it holds at the end is read from the output records alone, as a sink would.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from typing import NamedTuple

import orjson

from schemas.events import TOPIC_OF
from streams.core.apply import apply
from streams.core.attribution import differs
from streams.core.ids import partition_of
from streams.core.outcome import Scope
from streams.core.panes import KPIS
from streams.core.review import RANGES, review, traces
from streams.core.state import ALWAYS, MemoryView, mark_key, write_mark
from tests.reference.marks import without_marks

INPUTS = ("clicks", "conversions", "costs", "orders-by-visitor")
STATE_TOPICS = ("touches", "orders", "attributions", "panes", "spend")


class Record(NamedTuple):
    """An input record."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int
    headers: tuple = ()


def key_of(event):
    """What an event's topic is partitioned by (contract, section 1)."""
    if TOPIC_OF[event.get("type", "cost")] == "clicks":
        return event["visitor_id"]
    if event.get("type", "cost") == "cost":
        return event["campaign"]
    return event.get("order_id") or event.get("conversion_event_id") or event["event_id"]


class Written(NamedTuple):
    """An output record, as it lies in a log."""

    key: bytes | None
    value: bytes
    headers: list
    timestamp: int | None


class Cluster:
    """Units of a number of partitions over one set of logs."""

    def __init__(self, registry, partitions=1, seed=0, *, most=7, chaos=True):
        self.registry = registry
        self.partitions = partitions
        self.chance = random.Random(seed)
        self.most = most
        self.chaos = chaos
        self.views = [MemoryView() for _ in range(partitions)]
        self.queues = {(topic, place): deque() for topic in INPUTS for place in range(partitions)}
        self.logs = {}
        self.counts = Counter()
        self.offsets = Counter()
        self.outcomes = []
        self.now = 0

    def send(self, event):
        """Put an event (dict, or bytes with a topic) into its queue, or now and then into a wrong one."""
        place = partition_of(key_of(event), self.partitions)
        if self.chaos and self.chance.random() < 0.15:
            place = self.chance.randrange(self.partitions)
        self.put(TOPIC_OF[event.get("type", "cost")], place, orjson.dumps(event), key_of(event).encode())

    def put(self, topic, place, value, key=None, timestamp=0, headers=()):
        """Put a record into a queue."""
        self.offsets[topic, place] += 1
        self.queues[topic, place].append(Record(key, value, self.offsets[topic, place], timestamp, tuple(headers)))

    def run(self, events=(), entries=()):
        """Send `events` while working, then work until nothing is left; `entries` of the registry come in between."""
        waiting = deque(events)
        late = deque(entries)
        while waiting or any(self.queues.values()) or late:
            if late and (not (waiting or any(self.queues.values())) or self.chance.random() < 0.05):
                self.register(late.popleft())
                continue
            if waiting and (not any(self.queues.values()) or self.chance.random() < 0.7):
                self.send(waiting.popleft())
                continue
            self.work(*self.chance.choice([name for name, queue in self.queues.items() if queue]))
        return self

    def work(self, topic, place):
        """Take one batch of a queue through the core and commit it."""
        queue = self.queues[topic, place]
        batch = list(queue)[: self.chance.randint(1, self.most)]
        if self.chaos and self.chance.random() < 0.2:
            self.restart(place)
        scope = Scope(place, self.partitions, self.registry)
        outcome = apply(topic, batch, self.views[place], scope)
        if self.chaos and self.chance.random() < 0.1:  # it fails before the commit, and is taken again
            outcome = apply(topic, batch, self.views[place], scope)
        assert outcome.read == len(batch)
        assert outcome.read == outcome.accepted + outcome.duplicate + outcome.dead_letter + outcome.moved
        for name in ("read", "accepted", "duplicate", "dead_letter", "moved"):
            self.counts[topic, name] += getattr(outcome, name)
        for _ in batch:
            queue.popleft()
        self.commit(place, outcome)

    def commit(self, place, outcome):
        """What an outcome changes is in the logs and in the state."""
        self.outcomes.append(outcome)
        self.now = max(self.now, outcome.latest)
        for (target, partition), outputs in outcome.outputs.items():
            for output in map(Written._make, outputs):
                if target in INPUTS:
                    key, value, headers, timestamp = output
                    self.put(target, partition, value, key, timestamp or 0, headers)
                self.logs.setdefault((target, partition), []).append(output)
        for key, value in outcome.puts.items():
            self.views[place].put(key, value)

    def register(self, entry):
        """A registry entry comes, and each unit looks at its state again, in pages."""
        self.registry.put(entry)
        for place in range(self.partitions):
            scope = Scope(place, self.partitions, self.registry)
            keys = sorted(key for key in self.views[place]._entries if any(a <= key < b for a, b in RANGES))
            while keys:
                size = self.chance.randint(1, 2 * self.most)
                page = [(key, self.views[place]._entries[key]) for key in keys[:size]]
                keys = keys[size:]
                self.commit(place, review(page, self.views[place], scope, self.now, [traces(entry)]))

    def restart(self, place):
        """Lose the state of a unit and restore it from its output records."""
        view = MemoryView()
        for topic in STATE_TOPICS:
            latest = {output[0]: output for output in self.logs.get((topic, place), ())}
            keep_all = topic == "touches"  # not compacted
            for output in self.logs.get((topic, place), ()) if keep_all else latest.values():
                headers = dict(output[2])
                view.put(headers["k"], output[1])
                if "m" in headers:
                    view.put(mark_key(headers["k"]), write_mark(ALWAYS))
        assert without_marks(view._entries) == without_marks(self.views[place]._entries)
        self.views[place] = view

    # ---- what a sink sees

    def outputs(self, topic):
        """(partition, record as dict, output) of a topic, in order within each partition."""
        for place in range(self.partitions):
            for output in self.logs.get((topic, place), ()):
                yield place, orjson.loads(output[1]), output

    def touches(self):
        """Final touch records by (site, visitor, event id)."""
        found = {}
        for _, record, _ in self.outputs("touches"):
            if record["type"] not in {"consent", "verdict"}:
                found[record["site"], record["visitor_id"], record["event_id"]] = record
        return found

    def attributions(self):
        """Conversion id -> the attribution in force; checks that versions rise by one and that one row is in force."""
        rows = {}
        for place, record, output in self.outputs("attributions"):
            old = rows.get((place, output[0]))
            again = old is not None and not differs(record, old)  # another event names the visitor
            assert record["version"] == (old["version"] + (not again) if old else 1)
            rows[place, output[0]] = record
        found = {}
        for record in rows.values():
            rank = (not record["withdrawn"], record["revision"])
            old = found.get(record["conversion_id"])
            if old is not None:
                assert not (rank[0] and not old["withdrawn"]), "two rows in force"
            if old is None or rank > (not old["withdrawn"], old["revision"]):
                found[record["conversion_id"]] = record
        assert not any(record["withdrawn"] for record in found.values())
        return found

    def spend(self):
        """Statements of cost that hold, by dimensions and period; those that are replaced count nothing."""
        latest = {}
        for place, record, output in self.outputs("spend"):
            latest[place, output[0]] = record
        names = ("source", "medium", "channel", "ad_group", "ad", "variant")
        found = {}
        for record in latest.values():
            if record["replaced"]:
                assert not any(record[name] for name in ("hours", "cost_micros", "impressions", "clicks"))
                continue
            assert sum(cost for _, cost, _, _ in record["hours"]) == record["cost_micros"]
            stated = [record["said"].get(name, "") for name in names]
            stated[2] = stated[2] and record["channel"]
            key = (record["site"], record["campaign"], *stated, record["from"], record["to"])
            assert key not in found, "two statements about the same"
            found[key] = {name: record[name] for name in ("event_id", "channel", "source", "medium", "currency")} | {
                "cost": {hour: cost for hour, cost, _, _ in record["hours"] if cost},
                "clicks": {hour: clicks for hour, _, _, clicks in record["hours"] if clicks},
            }
        return found

    def panes(self):
        """(traffic, kpis) as the reference has them: the latest of each partition and key, summed over partitions."""
        latest = {}
        for place, record, output in self.outputs("panes"):
            latest[place, output[0]] = record
        traffic, kpis = {}, {}
        names = ("minute", "site", "channel", "campaign", "partner", "variant", "audience", "currency")
        for record in latest.values():
            key = tuple(record[name] for name in names)
            shown = {name: record[name] for name in ("impressions", "clicks", "landings", "invalid")}
            _add(traffic, key, shown | {"cost": record["cost_micros"]})
            for model, numbers in record["models"].items():
                _add(kpis, (model, *key), dict(zip(KPIS, numbers, strict=True)))
        return _told(traffic), _told(kpis)


def _add(table, key, numbers):
    row = table.setdefault(key, Counter())
    for name, number in numbers.items():
        row[name] += number


def _told(table):
    """Without rows and figures of zero."""
    told = {key: {name: number for name, number in row.items() if number} for key, row in table.items()}
    return {key: row for key, row in told.items() if row}
