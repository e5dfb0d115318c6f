"""Core == reference model, whatever comes late, repeated, adjusted, moved or in another order (contract, section 3).

`HYPOTHESIS_PROFILE=long` searches sixty times as long.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streams.core import clicks
from streams.core.registry import Registry
from tests.reference.cluster import Cluster
from tests.reference.compare import assert_same
from tests.reference.crowds import Crowd, smallest
from tests.reference.events import event_sets, registries
from tests.reference.model import reference

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
pytestmark = pytest.mark.timeout(3600 if LONG else 120)
seeds = st.integers(0, 2**32 - 1)


def examples(count):
    """So many examples; shrinking takes minutes, so only the long profile does it."""
    return settings(
        max_examples=count * 60 if LONG else count,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=tuple(Phase) if LONG else (Phase.explicit, Phase.generate),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def check(events, entries, partitions, seed):
    """The core comes to what the reference does, and every record is counted once."""
    result = reference(events, Registry(entries))
    cluster = Cluster(Registry(entries), partitions, seed, most=[3, 7, 40][seed % 3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clicks, "CHUNK", [1, 2, 5, clicks.CHUNK][seed % 4])
        cluster.run(events)
    assert_same(cluster, result)
    counts = cluster.counts
    inputs = ("clicks", "conversions", "costs")
    assert sum(counts[topic, "read"] - counts[topic, "moved"] for topic in inputs) == len(events)
    assert sum(counts[topic, "accepted"] for topic in inputs) == result.accepted
    assert sum(counts[topic, "duplicate"] for topic in inputs) == result.duplicates
    assert sum(counts[topic, "dead_letter"] for topic in inputs) == len(result.refused)


@examples(60)
@given(
    events=st.one_of(event_sets(), event_sets(min_size=20)),
    entries=registries(),
    order=st.randoms(use_true_random=False),
    partitions=st.integers(1, 4),
    seed=seeds,
)
def test_the_final_result_is_the_reference_s(events, entries, order, partitions, seed):
    """A pure function of the set of events: any permutation, batching, partition count and restart point."""
    order.shuffle(events)
    check(events, entries, partitions, seed)


@examples(150)
@given(seed=seeds, size=st.integers(10, 60), partitions=st.integers(1, 4), order=st.randoms(use_true_random=False))
def test_a_registry_that_comes_late_counts_as_if_it_had_been_there(seed, size, partitions, order):
    """Sites and campaigns in any order, between any two batches: the registry belongs to the set of events."""
    crowd = Crowd(seed, size)
    entries = list(crowd.entries)
    order.shuffle(entries)
    early = order.randint(0, len(entries))
    cluster = Cluster(Registry(entries[:early]), partitions, seed, most=[3, 7, 40][seed % 3])
    cluster.run(crowd.events, entries[early:])
    assert_same(cluster, reference(crowd.events, Registry(entries)))


@examples(500)
@given(seed=seeds, size=st.integers(10, 60), partitions=st.integers(1, 4))
def test_dense_journeys_come_out_as_the_reference_has_them(seed, size, partitions):
    """As above, over sets in which most conversions have several candidates; a failure names the smallest set."""
    crowd = Crowd(seed, size)

    def fails(events):
        try:
            check(events, crowd.entries, partitions, seed)
        except AssertionError:
            return True
        return False

    if fails(crowd.events):
        events = smallest(crowd.events, fails)
        print(*events, *crowd.entries, f"{partitions=} {seed=} {size=}", sep="\n")
        check(events, crowd.entries, partitions, seed)
        pytest.fail("fails only now and then")
