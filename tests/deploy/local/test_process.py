"""Children log to a file, end with all they started, and do not outlive who started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

from deploy.local.keeper import Service
from deploy.local.probe import until
from deploy.local.process import Child, Lifeline, last_line, rotate, run

Gone = Callable[..., Awaitable[bool]]


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


async def test_output_goes_to_the_log(tmp_path: Path) -> None:
    """Standard output and error both, appended over several runs."""
    log = tmp_path / "logs" / "x.log"
    async with Lifeline() as lifeline:
        for word in ("one", "two"):
            assert await run(python(f"import sys; print({word!r}); sys.stderr.write('e')"), log, lifeline=lifeline) == 0
    assert sorted(log.read_text()) == sorted("one\netwo\ne")


async def test_stop_is_orderly(tmp_path: Path, stand_in: Callable[..., Service]) -> None:
    """SIGTERM comes first, and a program that heeds it ends with its own code."""
    service = stand_in("a", "--farewell", str(tmp_path / "bye"), "a")
    child = Child(service.argv, tmp_path / "a.log")
    await child.start()
    assert await until(service.ready, 10)
    await child.stop(5)
    assert child.pid is None
    assert (tmp_path / "bye").read_text() == "a\n"


async def test_a_stubborn_child_is_killed(tmp_path: Path, stand_in: Callable[..., Service], gone: Gone) -> None:
    """SIGKILL past the deadline, to what it started too."""
    service = stand_in("a", "--stubborn", "--child", str(tmp_path / "pid"))
    child = Child(service.argv, tmp_path / "a.log")
    await child.start()
    assert await until(service.ready, 10)
    pid = child.pid
    await child.stop(0.1)
    assert await gone(pid)
    assert await gone(int((tmp_path / "pid").read_text()))


async def test_what_a_dead_child_started_ends(tmp_path: Path, stand_in: Callable[..., Service], gone: Gone) -> None:
    """Else it would hold the port when the child is started again."""
    service = stand_in("a", "--child", str(tmp_path / "pid"))
    child = Child(service.argv, tmp_path / "a.log")
    await child.start()
    assert await until(service.ready, 10)
    os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    assert await gone(int((tmp_path / "pid").read_text()))


async def test_nothing_outlives_a_killed_supervisor(
    tmp_path: Path, stand_in: Callable[..., Service], gone: Gone
) -> None:
    """Its reaper ends the child, its child, and removes the file that says they run."""
    service = stand_in("a", "--child", str(tmp_path / "pid"))
    mark = tmp_path / "stack.json"
    mark.write_text("{}")
    code = f"""
        import asyncio
        from pathlib import Path
        from deploy.local import process

        async def main():
            async with process.Lifeline(remove=[Path({str(mark)!r})]) as lifeline:
                child = process.Child({service.argv!r}, Path({str(tmp_path / "a.log")!r}), lifeline=lifeline)
                await child.start()
                print(child.pid, flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as supervisor:
        pid = int(supervisor.stdout.readline())
        assert await until(service.ready, 10)
        supervisor.kill()
    assert await gone(pid, 15)
    assert await gone(int((tmp_path / "pid").read_text()))

    async def unmarked() -> bool:
        return not mark.exists()

    assert await until(unmarked, 5)


async def test_a_dead_reaper_is_replaced(tmp_path: Path) -> None:
    """The next child is announced to a new one, with those that run already."""
    async with Lifeline() as lifeline:
        first = lifeline._process
        first.kill()
        await first.wait()
        assert await run(python("pass"), tmp_path / "x.log", lifeline=lifeline) == 0
        assert lifeline._process.pid != first.pid


async def test_a_file_stays_after_an_orderly_end(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    async with Lifeline(remove=[mark]) as lifeline:
        await run(python("pass"), tmp_path / "x.log", lifeline=lifeline)
    assert mark.exists()


async def test_a_log_is_rotated_under_its_writer(tmp_path: Path) -> None:
    """The writer goes on in the emptied file, as it appends."""
    log = tmp_path / "x.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n")
        assert not rotate(log, 4)
        assert rotate(log, 3)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "x.log.1").read_bytes() == b"old\n"


def test_the_last_line_that_says_anything(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert last_line(log) == ""
    log.write_text("a\nerror: b\n\n  \n")
    assert last_line(log) == "error: b"
