"""Rolling windows equal the sum of the panes of their minutes, whatever comes late and however time passes."""

from __future__ import annotations

import asyncio
from itertools import islice

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from schemas.reasons import MODELS
from streams.core.panes import KPIS, TRAFFIC, WIDTH, add, read_pane, texts_of, write_value
from streams.core.state import pane_key
from streams.worker import window_metrics
from streams.worker import windows as module
from streams.worker.stated_costs import StatedCosts
from streams.worker.store import Store
from streams.worker.window_metrics import FAMILIES, WindowMetrics
from streams.worker.windows import WINDOWS, UnitWindows

NOW = 30_000_000
"""A minute."""


class Panes:
    """A store that holds panes alone; pages are of the moment when they are asked for."""

    def __init__(self):
        self.entries = {}

    def pages(self, start, end, size):
        found = [(key, value) for key, value in sorted(self.entries.items()) if start <= key < end]
        return iter([found[at : at + size] for at in range(0, len(found), size)])

    def change(self, dimensions, numbers):
        """As a committed batch changes them."""
        key = pane_key(dimensions[0], orjson.dumps(dimensions))
        old = self.entries.get(key)
        self.entries[key] = write_value(dimensions[0], texts_of(dimensions[1:])[1], numbers, old)

    def sums(self, minute, length, spans=()):
        """The slow way; what touches cost in `spans` (campaign, from, to) is stated."""
        table = {}
        for value in self.entries.values():
            pane = orjson.loads(value)
            if minute - length < pane["minute"] <= minute:
                series = (pane["site"], pane["channel"], pane["campaign"], pane["currency"])
                if any(name == pane["campaign"] and start <= pane["minute"] < end for name, start, end in spans):
                    pane["cost_micros"] = 0
                table[series] = add(table.get(series, []), read_pane(pane))
        return {series: numbers for series, numbers in table.items() if any(numbers)}


def pane(minute=NOW, campaign="spring", currency="EUR", channel="Email"):
    """Dimensions of a pane."""
    return (minute, "shop.example", channel, campaign, "", "", "", currency)


def padded(table):
    """Numbers of one width."""
    return {series: [*numbers, *[0] * (WIDTH - len(numbers))] for series, numbers in table.items()}


def advance(unit, minute):
    """All pieces at once."""
    for _ in unit.pieces(minute):
        pass


def commit(panes, unit, now, changed):
    """A committed batch: the store has it first, then the windows are told."""
    batch = {}
    for age, campaign, clicks, conversions in changed:
        numbers = [0, clicks, 0, 0, 10 * clicks]
        if conversions is not None:
            numbers = [*numbers, conversions, 2 * conversions, *[0] * (WIDTH - len(TRAFFIC) - 2)]
        key = pane(now - age, campaign)
        batch[key] = add(batch[key], numbers) if key in batch else numbers
    for key, numbers in batch.items():
        panes.change(key, numbers)
    unit.change(batch)


ages = st.sampled_from([-2, -1, 0, 1, 4, 5, 6, 59, 60, 61, 1439, 1440, 1441])
changes = st.tuples(
    ages, st.sampled_from(["a", "b"]), st.integers(-3, 9), st.one_of(st.none(), st.integers(-1_000_000, 1_000_000))
)
batches = st.lists(changes, min_size=1, max_size=4)
lives = st.lists(
    st.one_of(
        batches,
        st.sampled_from([1, 2, 5, 60]).map(lambda minutes: ("minutes", minutes)),
        st.integers(1, 9).map(lambda pieces: ("pieces", pieces)),
        st.just(("opened anew", 0)),
        st.tuples(st.sampled_from(["a", "b"]), ages, st.sampled_from([1, 30, 1500])).map(lambda said: ("stated", said)),
    ),
    max_size=14,
)


@settings(max_examples=80, deadline=None)
@given(lives)
def test_totals_equal_the_sum_of_the_panes(life):
    """Changes of any minute, passing minutes, units opened anew, stated costs: in any order, between any two pieces."""
    panes, now = Panes(), NOW
    stated = []
    unit, piece = UnitWindows(panes, now), module.PIECE
    module.PIECE = 1
    try:
        for step in life:
            match step:
                case ("minutes", passed):
                    now += passed
                case ("pieces", number):
                    for _ in islice(unit.pieces(now), number):
                        pass
                case ("opened anew", _):
                    spans = unit.spans
                    unit.close()
                    unit = UnitWindows(panes, now)
                    unit.spans = spans
                case ("stated", (campaign, age, minutes)):
                    stated.append((campaign, now - age, now - age + minutes))
                    mine = tuple((start, end) for name, start, end in stated if name == campaign)
                    unit.spans = {**unit.spans, ("shop.example", campaign): mine}
                case _:
                    commit(panes, unit, now, step)
        advance(unit, now)
    finally:
        module.PIECE = piece
    assert unit.complete
    for label, length in WINDOWS.items():
        assert padded(unit.totals[label]) == padded(panes.sums(now, length, stated))


async def test_work_is_done_in_pieces():
    """However much there is to read and to add, the loop goes round in between."""
    panes = Panes()
    for number in range(module.PIECE * 3):
        panes.change(pane(campaign=f"c{number}"), [0, 1, 0, 0, 0])
    unit = UnitWindows(panes, NOW)
    assert sum(1 for _ in unit.pieces(NOW)) == 3
    unit.change({pane(campaign=f"c{number}"): [0, 1, 0, 0, 0] for number in range(module.PIECE * 4)})
    assert sum(1 for _ in unit.pieces(NOW)) == 4
    metrics, turns = WindowMetrics([unit]), 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    text = await metrics.text()
    counting.cancel()
    assert text.count("headwater_window_clicks{") == 3 * 4 * module.PIECE
    assert turns > 3 * 4


async def test_a_unit_shows_its_windows_when_they_are_whole():
    """A day that is half read would look like a slump."""
    panes = Panes()
    for number in range(module.PIECE + 1):
        panes.change(pane(campaign=f"c{number}"), [0, 1, 0, 0, 0])
    unit = UnitWindows(panes, NOW)
    metrics = WindowMetrics([unit])
    next(unit.pieces(NOW))
    assert "{" not in await metrics.text()
    advance(unit, NOW)
    assert "headwater_window_clicks{" in await metrics.text()


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_closed_unit_lets_go_of_its_store(tmp_path, pieces):
    """In the midst of reading too: the partition may be opened again at once."""
    store = Store(tmp_path / "0")
    puts = {}
    for number in range(3 * module.PIECE):
        dimensions = pane(campaign=f"c{number}")
        puts[pane_key(NOW, orjson.dumps(dimensions))] = write_value(
            NOW, texts_of(dimensions[1:])[1], [0, 1, 0, 0, 0], None
        )
    store.write(puts, {})
    unit = UnitWindows(store, NOW)
    work = unit.pieces(NOW)
    for _ in range(pieces):
        next(work)
    unit.close()
    store.close()
    assert not unit.complete
    assert list(work) == []
    again = Store(tmp_path / "0")
    assert len(again.scan(b"p")) == 3 * module.PIECE
    again.close()


async def samples(metrics, *names):
    """(name, labels) -> value, as Prometheus' own parser reads them."""
    found = {}
    for family in text_string_to_metric_families(await metrics.text(names)):
        for sample in family.samples:
            found[sample.name.removeprefix("headwater_window_"), tuple(sorted(sample.labels.items()))] = sample.value
    return found


def units(*many):
    """Window metrics over units with these panes."""
    made = []
    for table in many:
        panes = Panes()
        for dimensions, numbers in table.items():
            panes.change(dimensions, numbers)
        unit = UnitWindows(panes, NOW)
        advance(unit, NOW)
        made.append(unit)
    return WindowMetrics(made, most_campaigns=2)


async def test_units_are_added_up_and_a_lost_one_counts_no_more():
    """Each holds what is its own; visits are clicks and landings; a cost bears its currency."""
    metrics = units({pane(): [1, 2, 3, 0, 1_500_000]}, {pane(): [0, 1, 0, 0, 0]})
    labels = {"site": "shop.example", "channel": "Email", "campaign": "spring", "window": "5m"}
    plain, money = tuple(sorted(labels.items())), tuple(sorted((labels | {"currency": "EUR"}).items()))
    found = await samples(metrics)
    assert (found["clicks", plain], found["visits", plain], found["impressions", plain]) == (3, 6, 1)
    assert found["cost", money] == 1.5
    del metrics.units[0]
    assert (await samples(metrics))["clicks", plain] == 1


async def test_conversions_and_revenue_are_by_model():
    """Millionths and micros are shown whole."""
    numbers = [0] * WIDTH
    at = len(TRAFFIC) + MODELS.index("linear") * len(KPIS)
    numbers[at], numbers[at + 1] = 500_000, 12_340_000
    found = await samples(units({pane(): numbers}))
    by_model = {
        (name, dict(labels)["model"], dict(labels)["window"]): value
        for (name, labels), value in found.items()
        if "model" in dict(labels)
    }
    assert by_model["conversions", "linear", "24h"] == 0.5
    assert by_model["revenue", "linear", "24h"] == 12.34
    assert {model for _, model, _ in by_model} == {"linear"}


async def test_campaigns_beyond_the_bound_are_other():
    """Those with the most visits keep their names; nothing is lost."""
    table = {pane(campaign=f"c{n}"): [0, 10 - n, 0, 0, 0] for n in range(5)}
    found = await samples(units(table))
    shown = {
        dict(labels)["campaign"]: value
        for (name, labels), value in found.items()
        if name == "clicks" and dict(labels)["window"] == "1h"
    }
    assert shown == {"c0": 10, "c1": 9, "other": 8 + 7 + 6}


async def test_names_are_escaped_and_families_are_there_without_samples():
    """Whatever a campaign is called, the text can be read; only the names that are asked for are written."""
    strange = 'a"b\\c\nd'
    metrics = units({pane(campaign=strange): [1, 2, 3, 0, 0]})
    found = await samples(metrics)
    assert {dict(labels)["campaign"] for _, labels in found} == {strange}
    assert {name for name, _ in await samples(metrics, "headwater_window_visits", "other")} == {"visits"}
    assert await metrics.text(["other"]) == ""
    families = text_string_to_metric_families(await WindowMetrics().text())
    assert {family.name: family.type for family in families} == dict.fromkeys(FAMILIES, "gauge")


async def test_windows_that_fail_take_nothing_with_them(monkeypatch):
    """What cannot be read is shown no more, and gathers nothing more; the others move on, and so does the unit."""
    broken, well = units({pane(): [1, 0, 0, 0, 0]}, {pane(): [0, 5, 0, 0, 0]}).units.values()
    broken.change({pane(): ["no number", 0, 0, 0, 0]})
    well.change({pane(): [0, 1, 0, 0, 0]})
    metrics = WindowMetrics([broken, well])
    monkeypatch.setattr(window_metrics.time, "time", lambda: NOW * 60.0)
    following = asyncio.create_task(metrics.follow())
    async with asyncio.timeout(5):
        while well.totals["5m"]["shop.example", "Email", "spring", "EUR"][1] != 6:
            await asyncio.sleep(0)
    following.cancel()
    broken.change({pane(): [1, 0, 0, 0, 0]})
    assert broken._pending == {}
    assert {value for (name, _), value in (await samples(metrics)).items() if name == "clicks"} == {6}


async def test_the_clock_moves_the_windows(monkeypatch):
    """What happened six minutes ago has left the window of five."""
    metrics = units({pane(): [1, 0, 0, 0, 0]})
    monkeypatch.setattr(window_metrics.time, "time", lambda: (NOW + 6) * 60.0)
    monkeypatch.setattr(window_metrics, "EVERY_S", 0.0)
    following = asyncio.create_task(metrics.follow())
    async with asyncio.timeout(5):
        while {dict(labels)["window"] for _, labels in await samples(metrics)} != {"1h", "24h"}:
            await asyncio.sleep(0)
    following.cancel()


def spend(campaign="spring", start=NOW - 90, minutes=120, micros=(600, 500, 400), **fields):
    """A record of ``spend``: `micros` of each hour that the period touches."""
    first = start // 60
    hours = [[first + number, amount, 0, 0] for number, amount in enumerate(micros)]
    said = {"site": "shop.example", "campaign": campaign, "channel": "Email", "currency": "EUR"}
    return orjson.dumps(said | {"from": start * 60_000, "to": (start + minutes) * 60_000, "hours": hours} | fields)


async def test_a_statement_stands_in_the_place_of_what_touches_cost():
    """Of its campaign and minutes, in every partition; shown by its own, an hour's share at its first minute."""
    table = {pane(): [0, 1, 0, 0, 70], pane(NOW - 100): [0, 1, 0, 0, 9], pane(campaign="other"): [0, 1, 0, 0, 5]}
    metrics = units(table, {pane(): [0, 1, 0, 0, 30]})
    metrics.stated.take([(1, b"s", spend())], NOW)
    for unit in metrics.units.values():
        unit.spans = metrics.stated.spans
        advance(unit, NOW)
    assert sum("window_cost{" in line and "spring" in line for line in (await metrics.text()).splitlines()) == 1
    metrics.statements = metrics.stated.statements()
    found = {
        (dict(labels)["campaign"], dict(labels)["window"]): round(value * 1_000_000)
        for (name, labels), value in (await samples(metrics)).items()
        if name == "cost"
    }
    # The period begins 90 minutes ago, in the midst of an hour; its second hour began just before the last 60 minutes.
    assert NOW % 60 == 0
    assert found == {
        ("spring", "5m"): 400,
        ("spring", "1h"): 400,
        ("spring", "24h"): 600 + 500 + 400 + 9,
        ("other", "5m"): 5,
        ("other", "1h"): 5,
        ("other", "24h"): 5,
    }
    del metrics.units[1]
    left = {dict(labels)["campaign"] for (name, labels) in await samples(metrics) if name == "cost"}
    assert left == {"other", "spring"}


async def test_a_statement_without_channel_lies_at_that_of_its_traffic():
    """Of most visits; where there are none, nowhere in particular."""
    metrics = units({pane(): [0, 1, 0, 0, 0], pane(channel="Display"): [0, 2, 0, 0, 0]})
    metrics.stated.take([(0, b"s", spend(channel="")), (0, b"t", spend("lonely", channel=""))], NOW)
    metrics.statements = metrics.stated.statements()
    found = {
        (dict(labels)["campaign"], dict(labels)["channel"])
        for (name, labels) in await samples(metrics)
        if name == "cost"
    }
    assert found == {("spring", "Display"), ("lonely", "Unassigned")}


def test_statements_are_replaced_withdrawn_and_forgotten():
    """By key; those of days ago are in no window. What is covered is another object only where it differs."""
    stated = StatedCosts()
    stated.take([(0, b"old", spend("old", NOW - 3_000, 60, (1,)))], NOW)
    assert not stated.spans
    stated.take([(0, b"s", spend())], NOW)
    first = stated.spans
    assert first == {("shop.example", "spring"): ((NOW - 90, NOW + 30),)}
    stated.take([(0, b"s", spend(micros=(1, 2, 3)))], NOW)
    assert stated.spans is first
    assert [told.within(NOW - 1440, NOW) for told in stated.statements()] == [6]
    stated.take([(0, b"s", spend(campaign="summer"))], NOW)
    assert list(stated.spans) == [("shop.example", "summer")]
    stated.take([(0, b"s", None)], NOW)
    assert (stated.spans, stated.statements()) == ({}, [])


async def test_a_statement_that_comes_is_shown_by_itself(monkeypatch):
    """Whoever follows has each unit read its day anew, and shows the statement when that is done."""
    monkeypatch.setattr(window_metrics, "EVERY_S", 0)
    metrics = units({pane(): [0, 1, 0, 0, 70]})
    following = asyncio.create_task(metrics.follow())
    seen = []
    async with asyncio.timeout(20):
        while 400 not in seen:
            found = await samples(metrics, "headwater_window_cost")
            seen += [round(v * 1_000_000) for (_, labels), v in found.items() if dict(labels)["window"] == "5m"]
            metrics.stated.take([(0, b"s", spend())] if seen else [], NOW)
            await asyncio.sleep(0)
    following.cancel()
    assert set(seen) == {70, 400}
