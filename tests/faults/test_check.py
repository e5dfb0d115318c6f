"""That the suite would notice in ClickHouse: a row that is missing, old, or there twice."""

from __future__ import annotations

import time
from dataclasses import replace

import orjson
import pytest

from tests.faults.told import Told
from tests.faults.verdict import Verdict
from tests.sinks.flow import pour, samples
from tests.sinks.samples import Sample

TOPICS = ("touches", "orders", "attributions", "panes", "spend", "dead-letters")
VIEWS = {"touches", "facts", "conversions", "credits", "traffic", "spend", "dead_letters"}


def _shown(sample: Sample) -> bool:
    """Whether a view shows something of this record, where it is the last of its key."""
    if sample.topic == "dead-letters":
        return True
    row = orjson.loads(sample.value)
    if sample.topic == "panes":
        return row["clicks"] + row["landings"] + row["impressions"] > 0
    if sample.topic == "spend":
        return row["cost_micros"] > 0
    return row.get("type") in {None, "click", "landing"} and not row.get("withdrawn")


def _name(sample: Sample) -> tuple:
    """What a later record of the same replaces."""
    return (sample.topic, sample.partition, dict(sample.headers).get("k", sample.offset))


@pytest.mark.integration
@pytest.mark.faults
def test_what_clickhouse_lacks_or_has_twice_is_noticed(settings):
    """One record of any topic never inserted, or an old one under a new offset; what is only repeated is right."""
    now = int(time.time() * 1000)
    told = Told(9, now, crowds=4)
    told.look()
    # Letters are kept for a month from when what they tell of was written, which the cluster in memory does not say.
    written = ("time", str(now).encode())
    found = [
        replace(one, headers=(*(h for h in one.headers if h[0] != "time"), written)) for one in samples(told.cluster)
    ]
    last = {_name(sample): sample for sample in found}
    missing = {next(_name(one) for one in last.values() if one.topic == topic and _shown(one)) for topic in TOPICS}
    pour(settings, [sample for sample in found if _name(sample) not in missing])
    assert _differing(told.verdict(lambda _: [], settings)) >= VIEWS
    pour(settings, [*found, *found])
    assert told.verdict(lambda _: [], settings).lines() == []
    letter = next(sample for sample in found if sample.topic == "dead-letters")
    pane = next(one for one in found if one.topic == "panes" and _told(one) != _told(last[_name(one)]))
    pour(settings, [replace(letter, offset=1000), replace(pane, offset=1000)])
    verdict = told.verdict(lambda _: [], settings)
    assert any("dead_letters" in line for line in verdict.doubled)
    assert _differing(verdict) & {"traffic", "kpis"}


def _differing(verdict: Verdict) -> set[str]:
    """Views of ClickHouse of which something is said."""
    lines = [*verdict.lost, *verdict.doubled, *verdict.wrong]
    return {line.removeprefix("ClickHouse, ").split(" ")[0] for line in lines if line.startswith("ClickHouse, ")}


def _told(sample: Sample) -> dict:
    """A pane without what is no figure."""
    row = orjson.loads(sample.value)
    return {name: row[name] for name in ("clicks", "landings", "impressions", "invalid", "models")}
