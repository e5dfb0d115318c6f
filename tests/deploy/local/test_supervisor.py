"""The supervisor starts in order, revives what dies, stops in order and in time, and shares its directory with none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.keeper import Service
from deploy.local.ports import free_port
from deploy.local.probe import until
from deploy.local.supervisor import Job, Supervisor
from schemas.errors import ConfigurationError, Unavailable

Gone = Callable[..., Awaitable[bool]]
StandIn = Callable[..., Service]
STAGES = (("front", 3.0), ("worker", 6.0), ("base", 8.5))


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", textwrap.dedent(code))


@asynccontextmanager
async def opened(directory: Path, **more: object) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(directory, STAGES, **more)
    try:
        await supervisor.open()
        yield supervisor
    finally:
        await supervisor.close()


async def test_steps_run_after_what_they_need(tmp_path: Path, stand_in: StandIn) -> None:
    """A job runs when its service is ready, a service when its job is done."""
    seen: list[str] = []
    base, front = stand_in("base"), stand_in("front", after=("job",))
    port = base.address.rpartition(":")[2]
    connect = (
        f"import socket; socket.create_connection(('127.0.0.1', {port})).close(); open({str(tmp_path / 'done')!r}, 'w')"
    )

    def ready(name: str, _address: str) -> None:
        seen.append(name)
        assert (tmp_path / "done").exists() == (name == "front")

    async with opened(tmp_path, on_ready=ready) as supervisor:
        await supervisor.launch([front, Job("job", python(connect), ("base",)), base])
        assert seen == ["base", "front"]
        assert set(supervisor.pids) == {"base", "front"}


async def test_a_killed_service_comes_back(tmp_path: Path, stand_in: StandIn) -> None:
    """Three times in a row, and stack.json names its new process each time."""
    service = stand_in("worker-1")
    async with opened(tmp_path) as supervisor:
        await supervisor.launch([service])
        supervisor.publish({"kafka": "127.0.0.1:1"})
        for _ in range(3):
            before = supervisor.pids["worker-1"]
            os.kill(before, signal.SIGKILL)

            async def back(before: int = before) -> bool:
                return supervisor.pids.get("worker-1", before) != before and await service.ready()

            assert await until(back, 15)
            stack = json.loads(supervisor.stack_file.read_text())
            assert stack["pids"] == supervisor.pids
            assert stack["kafka"] == "127.0.0.1:1"


async def test_restart_takes_a_role_in_turn(tmp_path: Path, stand_in: StandIn) -> None:
    """`worker` is all workers, `worker-2` one of them."""
    async with opened(tmp_path) as supervisor:
        await supervisor.launch([stand_in("worker-1"), stand_in("worker-2")])
        first = supervisor.pids
        await supervisor.restart("worker-2")
        second = supervisor.pids
        assert second["worker-1"] == first["worker-1"]
        assert second["worker-2"] != first["worker-2"]
        await supervisor.restart("worker")
        assert not set(supervisor.pids.values()) & set(second.values())
        with pytest.raises(KeyError):
            await supervisor.restart("nobody")


async def test_what_is_held_stays_down_until_it_is_released(tmp_path: Path, stand_in: StandIn, gone: Gone) -> None:
    """However often it is held, in order or killed; the others go on."""
    service = stand_in("worker-1")
    async with opened(tmp_path) as supervisor:
        await supervisor.launch([service, stand_in("worker-2")])
        other = supervisor.pids["worker-2"]
        for seconds in (5.0, 0.0):
            before = supervisor.pids["worker-1"]
            await supervisor.hold("worker-1", seconds)
            await supervisor.hold("worker-1", seconds)
            assert await gone(before)
            assert not await until(service.ready, 0.5)
            await supervisor.release("worker-1")
            assert await until(service.ready, 15)
            assert supervisor.pids["worker-2"] == other
        with pytest.raises(KeyError):
            await supervisor.hold("nobody", 0)


async def test_stages_stop_in_order(tmp_path: Path, stand_in: StandIn) -> None:
    farewell = tmp_path / "farewell"
    names = ("base", "front", "worker-1", "worker-2")
    async with opened(tmp_path) as supervisor:
        await supervisor.launch([stand_in(name, "--farewell", str(farewell), name) for name in names])
    said = farewell.read_text().split()
    assert said[0] == "front"
    assert said[-1] == "base"
    assert sorted(said) == sorted(names)


async def test_all_is_gone_in_ten_seconds(tmp_path: Path, stand_in: StandIn, gone: Gone) -> None:
    """Even where every service ignores SIGTERM; and the directory is free again."""
    async with opened(tmp_path) as supervisor:
        await supervisor.launch([stand_in(name, "--stubborn") for name in ("base", "front", "worker-1")])
        supervisor.publish({})
        pids = supervisor.pids
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    assert all([await gone(pid, 0) for pid in pids.values()])
    assert not supervisor.stack_file.exists()
    async with opened(tmp_path):
        pass


async def test_a_service_that_cannot_live_is_told(tmp_path: Path) -> None:
    """Three deaths before it was ready: an error with the last line of its log, and nothing is left."""

    async def never() -> bool:
        return False

    service = Service("front", python("import sys; sys.exit('no such key')"), "", never)
    async with opened(tmp_path) as supervisor:
        with pytest.raises(Unavailable, match="front died 3 times .*front.log.*: no such key"):
            await supervisor.launch([service])


async def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    async with opened(tmp_path) as supervisor:
        with pytest.raises(Unavailable, match="front died 3 times"):
            await supervisor.launch([Service("front", (str(tmp_path / "nothing"),), "", never)])


async def test_a_failed_job_is_told(tmp_path: Path, stand_in: StandIn) -> None:
    """What waits for it is not started."""
    job = Job("topics", python("import sys; sys.exit('no broker')"))
    async with opened(tmp_path) as supervisor:
        with pytest.raises(Unavailable, match="topics failed with code 1 .*: no broker"):
            await supervisor.launch([job, stand_in("front", after=("topics",))])
        assert supervisor.pids == {}


async def test_a_directory_has_one_supervisor(tmp_path: Path) -> None:
    """The second is refused, and the first goes on undisturbed."""
    async with opened(tmp_path) as first:
        first.publish({})
        second = Supervisor(tmp_path, STAGES)
        with pytest.raises(ConfigurationError, match=f"already runs in .* \\(process {os.getpid()}\\)"):
            await second.open()
        await second.close()
        assert first.stack_file.exists()


PROGRAM = """
    import asyncio, sys
    from functools import partial
    from pathlib import Path
    from deploy.local.keeper import Service
    from deploy.local.probe import http_ok
    from deploy.local.supervisor import Supervisor

    async def main():
        supervisor = Supervisor(Path(sys.argv[1]), (("front", 3.0),))
        try:
            await supervisor.open()
            ready = partial(http_ok, "127.0.0.1", int(sys.argv[2]), "/readyz")
            await supervisor.launch([Service("front", tuple(sys.argv[3:]), "", ready)])
            supervisor.publish({})
            print(supervisor.pids["front"], flush=True)
            await asyncio.Event().wait()
        finally:
            await supervisor.close()

    asyncio.run(main())
"""


@asynccontextmanager
async def program(directory: Path, *options: str) -> AsyncIterator[tuple[subprocess.Popen[bytes], int]]:
    """A supervisor as a program of its own, with one stand-in: yields it and the stand-in's process id."""
    port = str(free_port())
    stand_in = (sys.executable, "-S", str(Path(__file__).with_name("stand_in.py")), port, *options)
    command = (sys.executable, "-c", textwrap.dedent(PROGRAM), str(directory), port, *stand_in)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signals_stop_everything(tmp_path: Path, gone: Gone, number: int) -> None:
    """Also when they come twice."""
    async with program(tmp_path) as (process, pid):
        process.send_signal(number)
        process.send_signal(number)
        process.wait(10)
        assert await gone(pid, 0)
    assert not (tmp_path / "stack.json").exists()


async def test_a_new_supervisor_waits_for_the_remains_of_a_killed_one(tmp_path: Path, gone: Gone) -> None:
    """The reaper holds the lock until the stubborn child is ended."""
    async with program(tmp_path, "--stubborn") as (process, pid):
        process.kill()
        process.wait()
        assert (tmp_path / "stack.json").exists()
        async with opened(tmp_path):
            assert await gone(pid, 0)
            assert not (tmp_path / "stack.json").exists()


async def test_a_cancelled_launch_leaves_nothing(tmp_path: Path, stand_in: StandIn, gone: Gone) -> None:
    """Ctrl-C while things start."""

    async def never() -> bool:
        return False

    service = stand_in("front")
    async with opened(tmp_path) as supervisor:
        launch = asyncio.create_task(supervisor.launch([Service("front", service.argv, "", never)]))
        assert await until(service.ready, 10)
        pid = supervisor.pids["front"]
        launch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launch
    assert await gone(pid, 0)
