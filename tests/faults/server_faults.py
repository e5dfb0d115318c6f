"""What happens to Kafka, to the requests of a transaction, to ClickHouse, its sink and the collector."""

from __future__ import annotations

import asyncio
import random
import shutil

from streams.worker.transaction import DEADLINE_S
from tests.faults.faults import FAULTS, Act, Fault, fault
from tests.faults.field import Field
from tests.faults.proxy import ADD_OFFSETS, ADD_PARTITIONS, COMMIT_OFFSETS, END_TXN, INIT_PRODUCER_ID, PRODUCE

SESSION_S = 10.0
ARMED_S = 20.0
"""How long to wait for the request that is to be cut."""


# ---- Kafka


@fault("worker")
async def broker_killed(field: Field, chance: random.Random) -> str:
    down = chance.choice([0.0, 2.0])
    await field.kill("kafka", down)
    await field.kafka_ready()
    return f"down for {down:g} s"


@fault("worker", 2)
async def broker_restarted(field: Field, chance: random.Random) -> str:
    await field.kill("kafka", orderly=True)
    await field.kafka_ready()
    return ""


@fault("worker")
async def broker_paused(field: Field, chance: random.Random) -> str:
    seconds = chance.choice([2.0, 5.0, 13.0])
    await field.stop_and_continue("kafka", seconds)
    await field.kafka_ready()
    return f"for {seconds:g} s"


# ---- requests of a transaction


def _cut(*keys: int) -> Act:
    async def act(field: Field, chance: random.Random) -> str:
        how = chance.choice(["before", "half", "after", "after", "silence"])
        # Once, which the client survives by sending again; or past the transaction's deadline.
        lasting = chance.choice([0.0, DEADLINE_S + 2])
        cut = field.proxy.arm(keys, how, lasting)
        try:
            async with asyncio.timeout(ARMED_S):
                await cut.done.wait()
        except TimeoutError:
            field.proxy.disarm(cut)
            return f"{how}: no such request within {ARMED_S:g} s"
        await asyncio.sleep(lasting)
        field.proxy.disarm(cut)
        return f"{how}, for {lasting:g} s" if lasting else how

    return act


for _name, _keys in {
    "produce_cut": (PRODUCE,),
    "partitions_cut": (ADD_PARTITIONS,),
    "offsets_cut": (ADD_OFFSETS, COMMIT_OFFSETS),
    "commit_offsets_cut": (COMMIT_OFFSETS,),
    "end_cut": (END_TXN,),
}.items():
    FAULTS[_name] = Fault(_name, _cut(*_keys), "worker", 5)


@fault("worker", 3)
async def fence_cut(field: Field, chance: random.Random) -> str:
    """A worker starts, and the request that fences the earlier owner is cut."""
    how = chance.choice(["before", "half", "after"])
    cut = field.proxy.arm({INIT_PRODUCER_ID}, how)
    name = field.some_worker(chance)
    await field.kill(name)
    try:
        async with asyncio.timeout(ARMED_S):
            await cut.done.wait()
    except TimeoutError:
        field.proxy.disarm(cut)
    return f"{how}, {name}"


# ---- ClickHouse and its sink


@fault("sink")
async def engine_killed(field: Field, chance: random.Random) -> str:
    down = chance.choice([0.0, 3.0, 8.0])
    await field.kill("clickhouse", down)
    return f"down for {down:g} s"


@fault("sink", 2)
async def engine_put_back(field: Field, chance: random.Random) -> str:
    """Restored from a backup: it holds less than the sink has committed."""
    data, old = field.settings.data_dir / "clickhouse", field.directory / "copies" / "clickhouse"
    if not old.is_dir():
        await field.stack.hold("clickhouse", 10.0)
        await asyncio.to_thread(shutil.copytree, data, old, symlinks=True)
        await field.stack.release("clickhouse")
        await asyncio.sleep(chance.choice([3.0, 6.0]))
    await field.stack.hold("clickhouse", chance.choice([0.0, 10.0]))
    await asyncio.to_thread(shutil.rmtree, data)
    await asyncio.to_thread(shutil.copytree, old, data, symlinks=True)
    if chance.random() < 0.5:
        await asyncio.to_thread(shutil.rmtree, old)
    await field.stack.release("clickhouse")
    return ""


@fault("sink")
async def engine_paused(field: Field, chance: random.Random) -> str:
    seconds = chance.choice([2.0, 6.0])
    await field.stop_and_continue("clickhouse", seconds)
    return f"for {seconds:g} s"


@fault("sink")
async def inserts_refused(field: Field, chance: random.Random) -> str:
    return await _door(field, "refuse", chance.choice([3.0, 8.0, 15.0]))


@fault("sink", 1, long=True)
async def inserts_refused_for_minutes(field: Field, chance: random.Random) -> str:
    return await _door(field, "refuse", 130.0)


@fault("sink")
async def inserts_unanswered(field: Field, chance: random.Random) -> str:
    """They go through, and the sink does not get to know."""
    return await _door(field, "swallow", chance.choice([3.0, 6.0]))


async def _door(field: Field, state: str, seconds: float) -> str:
    before = field.door.turned_away
    field.door.state = state
    try:
        await asyncio.sleep(seconds)
    finally:
        field.door.state = "open"
    return f"for {seconds:g} s, {field.door.turned_away - before} inserts"


@fault("sink")
async def sink_killed(field: Field, chance: random.Random) -> str:
    down = chance.choice([0.0, 2.0])
    await field.kill("sink", down)
    return f"down for {down:g} s"


@fault("sink", 2)
async def sink_stopped_past_session(field: Field, chance: random.Random) -> str:
    seconds = SESSION_S + 2
    await field.stop_and_continue("sink", seconds)
    return f"for {seconds:g} s"


# ---- collector


@fault("collector")
async def collector_killed(field: Field, chance: random.Random) -> str:
    down = chance.choice([0.0, 1.0])
    await field.kill("collector", down)
    return f"down for {down:g} s"


@fault("collector", 2)
async def collector_terminated(field: Field, chance: random.Random) -> str:
    await field.kill("collector", orderly=True)
    return ""


@fault("collector", 2)
async def collector_paused(field: Field, chance: random.Random) -> str:
    await field.stop_and_continue("collector", 3.0)
    return "for 3 s"
