"""What happens to workers and to their state: killed, stopped, woken, gone, joined; deleted, put back, truncated."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal

from tests.faults import truncation
from tests.faults.faults import Act, fault
from tests.faults.field import Field
from tests.faults.proxy import COMMIT_OFFSETS, END_TXN, PRODUCE

SESSION_S = 10.0
TRANSACTION_S = 60.0
"""`streams.worker.transaction`; Kafka looks for such transactions every 10 s."""
ARMED_S = 20.0
"""How long to wait for the request that is to be held."""


# ---- workers


@fault("worker", 6)
async def worker_killed(field: Field, chance: random.Random) -> str:
    name, down = field.some_worker(chance), chance.choice([0.0, 1.0, 3.0])
    await field.kill(name, down)
    return f"{name}, down for {down:g} s"


@fault("worker")
async def worker_terminated(field: Field, chance: random.Random) -> str:
    name = field.some_worker(chance)
    await field.kill(name, orderly=True)
    return name


@fault("worker")
async def worker_stopped_past_session(field: Field, chance: random.Random) -> str:
    """The zombie: the group has given its partitions away when it wakes."""
    name, seconds = field.some_worker(chance), SESSION_S + chance.choice([2.0, 4.0])
    await field.stop_and_continue(name, seconds)
    return f"{name} for {seconds:g} s"


@fault("worker", 3)
async def worker_stopped_in_transaction(field: Field, chance: random.Random) -> str:
    """The zombie with a request of its transaction on the way, which arrives when another owns the partition."""
    return await _stop_in_transaction(field, chance, SESSION_S + 3)


@fault("worker", 1, long=True)
async def worker_stopped_past_transaction(field: Field, chance: random.Random) -> str:
    """The same, with a transaction that Kafka has given up as well."""
    return await _stop_in_transaction(field, chance, TRANSACTION_S + 12)


async def _stop_in_transaction(field: Field, chance: random.Random, seconds: float) -> str:
    what, key = chance.choice([("produce", PRODUCE), ("commit offsets", COMMIT_OFFSETS), ("end", END_TXN)])
    cut = field.proxy.arm({key}, "hold")
    try:
        async with asyncio.timeout(ARMED_S):
            await cut.done.wait()
        name = field.owner(cut.client)
        field.signal(name, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        # The request first: it is Kafka that must refuse it.
        cut.go.set()
        await asyncio.sleep(0.5)
        field.signal(name, signal.SIGCONT)
    except TimeoutError:
        return f"no {what} within {ARMED_S:g} s"
    finally:
        field.proxy.disarm(cut)
    return f"{name} for {seconds:g} s, {what} held"


@fault("worker")
async def worker_leaves(field: Field, chance: random.Random) -> str:
    if len(field.present) < 2:
        return f"none is left to: {await worker_joins(field, chance)} joins"
    name = field.some_worker(chance)
    await field.stack.hold(name, 10.0)
    field.away.add(name)
    return name


@fault("worker")
async def worker_joins(field: Field, chance: random.Random) -> str:
    if not field.away:
        return f"all are there: {await worker_leaves(field, chance)} leaves"
    name = chance.choice(sorted(field.away))
    await field.stack.release(name)
    field.away.discard(name)
    return name


@fault("worker")
async def all_workers_killed(field: Field, chance: random.Random) -> str:
    names = field.present
    await asyncio.gather(*(field.stack.hold(name, 0.0) for name in names))
    await asyncio.sleep(chance.choice([0.0, 2.0]))
    await asyncio.gather(*(field.stack.release(name) for name in names))
    return ", ".join(names)


# ---- their state


@fault("worker")
async def state_deleted(field: Field, chance: random.Random) -> str:
    name = field.some_worker(chance)
    await field.stack.hold(name, chance.choice([0.0, 10.0]))
    shutil.rmtree(field.state(name), ignore_errors=True)
    await field.stack.release(name)
    return name


@fault("worker")
async def state_put_back(field: Field, chance: random.Random) -> str:
    """From a copy of an earlier fault, else from one made now, so that the worker works on in between."""
    name = field.some_worker(chance)
    old = field.copies.get(name)
    if old is None:
        old = field.directory / "copies" / name
        await field.stack.hold(name, chance.choice([0.0, 10.0]))
        shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(field.state(name), old)
        field.copies[name] = old
        await field.stack.release(name)
        await asyncio.sleep(4.0)
    await field.stack.hold(name, chance.choice([0.0, 10.0]))
    shutil.rmtree(field.state(name), ignore_errors=True)
    if chance.random() < 0.5:
        shutil.copytree(old, field.state(name))
    else:
        shutil.move(old, field.state(name))
        del field.copies[name]
    await field.stack.release(name)
    return name


@fault("worker", 3)
async def outputs_truncated(field: Field, chance: random.Random) -> str:
    """Below every saved position, after all that is in force was written anew: as compaction does, only at once."""
    return await _while_down(field, chance, truncation.truncate_outputs)


@fault("worker", 3)
async def inputs_truncated(field: Field, chance: random.Random) -> str:
    """What was read already: nothing is lost by it."""
    return await truncation.truncate_read_inputs(field, chance)


@fault("worker", 3)
async def unread_inputs_truncated(field: Field, chance: random.Random) -> str:
    """What was not read yet: it is lost, and each record of it must be reported."""
    return await _while_down(field, chance, truncation.truncate_unread_inputs)


async def _while_down(field: Field, chance: random.Random, act: Act) -> str:
    """Do something while no worker runs."""
    names = field.present
    await asyncio.gather(*(field.stack.hold(name, 10.0) for name in names))
    try:
        return await act(field, chance)
    finally:
        await asyncio.gather(*(field.stack.release(name) for name in names))
