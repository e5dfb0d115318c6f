"""Core == reference model, whatever comes late, repeated, adjusted, moved or in another order (contract, section 3).

`HYPOTHESIS_PROFILE=long` searches for as long as it takes.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reference.cluster import Cluster
from tests.reference.compare import assert_same
from tests.reference.events import event_sets, registries, registry_of
from tests.reference.model import reference

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
seeds = st.integers(0, 2**32 - 1)


def examples(count):
    return settings(
        max_examples=count * 60 if LONG else count,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


@examples(250)
@given(
    events=st.one_of(event_sets(), event_sets(min_size=20)),
    entries=registries(),
    order=st.randoms(use_true_random=False),
    partitions=st.integers(1, 4),
    seed=seeds,
)
def test_the_final_result_is_the_reference_s(events, entries, order, partitions, seed):
    """A pure function of the set of events: any permutation, batching, partition count and restart point."""
    registry = registry_of(entries)
    result = reference(events, registry)
    order.shuffle(events)
    cluster = Cluster(registry_of(entries), partitions, seed).run(events)
    assert_same(cluster, result)
    counts = cluster.counts
    read = sum(counts[topic, "read"] - counts[topic, "moved"] for topic in ("clicks", "conversions"))
    assert read == len(events)
    assert sum(counts[topic, "accepted"] for topic in ("clicks", "conversions")) == result.accepted
    assert sum(counts[topic, "duplicate"] for topic in ("clicks", "conversions")) == result.duplicates
    assert sum(counts[topic, "dead_letter"] for topic in ("clicks", "conversions")) == len(result.refused)
