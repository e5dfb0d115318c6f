"""What is fetched together: what lay there through a rest, and what came meanwhile."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from streams.worker import driver

CLICKS, CONVERSIONS, OTHER = (TopicPartition(*at) for at in (("clicks", 3), ("conversions", 3), ("clicks", 4)))


class Fetcher:
    """Answers one question after the other, and notes what each was for; nothing comes after the last answer."""

    _fetch_max_wait_ms = driver._FETCH_WAIT_MS

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def fetched_records(self, partitions, timeout, max_records):
        self.asked.append((list(partitions), max_records))
        if not self.answers:
            await asyncio.sleep(timeout)
            return {}
        return self.answers.pop(0)


@pytest.fixture
def fetched(monkeypatch):
    """Run `fetch` on a fetcher, with partitions that have just rested."""
    monkeypatch.setattr(driver, "_NEWER_WAIT", 0.01)

    def run(fetcher, rested, size=100):
        flow = SimpleNamespace(size=size, has_just_rested=rested.__contains__)
        return asyncio.run(driver.fetch(fetcher, flow, [CLICKS, CONVERSIONS, OTHER], 0.0))

    return run


def test_what_came_during_a_rest_goes_with_what_lay_there(fetched):
    """In order; once something newer of the partition number is there, nothing more of it can be."""
    fetcher = Fetcher({CLICKS: [1], CONVERSIONS: [7]}, {CLICKS: [2, 3]}, {CONVERSIONS: [8]})
    assert fetched(fetcher, {CLICKS, CONVERSIONS}) == {CLICKS: [1, 2, 3], CONVERSIONS: [7]}
    assert fetcher.asked[1:] == [([CLICKS, CONVERSIONS], 98)]


def test_partition_numbers_are_waited_for_apart(fetched):
    """Each has its answer in another one of Kafka's."""
    fetcher = Fetcher({CLICKS: [1], OTHER: [5]}, {OTHER: [6]}, {CLICKS: [2]})
    assert fetched(fetcher, {CLICKS, OTHER}) == {CLICKS: [1, 2], OTHER: [5, 6]}
    assert fetcher.asked[2] == ([CLICKS], 97)


def test_nothing_newer_is_waited_for_briefly(fetched):
    """What lay there goes by itself then."""
    fetcher = Fetcher({CLICKS: [1]})
    assert fetched(fetcher, {CLICKS}) == {CLICKS: [1]}
    assert len(fetcher.asked) == 2


@pytest.mark.parametrize(("rested", "size"), [(set(), 100), ({CLICKS}, 2)])
def test_what_did_not_rest_or_is_enough_waits_for_nothing(fetched, rested, size):
    """A click that comes by itself goes on at once; so does a full batch."""
    fetcher = Fetcher({CLICKS: [1, 2]}, {CLICKS: [3]})
    assert fetched(fetcher, rested, size) == {CLICKS: [1, 2]}
    assert len(fetcher.asked) == 1


def test_while_partitions_are_at_work_the_broker_answers_sooner(fetched):
    """Else a question about those without records would keep all others waiting."""
    fetcher = Fetcher({CLICKS: [1]})
    fetched(fetcher, set())
    assert fetcher._fetch_max_wait_ms == driver._BUSY_FETCH_WAIT_MS
    quiet = Fetcher({})
    fetched(quiet, set())
    assert quiet._fetch_max_wait_ms == driver._FETCH_WAIT_MS
