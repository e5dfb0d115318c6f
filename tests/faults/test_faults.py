"""The suite in short, against real processes; and that the suite itself would notice."""

from __future__ import annotations

import random
from types import SimpleNamespace

import orjson
import pytest

from tests.faults.check import Deleted
from tests.faults.faults import FAULTS
from tests.faults.observed import Observed
from tests.faults.run import run
from tests.faults.schedule import schedule
from tests.faults.told import NOW, Told
from tests.reference.events import DAY, identity

SHORT = (
    "worker_killed",
    "worker_leaves",
    "worker_joins",
    "state_deleted",
    "outputs_truncated",
    "produce_cut",
    "offsets_cut",
    "end_cut",
    "broker_killed",
    "engine_killed",
    "inserts_unanswered",
    "sink_killed",
    "collector_killed",
)
"""One of each kind, less those that wait for a session to run out (tests/integration/test_worker.py has them)."""
WAYS = {"/events", "/pixel.gif", "/c/", "/postback", "/import/costs", "/import/conversions", "Kafka"}


@pytest.mark.integration
@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_short_schedule(tmp_path):
    """Killed, cut, deleted, truncated and refused under load: nothing is lost or doubled, and all rows are right."""
    said = []
    report = await run(tmp_path, faults=0, seed=23, names=SHORT, rounds=2, workers=2, say=said.append)
    assert report.right, "\n".join([*said, f"logs: {tmp_path / 'stack' / 'logs'}"])
    assert report.last_line() == f"{len(SHORT)} faults, 0 lost, 0 doubled"
    assert {name for name, number in report.ways.items() if number} == WAYS


def test_schedules_follow_the_seed():
    """A seed and a number are a schedule; every kind is in a long one, and none that takes minutes in a short one."""
    names = [[(one.fault.name, one.seed) for one in planned] for planned in schedule(1, 200)]
    assert names == [[(one.fault.name, one.seed) for one in planned] for planned in schedule(1, 200)]
    assert names != [[(one.fault.name, one.seed) for one in planned] for planned in schedule(2, 200)]
    assert sum(map(len, names)) == 200
    assert {name for planned in names for name, _ in planned} == set(FAULTS)
    assert not any(one.fault.long for planned in schedule(1, 39) for one in planned)
    assert sum(map(len, schedule(1, 0, SHORT, 2))) == len(SHORT)
    assert len(schedule(1, 0, SHORT, 2)) == 2


def _rewrite(record, **changes):
    return SimpleNamespace(**vars(record) | {"value": orjson.dumps(orjson.loads(record.value) | changes)})


def test_what_is_right_is_right():
    """The core's own outputs, untouched and told twice, are no difference."""
    assert Told(1).verdict().lines() == []
    assert (
        Told(2).verdict(lambda record: [record] if record.topic == "dead-letters" else [record, record]).lines() == []
    )


@pytest.mark.parametrize("topic", ["touches", "orders", "attributions", "panes", "spend", "dead-letters"])
def test_a_missing_record_is_noticed(topic):
    """Any record of an output topic that is missing, for good, shows in the verdict."""
    chance = random.Random(topic)
    told = Told(3)
    keys = sorted({record.key for record in told.records() if record.topic == topic}, key=str)
    key = chance.choice(keys)
    missing = [(r.partition, r.offset) for r in told.records() if (r.topic, r.key) == (topic, key)]
    verdict = told.verdict(
        lambda record: [] if record.topic == topic and (record.partition, record.offset) in missing else [record]
    )
    assert not verdict.right
    if topic in {"touches", "orders", "spend", "dead-letters"}:
        assert verdict.lost


def test_what_counts_twice_is_noticed():
    """A dead letter twice, a pane with one more, a version that was given twice, an event both taken and refused."""

    def letter(record):
        return [record, record] if record.topic == "dead-letters" else [record]

    def pane(record):
        if record.topic != "panes":
            return [record]
        return [_rewrite(record, clicks=orjson.loads(record.value)["clicks"] + 1)]

    def again(record):
        if record.topic != "attributions":
            return [record]
        return [record, _rewrite(record, status="pending", value_micros=7)]

    assert Told(4).verdict(letter).doubled
    assert Told(5).verdict(pane).doubled
    assert any("version" in line for line in Told(6).verdict(again).wrong)
    told = Told(7)
    clicks = [event for group in told.load.groups for event in group.told if event["type"] == "click"]
    accepted = next(event for event in clicks if NOW - 7 * DAY < event["time"] < NOW)
    headers = [(name, b"0") for name in ("reason", "topic", "partition", "offset")]
    letters = SimpleNamespace(value=orjson.dumps(accepted), headers=headers)
    told.observed._letter(letters)
    assert told.verdict().doubled


def test_a_letter_is_one_by_its_id():
    """What the collector writes again, where Kafka's answer was lost, is one letter; of another id it is another."""
    observed = Observed("", 4)
    for number in (b"1", b"1", b"2"):
        names = [("reason", b"schema"), ("topic", b"http"), ("partition", b""), ("offset", b""), ("id", number)]
        observed._letter(SimpleNamespace(value=b"{}", headers=names))
    assert list(observed.letters.values()) == [2]
    assert observed.repeated == 1


def test_what_a_fault_deleted_is_not_asked_for():
    """An event of which every copy was deleted before it was read is left out of the undisturbed run."""
    told = Told(8)
    event = next(event for group in told.load.groups for event in group.told if event["type"] == "landing")
    deleted = Deleted([("clicks", 0, 5, 9)], {identity(event)})
    assert deleted.gone(told.observed) == {identity(event)}
    told.observed.places[identity(event)].add(("clicks", 0, 7))
    assert deleted.gone(told.observed) == {identity(event)}
    told.observed.places[identity(event)].add(("clicks", 0, 9))
    assert deleted.gone(told.observed) == set()
