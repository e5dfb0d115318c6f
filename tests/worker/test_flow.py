"""Which partitions are fetched and from where, and what a batch carries."""

from __future__ import annotations

from typing import NamedTuple

from aiokafka import TopicPartition

from streams.worker.flow import (
    FAR_BEHIND,
    FAR_BEHIND_MS,
    FIRST_LOOK_S,
    JUST_S,
    LARGE_BATCH,
    LEAST_REST_S,
    LONGEST_REST_S,
    MOST_OUTSTANDING,
    STEP_S,
    STUCK_S,
    Batch,
    Flow,
)

TP = TopicPartition("clicks", 3)


class Record(NamedTuple):
    """As much of a record as a batch looks at."""

    offset: int
    topic: str = "clicks"
    partition: int = 3
    timestamp: int = 0
    timestamp_type: int = 0


def batch(count, written=0):
    """So many records, all of one time (ms)."""
    return [Record(number, timestamp=written) for number in range(count)]


def released(offset=10, **options):
    """A flow with one partition released and sought, its course and epoch."""
    flow = Flow(**options)
    epoch = flow.release(TP, offset)
    flow.sought(TP, offset, epoch)
    return flow, flow.ready(TP), epoch


def test_nothing_is_fetched_before_it_is_released_and_sought():
    """The seek is made by the consumer's thread, between two fetches."""
    flow = Flow()
    assert flow.ready(TP) is None
    epoch = flow.release(TP, 10)
    assert flow.seeks() == [(TP, 10, epoch)]
    assert flow.ready(TP) is None
    flow.sought(TP, 10, epoch)
    assert flow.seeks() == []
    assert (flow.ready(TP).epoch, flow.ready(TP).start) == (epoch, 10)


def test_a_seek_that_was_overtaken_does_not_count():
    """The later release is still to be sought."""
    flow = Flow()
    old = flow.release(TP, 10)
    new = flow.release(TP, 20)
    flow.sought(TP, 10, old)
    assert flow.ready(TP) is None
    assert flow.seeks() == [(TP, 20, new)]


def test_a_held_partition_is_neither_sought_nor_fetched():
    """Also when it was released a moment ago."""
    flow, _, _ = released()
    flow.hold(TP)
    assert flow.ready(TP) is None
    epoch = flow.release(TP, 10)
    flow.hold(TP)
    assert flow.seeks() == []
    flow.sought(TP, 10, epoch)
    assert flow.ready(TP) is None


def test_no_more_batches_than_are_taken_care_of():
    """Room comes back when one is done with."""
    flow, course, epoch = released()
    for number in range(MOST_OUTSTANDING):
        assert flow.ready(TP) is course
        assert flow.taken(TP, course, 11 + number, batch(LARGE_BATCH + 1), 0)
    assert flow.ready(TP) is None
    flow.done(TP, epoch)
    assert flow.ready(TP) is course


def test_after_a_small_batch_its_partition_rests():
    """One at a time, so that what comes meanwhile is in the next one; a large one, or one with much behind it, not."""
    now = [0.0]
    flow, course, epoch = released(clock=lambda: now[0])
    assert flow.taken(TP, course, 11, batch(LARGE_BATCH), 0)
    assert flow.ready(TP) is None
    now[0] = 5.0
    flow.done(TP, epoch)
    assert flow.ready(TP) is None
    now[0] += LEAST_REST_S
    assert flow.ready(TP) is course
    assert flow.taken(TP, course, 12, batch(LARGE_BATCH + 1), 0)
    assert flow.ready(TP) is course
    flow.done(TP, epoch)
    assert flow.ready(TP) is course


def test_all_topics_of_a_partition_number_rest_together():
    """So that they are fetched at once, and share a transaction; one that has much to do does not wait for them."""
    now = [5.0]
    flow, course, epoch = released(clock=lambda: now[0])
    others = [TopicPartition("conversions", 3), TopicPartition("conversions", 4), TopicPartition("costs", 3)]
    for tp in others:
        flow.sought(tp, 0, flow.release(tp, 0))
    busy = flow.ready(others[2])
    assert flow.taken(others[2], busy, 9_000, batch(LARGE_BATCH + 1), 0)
    assert flow.taken(TP, course, 11, batch(1), 0)
    flow.done(TP, epoch)
    assert [flow.ready(tp) is not None for tp in [TP, *others]] == [False, False, True, True]
    now[0] += LEAST_REST_S
    assert all(flow.ready(tp) is not None for tp in [TP, *others])


def test_for_a_moment_after_a_rest_it_has_just_rested():
    """Of all topics of the number; before, and later, it has not."""
    now = [100.0]
    flow, course, epoch = released(clock=lambda: now[0])
    assert not flow.has_just_rested(TP)
    flow.taken(TP, course, 15, batch(5), 0)
    flow.done(TP, epoch)
    assert not flow.has_just_rested(TP)
    now[0] += LEAST_REST_S + JUST_S / 2
    assert flow.has_just_rested(TP)
    assert flow.has_just_rested(TopicPartition("conversions", 3))
    assert not flow.has_just_rested(TopicPartition("clicks", 4))
    now[0] += JUST_S
    assert not flow.has_just_rested(TP)


def test_it_rests_longer_where_batches_take_longer():
    """Up to a limit."""
    now = [0.0]
    flow, course, epoch = released(clock=lambda: now[0])
    for seconds, rest in ((0.02, 0.08), (1.0, LONGEST_REST_S)):
        for _ in range(50):
            flow.pace(3, seconds)
        assert flow.taken(TP, course, 11, batch(3), 0)
        flow.done(TP, epoch)
        now[0] += rest - 0.001
        assert flow.ready(TP) is None
        now[0] += 0.002
        assert flow.ready(TP) is course


NOW = 1_800_000_000_000


def behind(*clicks):
    """A flow with partitions of clicks, of each of which a batch written so long ago (ms) has been taken."""
    now = [0.0]
    flow = Flow(clock=lambda: now[0])
    facts = TopicPartition("conversions", 0)
    for tp in (facts, *(TopicPartition("clicks", number) for number in range(len(clicks)))):
        flow.sought(tp, 0, flow.release(tp, 0))
    for number, age in enumerate(clicks):
        take(flow, number, NOW - age)
    now[0] = STEP_S
    return flow, facts, now


def take(flow, number, written, left=FAR_BEHIND + 1):
    """A batch of one of the partitions is taken."""
    tp = TopicPartition("clicks", number)
    assert flow.taken(tp, flow.ready(tp), 9, batch(LARGE_BATCH + 1, written), left)


def test_far_behind_conversions_wait_for_clicks():
    """For those of the slowest partition: what is read of both was written at the same time."""
    flow, facts, _ = behind(3 * FAR_BEHIND_MS, 2 * FAR_BEHIND_MS, 0)
    assert flow.waits(NOW) == {facts: NOW - 3 * FAR_BEHIND_MS}
    take(flow, 0, NOW)
    assert flow.waits(NOW) == {facts: NOW - 2 * FAR_BEHIND_MS}


def test_waiting_conversions_come_together():
    """Not a handful with each batch of clicks."""
    flow, facts, now = behind(3 * FAR_BEHIND_MS)
    assert flow.taken(facts, flow.ready(facts), 9, batch(1), FAR_BEHIND)
    assert flow.waits(NOW) == {facts: 0}
    now[0] += STEP_S
    assert flow.waits(NOW) == {facts: NOW - 3 * FAR_BEHIND_MS}


def test_nearly_up_to_date_nothing_waits():
    """Latency comes first, and some touches that come a little late cost little."""
    flow, _, _ = behind(FAR_BEHIND_MS, 5)
    assert flow.waits(NOW) == {}


def test_nothing_waits_for_clicks_that_only_look_old():
    """A program that writes them with times of its own may always be an hour behind."""
    flow, facts, _ = behind(3_600_000)
    assert facts in flow.waits(NOW)
    take(flow, 0, NOW - 3_600_000, FAR_BEHIND)
    assert flow.waits(NOW) == {}


def test_nothing_waits_for_clicks_that_do_not_get_on():
    """Whatever it is; it does for others, and again once they do."""
    flow, facts, now = behind(3 * FAR_BEHIND_MS, 2 * FAR_BEHIND_MS)
    now[0] += STUCK_S - 2 * STEP_S
    take(flow, 1, NOW - 2 * FAR_BEHIND_MS)
    assert flow.waits(NOW) == {facts: NOW - 3 * FAR_BEHIND_MS}
    now[0] += STEP_S
    assert flow.waits(NOW) == {facts: NOW - 2 * FAR_BEHIND_MS}
    take(flow, 0, NOW - 3 * FAR_BEHIND_MS)
    assert flow.waits(NOW) == {facts: NOW - 3 * FAR_BEHIND_MS}


def test_clicks_come_first_where_neither_is_known():
    """Or conversions would be a batch ahead, which are a hundred batches of clicks; without clicks it is soon known."""
    now = [0.0]
    flow = Flow(clock=lambda: now[0])
    for topic in ("clicks", "conversions"):
        flow.sought(TopicPartition(topic, 0), 0, flow.release(TopicPartition(topic, 0), 0))
    assert flow.waits(NOW) == {TopicPartition("conversions", 0): 0}
    now[0] = FIRST_LOOK_S
    assert flow.waits(NOW) == {}


def test_what_was_fetched_before_a_release_holds_nothing_up():
    """A rebalance throws fetched batches away; nobody is ever done with those."""
    flow, old, epoch = released()
    for number in range(MOST_OUTSTANDING):
        flow.taken(TP, old, 11 + number, batch(LARGE_BATCH + 1), 0)
    again = flow.release(TP, 10)
    flow.sought(TP, 10, again)
    course = flow.ready(TP)
    assert course.outstanding == 0
    flow.done(TP, epoch)
    assert course.outstanding == 0
    assert not flow.taken(TP, old, 12, batch(1), 0), "fetched before the release"


def test_the_next_batch_starts_where_the_last_one_ended():
    """Whatever markers and aborted records were gone over in between."""
    flow, course, epoch = released(10)
    flow.taken(TP, course, 15, batch(5), 0)
    flow.passed(TP, course, 18)
    assert (course.start, course.reached) == (15, 18)
    assert flow.idle_at(TP) == 0, "a batch is out"
    flow.done(TP, epoch)
    assert flow.idle_at(TP) == 18


def test_a_batch_is_to_faust_one_message_at_its_start():
    """Its value is itself; the records' own offsets may leave gaps."""
    batch = Batch(TP, [Record(0), Record(2), Record(4)], 0, 6, 7, 9)
    assert (batch.topic, batch.partition, batch.offset) == ("clicks", 3, 0)
    assert batch.value is batch
    assert batch.key is None
    assert (batch.start, batch.next, batch.epoch, batch.highwater) == (0, 6, 7, 9)


def test_halves_follow_each_other():
    """Together they cover what the batch covers."""
    first, second = Batch(TP, [Record(1), Record(2), Record(5)], 0, 9, 7, 9).halves()
    assert [[r.offset for r in half.records] for half in (first, second)] == [[1], [2, 5]]
    assert (first.start, first.next, second.start, second.next) == (0, 2, 2, 9)
    assert first.epoch == second.epoch == 7


def test_batches_grow_while_they_are_quick_and_halve_when_they_are_slow():
    """Full ones only say that there is more; a failed one counts as slow."""
    flow = Flow(30_000)
    assert flow.size == 5_000
    flow.pace(4_999, 0.1)
    assert flow.size == 5_000
    for size in (20_000, 30_000, 30_000):
        flow.pace(flow.size, 0.1)
        assert flow.size == size
    flow.pace(30_000, 1.0)
    assert flow.size == 30_000
    flow.pace(30_000, 10.0)
    flow.pace(30_000, 10.0)  # fetched before the first one was known to be slow
    assert flow.size == 15_000
    for _ in range(20):
        flow.pace(flow.size, 4.0)
    assert flow.size == 100
    assert Flow(40).size == 40
