"""A load that was acknowledged, taken by the core in memory: what an observer sees of it, and what is said of that."""

from __future__ import annotations

from types import SimpleNamespace

from schemas.settings import Settings
from streams.core.registry import Registry
from tests.faults.check import Deleted, Judge
from tests.faults.crowds import ENTRIES, Group, crowd_events
from tests.faults.load import Load
from tests.faults.observed import Observed
from tests.faults.verdict import Verdict
from tests.reference.cluster import Cluster

NOW = 1_790_000_000_000


class Told:
    """A few crowds of a seed; `now` is when they were sent."""

    def __init__(self, seed: int, now: int = NOW, *, crowds: int = 6) -> None:
        self.load = Load(seed, "", "", 4)
        self.observed = Observed("", 4)
        self.cluster = Cluster(Registry(ENTRIES), 4, chaos=False)
        self.judge = Judge(self.load, self.observed, Deleted())
        for number in range(crowds):
            group = Group(number, frozenset(), now, [], crowd_events(number, 0, now))
            group.sites = frozenset(event["site"] for event in group.told)
            self.load.groups.append(group)
            self.cluster.run(event | {"received_at": now} for event in group.told)

    def records(self):
        """All output records, as a consumer has them."""
        for (topic, partition), written in self.cluster.logs.items():
            for offset, record in enumerate(written):
                yield SimpleNamespace(topic=topic, partition=partition, offset=offset, **record._asdict())

    def look(self, spoil=lambda record: [record]) -> None:
        """Have the observer see what `spoil` makes of each record."""
        for record in self.records():
            for seen in spoil(record):
                take = self.observed._take.get(seen.topic)
                if take is not None:
                    take(seen)

    def verdict(self, spoil=lambda record: [record], settings: Settings | None = None) -> Verdict:
        """What is said of it."""
        self.look(spoil)
        return self.judge.judge(settings, everything=True)
