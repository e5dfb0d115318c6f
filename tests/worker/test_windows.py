"""Rolling windows equal the sum of the panes of their minutes, whatever comes late and however time passes."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.reasons import MODELS
from streams.core.panes import KPIS, TRAFFIC, WIDTH, add, read_pane, write_pane
from streams.core.state import pane_key
from streams.worker import windows as module
from streams.worker.windows import WINDOWS, UnitWindows, WindowMetrics

NOW = 30_000_000
"""A minute."""


class Panes:
    """A store that holds panes alone."""

    def __init__(self):
        self.entries = {}

    def scan_from(self, start, end):
        return [(key, value) for key, value in sorted(self.entries.items()) if start <= key < end]

    def change(self, dimensions, numbers):
        """As a committed batch changes them."""
        key = pane_key(dimensions[0], orjson.dumps(dimensions))
        old = self.entries.get(key)
        totals = add(read_pane(orjson.loads(old)), numbers) if old else numbers
        self.entries[key] = orjson.dumps(write_pane(dimensions, totals))

    def sums(self, minute, length):
        """The slow way."""
        table = {}
        for value in self.entries.values():
            pane = orjson.loads(value)
            if minute - length < pane["minute"] <= minute:
                series = (pane["site"], pane["channel"], pane["campaign"], pane["currency"])
                table[series] = add(table.get(series, []), read_pane(pane))
        return {series: numbers for series, numbers in table.items() if any(numbers)}


def pane(minute=NOW, campaign="spring", currency="EUR", channel="Email"):
    """Dimensions of a pane."""
    return (minute, "shop.example", channel, campaign, "", "", "", currency)


def padded(table):
    """Numbers of one width."""
    return {series: [*numbers, *[0] * (WIDTH - len(numbers))] for series, numbers in table.items()}


ages = st.sampled_from([-2, -1, 0, 1, 4, 5, 6, 59, 60, 61, 1439, 1440, 1441])
changes = st.tuples(
    ages, st.sampled_from(["a", "b"]), st.integers(-3, 9), st.one_of(st.none(), st.integers(-1_000_000, 1_000_000))
)
steps = st.one_of(st.lists(changes, min_size=1, max_size=4), st.sampled_from([1, 2, 5, 60, 1440]))


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=12), st.booleans())
def test_totals_equal_the_sum_of_the_panes(run, lost):
    """Changes of any minute and passing minutes in any order; also of a unit that was lost and opened anew."""
    panes, now = Panes(), NOW
    unit = UnitWindows(panes, now)
    for step in run:
        if isinstance(step, int):
            now += step
            unit.advance(now)
        else:
            batch = {}
            for age, campaign, clicks, conversions in step:
                numbers = [0, clicks, 0, 0, 0]
                if conversions is not None:
                    numbers = [*numbers, conversions, 2 * conversions, *[0] * (WIDTH - len(TRAFFIC) - 2)]
                key = pane(now - age, campaign)
                batch[key] = add(batch[key], numbers) if key in batch else numbers
            for key, numbers in batch.items():
                panes.change(key, numbers)
            unit.change(batch)
        if lost:
            unit = UnitWindows(panes, now)
        unit.advance(now)
        for label, length in WINDOWS.items():
            assert padded(unit.totals[label]) == padded(panes.sums(now, length))


def samples(metrics):
    """(name, labels) -> value."""
    found = {}
    for family in metrics.collect():
        for sample in family.samples:
            found[sample.name.removeprefix("headwater_window_"), tuple(sorted(sample.labels.items()))] = sample.value
    return found


def units(monkeypatch, *many):
    """Window metrics over units with these panes; the wall clock stands at `NOW`."""
    monkeypatch.setattr(module.time, "time", lambda: NOW * 60.0)
    made = []
    for table in many:
        panes = Panes()
        for dimensions, numbers in table.items():
            panes.change(dimensions, numbers)
        made.append(UnitWindows(panes, NOW))
    return WindowMetrics(made, most_campaigns=2)


def test_units_are_added_up_and_a_lost_one_counts_no_more(monkeypatch):
    """Each holds what is its own; visits are clicks and landings; a cost bears its currency."""
    metrics = units(monkeypatch, {pane(): [1, 2, 3, 0, 1_500_000]}, {pane(): [0, 1, 0, 0, 0]})
    labels = {"site": "shop.example", "channel": "Email", "campaign": "spring", "window": "5m"}
    plain, money = tuple(sorted(labels.items())), tuple(sorted((labels | {"currency": "EUR"}).items()))
    found = samples(metrics)
    assert (found["clicks", plain], found["visits", plain], found["impressions", plain]) == (3, 6, 1)
    assert found["cost", money] == 1.5
    del metrics.units[0]
    assert samples(metrics)["clicks", plain] == 1


def test_conversions_and_revenue_are_by_model(monkeypatch):
    """Millionths and micros are shown whole."""
    numbers = [0] * WIDTH
    at = len(TRAFFIC) + MODELS.index("linear") * len(KPIS)
    numbers[at], numbers[at + 1] = 500_000, 12_340_000
    found = samples(units(monkeypatch, {pane(): numbers}))
    by_model = {
        (name, dict(labels)["model"], dict(labels)["window"]): value
        for (name, labels), value in found.items()
        if "model" in dict(labels)
    }
    assert by_model["conversions", "linear", "24h"] == 0.5
    assert by_model["revenue", "linear", "24h"] == 12.34
    assert {model for _, model, _ in by_model} == {"linear"}


def test_campaigns_beyond_the_bound_are_other(monkeypatch):
    """Those with the most visits keep their names; nothing is lost."""
    table = {pane(campaign=f"c{n}"): [0, 10 - n, 0, 0, 0] for n in range(5)}
    found = samples(units(monkeypatch, table))
    shown = {
        dict(labels)["campaign"]: value
        for (name, labels), value in found.items()
        if name == "clicks" and dict(labels)["window"] == "1h"
    }
    assert shown == {"c0": 10, "c1": 9, "other": 8 + 7 + 6}
