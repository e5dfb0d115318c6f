"""A run: rounds of faults under load, and after each the verdict; `python -m tests.faults --faults 200 --seed 1`.

Rule: everything has a deadline, and what is not done by then is told with the process that is in the way. The last line
is the result: `N faults, 0 lost, 0 doubled`, or what differs. A run that went wrong keeps its directory.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiokafka.errors import KafkaError

from schemas.errors import HeadwaterError
from tests.faults.check import Judge
from tests.faults.field import Field
from tests.faults.load import Load
from tests.faults.schedule import Planned, schedule
from tests.faults.verdict import Verdict

FAULT_S = 150.0
"""Longest that one fault may take."""
LOAD_S = 150.0
"""Longest that the load may wait for acknowledgements after the faults are over."""
SETTLE_S = 120.0
"""Longest that it may take until every service is ready and all is where it belongs."""
WRONG_S = 30.0
"""What is wrong for so long, with nothing left to be done, is wrong."""
PAUSE_S = 0.5
"""Between two waves of load."""
CROWDS = 1
"""New crowds a wave."""


class Hung(AssertionError):  # noqa: N818 - it says what happened
    """Something was not done by its deadline."""


@dataclass
class Report:
    """What came of a run."""

    faults: int = 0
    events: int = 0
    ways: dict[str, int] = field(default_factory=dict)
    """Events by the route they came by."""
    deleted: int = 0
    repeated: int = 0
    """Dead letters of the collector's that are there again, under the same id."""
    verdict: Verdict = field(default_factory=Verdict)
    hung: str = ""
    settled: list[float] = field(default_factory=list)
    """Seconds from the last fault of each round until all was right."""

    @property
    def right(self) -> bool:
        return self.verdict.right and not self.hung

    def last_line(self) -> str:
        """The result in one line."""
        verdict = self.verdict
        line = f"{self.faults} faults, {len(verdict.lost)} lost, {len(verdict.doubled)} doubled"
        if verdict.wrong:
            line += f", {len(verdict.wrong)} differences"
        return line + (", hung" if self.hung else "")


class Run:
    """One run over a field; `go` does it."""

    def __init__(self, ground: Field, seed: int, say: Callable[[str], object]) -> None:
        self.report = Report()
        self._field = ground
        self._say = say
        self._began = time.monotonic()
        self._load = Load(seed, ground.url, ground.settings.kafka, ground.settings.partitions)
        self._judge = Judge(self._load, ground.observed, ground.deleted)

    async def go(self, rounds: Sequence[Sequence[Planned]]) -> Report:
        """All rounds, then everything once more from the beginning of what can still be read."""
        report = self.report
        try:
            await self._bounded(self._load.register(), LOAD_S, "registry")
            for number, planned in enumerate(rounds, 1):
                await self._round(number, planned)
                if not report.right:
                    break
            else:
                for name in sorted(self._field.away):
                    await self._field.stack.release(name)
                self._field.away.clear()
                report.verdict.add(await self._settle(everything=True))
        except Hung as error:
            report.hung = str(error)
        report.events, report.ways = self._load.acknowledged, dict(sorted(self._load.ways.items()))
        report.repeated = self._field.observed.repeated
        report.deleted = len(self._field.deleted.gone(self._field.observed))
        return report

    async def _round(self, number: int, planned: Sequence[Planned]) -> None:
        lanes: dict[str, list[Planned]] = {}
        for one in planned:
            lanes.setdefault(one.fault.lane, []).append(one)
        over = asyncio.Event()
        before = self._load.acknowledged
        load = asyncio.create_task(self._send(over))
        try:
            done = await asyncio.gather(*(self._lane(lane) for lane in lanes.values()))
        finally:
            over.set()
        await self._bounded(load, LOAD_S, "load")
        self.report.faults += len(planned)
        told = "; ".join(line for lines in done for line in lines)
        began = time.monotonic()
        verdict = await self._settle()
        seconds = time.monotonic() - began
        self.report.settled.append(seconds)
        self.report.verdict.add(verdict)
        how = "right" if verdict.right else "WRONG"
        events = f"{self._load.acknowledged - before} events, {self._load.acknowledged} in all"
        self._say(
            f"{time.monotonic() - self._began:5.0f} s  round {number}: {told}; {events}; {how} after {seconds:.1f} s"
        )

    async def _lane(self, planned: Sequence[Planned]) -> list[str]:
        told = []
        for one in planned:
            chance = random.Random(one.seed)
            await asyncio.sleep(chance.random())
            what = await self._bounded(one.fault.act(self._field, chance), FAULT_S, one.fault.name)
            told.append(f"{one.fault.name} ({what})" if what else one.fault.name)
        return told

    async def _send(self, over: asyncio.Event) -> None:
        """Waves of load until the faults are over, and one more."""
        waves = 0
        while not over.is_set():
            await self._load.send_round(CROWDS)
            waves += 1
            # Where a fault takes minutes, the load need not be as heavy all along.
            await asyncio.sleep(PAUSE_S * (1 + waves / 10))
        await self._load.send_round(CROWDS)

    async def _settle(self, *, everything: bool = False) -> Verdict:
        """Wait until all is done and right; what is wrong at the deadline is the verdict."""
        deadline = time.monotonic() + SETTLE_S
        verdict, problem, since = None, "", 0.0
        while time.monotonic() < deadline and not (since and time.monotonic() - since > WRONG_S):
            try:
                async with asyncio.timeout(SETTLE_S / 2):
                    # One who is not ready may have events still; what is behind will change.
                    problem = ", ".join(await self._field.unready())
                    if not problem and (spooled := await self._field.spooled()):
                        problem = f"{spooled} events spooled"
                    if not problem:
                        await self._field.observed.look()
                        problem = ", ".join(
                            f"{n} in {name}" for name, n in (await self._field.observed.behind()).items()
                        )
                    if not problem:
                        settings = self._field.settings
                        verdict = await asyncio.to_thread(self._judge.judge, settings, everything=everything)
                        self._check_losses(verdict)
                        if verdict.right:
                            return verdict
                        since = since or time.monotonic()
            except (KafkaError, HeadwaterError, aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = repr(error)
            await asyncio.sleep(0.3)
        if verdict is None:
            raise Hung(f"not settled within {SETTLE_S:.0f} s: {problem}\n{await self._field.diagnosis()}")
        for line in [*verdict.lines(), "with all of it done:", await self._field.diagnosis()]:
            self._say(line)
        return verdict

    def _check_losses(self, verdict: Verdict) -> None:
        """What was deleted before it was read has been reported, to the record, and nothing else."""
        deleted = {(topic, place, end, end - start) for topic, place, start, end in self._field.deleted.ranges}
        reported = self._field.records_lost()
        verdict.wrong += [f"not reported as lost: {one}" for one in sorted(deleted - reported)]
        verdict.wrong += [f"reported as lost, but was not: {one}" for one in sorted(reported - deleted)]

    async def _bounded(self, what, seconds: float, name: str):
        try:
            async with asyncio.timeout(seconds):
                return await what
        except TimeoutError:
            raise Hung(f"{name} not done within {seconds:.0f} s\n{await self._field.diagnosis()}") from None


async def run(
    directory: Path,
    *,
    faults: int,
    seed: int,
    names: Sequence[str] = (),
    rounds: int = 100,
    workers: int = 3,
    say: Callable[[str], object] = print,
) -> Report:
    """Start a stack in `directory` and run a schedule over it: `tests.faults.schedule.schedule`."""
    async with Field(directory, workers, seed) as ground:
        one = Run(ground, seed, say)
        report = await one.go(schedule(seed, faults, names, rounds))
        if report.hung:
            say(report.hung)
        return report
