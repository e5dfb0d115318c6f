"""The simulated shop as a whole: reproducible, in proportion, and in agreement with the core."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict

import orjson
import pytest
from pydantic import TypeAdapter

from schemas.reasons import MODELS
from schemas.registry import Entry
from streams.core.registry import Registry
from streams.core.replay import Replay
from streams.simulator import Simulation, simulate
from streams.simulator.compare import Measured, differences
from streams.simulator.generator import SPAN_MS
from streams.simulator.orders import STORIES
from streams.simulator.spent import CostKey, count_ratios
from streams.simulator.truth import RATIO_MODEL, Credit, CreditKey, Traffic, TrafficKey

END = 1_795_000_000_000
DAY = 86_400_000


@pytest.fixture(scope="module")
def shop() -> Simulation:
    return simulate(20_000, 1, END, costs=True)


def of_type(simulation: Simulation, *kinds: str) -> list[dict]:
    return [line.event for line in simulation.first if line.outcome == "accepted" and line.event["type"] in kinds]


def test_the_same_arguments_give_the_same_bytes_in_another_process():
    """Nothing depends on a clock, on hashing or on what ran before."""
    code = (
        "import sys; from streams.simulator import simulate;"
        f"sys.stdout.buffer.write(b'\\n'.join(line.dump() for line in simulate(500, 3, {END}).lines))"
    )
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert other == b"\n".join(line.dump() for line in simulate(500, 3, END).lines)


def test_another_seed_is_another_shop():
    """And another count or end time is too."""
    texts = {simulate(*arguments).lines[0].dump() for arguments in ((9, 1, END), (9, 2, END), (9, 1, END + 1))}
    assert len(texts) == 3


@pytest.mark.parametrize("count", [1, 2, 17, 250, 1_001])
def test_exactly_as_many_lines_as_asked_for(count):
    """Malformed ones included, and every line is one line."""
    lines = [line.dump() for line in simulate(count, 5, END).lines]
    assert len(lines) == count
    assert not any(b"\n" in line for line in lines)


def test_a_simulation_without_events_is_refused():
    """There is nothing to simulate."""
    with pytest.raises(ValueError, match="at least one"):
        simulate(0, 1, END)


def test_proportions(shop):
    """1 to 3 % conversions, about 1 % refused, 2 % duplicates; every story of an order is told."""
    conversions = of_type(shop, "conversion")
    assert 0.01 < len(conversions) / len(shop.lines) < 0.03
    truth = shop.truth
    assert 0.007 < sum(truth.dead_letters.values()) / len(shop.lines) < 0.015
    again = [line.event["type"] for line in shop.first if line.outcome == "duplicate"]
    assert (truth.duplicates, len(again) - again.count("cost")) == (len(again), 400)
    assert set(truth.dead_letters) == {"malformed", "schema", "too_old", "in_future", "id_collision"}
    assert set(truth.statuses) == {"approved", "pending", "rejected", "retracted", "duplicate"}
    assert truth.unmatched > 5
    assert {event.get("currency") for event in conversions} >= {None, "EUR", "USD", "GBP"}
    assert len({key.channel for key in truth.traffic}) >= 17
    assert truth.conversions > 5 * len(STORIES)


def test_counts_add_up(shop):
    """Every line is accepted, a duplicate or refused."""
    truth = shop.truth
    assert truth.accepted + truth.duplicates + sum(truth.dead_letters.values()) == len(shop.lines)


def test_credit_is_conserved_under_every_model(shop):
    """The same conversions and the same money, however they are shared out."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for key, credit in shop.truth.credits.items():
        sums[key.model][0] += credit.conversions
        sums[key.model][1] += credit.revenue
    assert set(sums) == set(MODELS)
    assert len({tuple(figures) for figures in sums.values()}) == 1


def test_touches_are_young_enough_to_be_sent_and_conversions_too(shop):
    """Corrected by what their senders say of their clocks, all touches lie within the span."""
    for line in shop.first:
        if line.outcome != "accepted":
            continue
        event = line.event
        skew = event["received_at"] - event.get("sent_at", event["received_at"])
        time = event["time"] + (skew if abs(skew) > 300_000 else 0)
        oldest = 35 * DAY if event["type"] in {"conversion", "adjustment", "cost"} else SPAN_MS
        assert END - oldest <= time <= END + 600_000


def test_lines_come_late_and_out_of_order(shop):
    """Touches arrive after the conversions they lead to."""
    conversions = of_type(shop, "conversion")
    first_at = {event["visitor_id"]: event["received_at"] for event in conversions if "visitor_id" in event}
    late = [
        touch
        for touch in of_type(shop, "landing", "click")
        if touch["visitor_id"] in first_at and touch["received_at"] > first_at[touch["visitor_id"]]
    ]
    assert len(late) > 20
    times = [line.event["time"] for line in shop.first if line.outcome == "accepted"]
    assert times != sorted(times)


def test_collisions_come_after_what_they_collide_with(shop):
    """They are the last part, and their identity is in the first."""
    taken = {line.event["event_id"] for line in shop.first if line.outcome == "accepted"}
    assert shop.last
    assert {line.outcome for line in shop.last} == {"id_collision"}
    assert {line.event["event_id"] for line in shop.last} <= taken


def registry_of(simulation: Simulation) -> Registry:
    entry = TypeAdapter(Entry)
    sites = [entry.validate_python({"kind": "site"} | site) for site in simulation.registry["sites"]]
    named = [entry.validate_python({"kind": "campaign"} | item) for item in simulation.registry["campaigns"]]
    return Registry([*sites, *named])


def by_the_core(simulation: Simulation) -> Measured:
    """What the core makes of the lines, in the truth's own terms."""
    replay = Replay(registry_of(simulation))
    refused = Counter(refusal.reason for _, refusal in replay.read(line.dump() for line in simulation.lines))
    credit: dict[CreditKey, list[int]] = defaultdict(lambda: [0, 0])
    attributions = replay.attributions()
    for attribution in attributions:
        for model, shares in attribution["credits"].items():
            for place, weight, value in shares:
                touch = attribution["touches"][place]
                row = credit[CreditKey(model, touch["channel"], touch["campaign"], attribution["currency"])]
                row[0] += weight if attribution["counted"] else 0
                row[1] += value
    traffic: dict[TrafficKey, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    touches = replay.touches()
    costs = costs_by_the_core(replay, touches)
    for key, micros in costs.items():
        traffic[TrafficKey(key.channel, key.campaign, key.currency)][4] += micros
    for touch in touches:
        row = traffic[TrafficKey(touch["channel"], touch["campaign"], touch["currency"])]
        kind = ("impression", "click", "landing").index(touch["type"])
        if set(touch["invalid_reasons"]) - {"no_consent"}:
            row[3] += 1
        elif not touch["internal"]:
            row[kind] += 1
    credits_ = {key: Credit(*row) for key, row in credit.items() if any(row)}
    summed = {key: Traffic(*row) for key, row in traffic.items() if any(row)}
    return Measured(
        credits=credits_,
        kpis=credits_,
        traffic=summed,
        costs=costs,
        ratios=count_ratios(summed, credits_, RATIO_MODEL),
        statuses=dict(Counter(attribution["status"] for attribution in attributions)),
        touches=len(touches),
        unmatched=sum(not attribution["visitor_id"] for attribution in attributions),
        dead_letters=dict(refused),
    )


def costs_by_the_core(replay: Replay, touches: list[dict]) -> dict[CostKey, int]:
    """Stated costs by their hours, and what touches cost where no statement covers their campaign's minute."""
    found: dict[CostKey, int] = defaultdict(int)
    ways: dict[str, Counter[str]] = defaultdict(Counter)
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for touch in touches:
        ways[touch["campaign"]][touch["channel"]] += 1
    for view in replay.views:
        for _, value in view.scan(b"s"):
            spend = orjson.loads(value)
            spans[spend["campaign"]].append((spend["from"], spend["to"]))
            most = ways[spend["campaign"]].most_common(1)
            channel = spend["channel"] or (most[0][0] if most else "Unassigned")
            for hour, micros, _, _ in spend["hours"]:
                found[CostKey(channel, spend["campaign"], spend["currency"], hour)] += micros
    for touch in touches:
        minute = touch["time"] // 60_000 * 60_000
        if not any(start <= minute < end for start, end in spans[touch["campaign"]]):
            key = CostKey(touch["channel"], touch["campaign"], touch["currency"], touch["time"] // 3_600_000)
            found[key] += touch["cost_micros"]
    return {key: micros for key, micros in found.items() if micros}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_core_agrees_with_the_truth(seed):
    """Two accounts, written apart, agree to the millionth on credit, traffic, costs, statuses and refusals."""
    simulation = simulate(4_000, seed, END, costs=True)
    assert differences(simulation.truth, by_the_core(simulation)) == []


def test_the_order_of_lines_does_not_matter():
    """Backwards, each part by itself, the core comes to the same figures."""
    simulation = simulate(2_500, 4, END, costs=True)
    simulation.first.reverse()
    assert differences(simulation.truth, by_the_core(simulation)) == []


def test_lines_are_json_unless_meant_not_to_be(shop):
    """Only what is refused as malformed can't be read as an object."""
    for line in shop.lines:
        if line.outcome != "malformed":
            assert isinstance(orjson.loads(line.dump()), dict)
