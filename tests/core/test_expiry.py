"""Expiry never shows in a result: over years of events, swept and restored in between, the rows are the reference's."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from schemas.registry import SiteEntry
from schemas.topics import DAY_MS as DAY
from schemas.topics import TOPICS
from streams.core.expiry import RANGES, expire, panes_end
from streams.core.outcome import Scope
from streams.core.registry import Registry
from streams.core.state import ALWAYS, MemoryView, mark_key, write_mark
from tests.core.test_against_reference import examples, seeds
from tests.reference.cluster import STATE_TOPICS, Cluster
from tests.reference.compare import assert_same
from tests.reference.model import reference

T0 = 1_760_000_000_000
MINUTE = 60_000
EDGES = [0, 1, 7, 14, 28, 30, 35, 42, 90, 91, 104, 118, 132, 133, 180, 187, 222, 230, 277, 312, 400]
"""Days between which things happen: all ages at which something is no longer taken, reached or known."""


class Years(Cluster):
    """A cluster whose time goes on: state is swept and lost now and then, and Kafka deletes what is old."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.clock = 0
        self.written = {}
        self.forgotten = 0

    def commit(self, place, outcome):
        """As ever, and note when."""
        before = {name: len(self.logs.get(name, ())) for name in outcome.outputs}
        super().commit(place, outcome)
        for name, count in before.items():
            for index in range(count, len(self.logs.get(name, ()))):
                self.written[name, index] = self.clock

    def take(self, event, clock):
        """An event comes, and all that follows from it is done; until then the state is swept every few days."""
        while self.clock and clock - self.clock > 6 * DAY:
            self.clock += self.chance.randint(1, 6) * DAY
            self.sweep()
        self.clock = clock
        self.send(event)
        while any(self.queues.values()):
            self.work(*self.chance.choice([name for name, queue in self.queues.items() if queue]))

    def restart(self, place):
        """Restore from what Kafka still has: records that are as old as their topic's retention may be gone."""
        view = MemoryView()
        for topic in STATE_TOPICS:
            kept = int(TOPICS[topic].config["retention.ms"])
            latest = {}
            for index, output in enumerate(self.logs.get((topic, place), ())):
                if self.written[(topic, place), index] >= self.clock - kept:
                    latest[index if topic == "touches" else output[0]] = output
            for output in latest.values():
                headers = dict(output[2])
                view.put(headers["k"], output[1])
                if "m" in headers:
                    view.put(mark_key(headers["k"]), write_mark(ALWAYS))
        self.views[place] = view

    def sweep(self):
        """Each unit forgets what it can, page by page."""
        for place, view in enumerate(self.views):
            keys = sorted(key for key in view._entries if any(a <= key < b for a, b in RANGES))
            while keys:
                size = self.chance.randint(1, 9)
                page = [(key, view._entries[key]) for key in keys[:size] if key in view._entries]
                keys = keys[size:]
                found = expire(page, view, Scope(place, self.partitions, self.registry), self.clock)
                self.commit(place, found.renewals)
                self.forget(view, found.keys)
            start, end = panes_end(self.clock)
            self.forget(view, [key for key in view._entries if start <= key < end])

    def forget(self, view, keys):
        """Delete entries."""
        self.forgotten += len(keys)
        for key in keys:
            view.delete(key)


def years(seed, size):  # noqa: C901 - flat
    """Events (with when each is processed) over two or three years, each at some edge from an earlier one."""
    chance = random.Random(seed)
    times = [T0]
    orders = {}
    touches = ["none"]
    found = []
    for number in range(size):
        base = chance.choice(times[-6:])
        time = max(T0, base + chance.choice(EDGES) * DAY + chance.choice([0, 0, -1, 1, MINUTE, 20 * MINUTE]))
        kind = chance.choice(["click", "landing", "landing", "impression", "conversion", "conversion", "adjustment"])
        kind = chance.choice([kind] * 6 + ["consent", "verdict"])
        late = 35 if kind == "conversion" else 90 if kind == "adjustment" else 7
        received = time + chance.choice([0, 0, chance.randint(0, late * DAY), late * DAY])
        event = {"type": kind, "event_id": f"e{number}", "site": "shop.example", "time": time, "received_at": received}
        visitor = chance.choice(["ann", "ann", "bob"])
        if kind in {"conversion", "adjustment"}:
            order = chance.choice(["o1", "o2", "o3", "o4", "o5"]) + f"-{(time - T0) // (170 * DAY)}"
            first = orders.setdefault(order, time)
            # Reuse of an order id after its conversion is forgotten makes another conversion.
            if max(time, received) - first > 170 * DAY or received < first:
                continue
            event |= {"action": "purchase", "order_id": order}
        if kind == "adjustment":
            event |= {"adjustment": chance.choice(["restate", "reject", "approve"])}
            if event["adjustment"] == "restate":
                event["value"] = "7"
        elif kind == "conversion":
            event["value"] = "10"
            if chance.random() < 0.6:
                event["visitor_id"] = visitor
        else:
            event["visitor_id"] = visitor
        if kind == "consent":
            event["consent"] = chance.choice(["granted", "denied"])
        elif kind == "verdict":
            event |= {"touch_event_id": chance.choice(touches[-8:]), "valid": chance.random() < 0.3}
        elif kind == "click":
            touches.append(event["event_id"])
            event |= {"campaign": "spring", "click_id": f"1.{chance.randint(0, 3)}.made-up"}
        elif kind in {"landing", "impression"}:
            touches.append(event["event_id"])
            event["url"] = "https://shop.example/" + chance.choice(
                ["", "", "?utm_source=news", f"?hw_cid=1.{chance.randint(0, 3)}.made-up"]
            )
        times.append(time)
        found.append((received + chance.choice([0, 0, chance.randint(0, 7 * DAY), 7 * DAY]), event))
    found.sort(key=lambda pair: (pair[0], pair[1]["event_id"]))
    return found


@examples(150)
@given(
    seed=seeds,
    size=st.integers(15, 70),
    partitions=st.integers(1, 2),
    policy=st.sampled_from(["once_per_order", "once_per_visitor", "once_per_click"]),
)
def test_what_is_forgotten_is_never_missed(seed, size, partitions, policy):
    """Events at their latest, processed at their latest, statements at their reach; restored from what Kafka keeps."""
    entries = [
        SiteEntry(
            site="shop.example",
            session_minutes=1440,
            lookbacks={"click": 90, "landing": 90, "impression": 90},
            duplicate_policy={"*": policy},
        )
    ]
    events = years(seed, size)
    cluster = Years(Registry(entries), partitions, seed)
    for clock, event in events:
        cluster.take(event, clock)
    assert_same(cluster, reference([event for _, event in events], Registry(entries)))


def test_all_is_forgotten_in_the_end():
    """Nothing stays for ever: some time after the last event the state is empty."""
    cluster = Years(Registry(), 1, 7)
    for clock, event in years(11, 60):
        cluster.take(event, clock)
    for _ in range(8):
        cluster.clock += 120 * DAY
        cluster.sweep()
    assert cluster.forgotten > 60
    assert cluster.views[0]._entries == {}
