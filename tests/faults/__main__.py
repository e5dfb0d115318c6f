"""``make faults FAULTS=200 SEED=1``: the fault suite for as long as you like."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from schemas.errors import HeadwaterError
from tests.faults.faults import FAULTS
from tests.faults.run import run
from tests.faults.schedule import schedule

LONGEST_FAULT_S = 400
"""More than any fault, with its load and settling, may take; what takes longer is ended, with all stacks told."""


def main() -> None:
    """Parse, run, say what came of it; the exit status says it too."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=40, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule and the events")
    parser.add_argument("--workers", type=int, default=3, help="worker processes")
    parser.add_argument("--only", default="", help=f"each of these once, comma separated: {', '.join(sorted(FAULTS))}")
    parser.add_argument("--rounds", type=int, default=100, help="at most so many, with --only")
    parser.add_argument("--plan", action="store_true", help="print the schedule and end")
    chosen = parser.parse_args()
    names = [name for name in chosen.only.split(",") if name]
    if unknown := set(names) - FAULTS.keys():
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(sorted(FAULTS))}")
    if chosen.plan:
        for number, planned in enumerate(schedule(chosen.seed, chosen.faults, names, chosen.rounds), 1):
            print(f"round {number}: {', '.join(one.fault.name for one in planned)}")
        return
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that Kafka is away now and then is the purpose
    directory = Path(tempfile.mkdtemp(prefix="headwater-faults-"))
    faulthandler.dump_traceback_later(LONGEST_FAULT_S * (1 + (len(names) or chosen.faults)), exit=True)
    going = run(
        directory,
        faults=chosen.faults,
        seed=chosen.seed,
        names=names,
        rounds=chosen.rounds,
        workers=chosen.workers,
        say=lambda line: print(line, flush=True),
    )
    try:
        report = asyncio.run(going)
    except HeadwaterError as error:
        sys.exit(f"faults: {error}")
    print(f"events by {', '.join(f'{way} {number}' for way, number in report.ways.items())}")
    settled = sorted(report.settled) or [0.0]
    print(
        f"{report.events} events acknowledged, {report.deleted} of them deleted by a fault and reported;"
        f" right again after {settled[len(settled) // 2]:.1f} s (median), {settled[-1]:.1f} s at most"
    )
    if report.repeated:
        print(f"{report.repeated} dead letters written again under the same id, as Kafka's answer was lost")
    if report.right:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"logs: {directory / 'stack' / 'logs'}")
        again = f"--only {chosen.only} --rounds {chosen.rounds}" if names else f"--faults {chosen.faults}"
        print(f"again: python -m tests.faults {again} --seed {chosen.seed} --workers {chosen.workers}")
    print(report.last_line(), flush=True)
    sys.exit(0 if report.right else 1)


if __name__ == "__main__":
    main()
