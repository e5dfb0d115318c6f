"""``make fuzz INPUTS=1000000 SEED=1``: hostile inputs for every parser and endpoint, for as long as you like."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.hostile.run import run_round
from tests.hostile.targets import TARGETS

ROUND = 2_500
"""Inputs of one round."""


def main() -> None:
    """Go round the targets until there were enough inputs; the last line says how many, and what failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="how many, over all targets")
    parser.add_argument("--seed", type=int, default=1, help="the same number draws the same inputs")
    parser.add_argument("--only", default="", help=f"comma separated, of {', '.join(TARGETS)}")
    chosen = parser.parse_args()
    names = [name for name in chosen.only.split(",") if name] or list(TARGETS)
    counts = dict.fromkeys(names, 0)
    seconds = dict.fromkeys(names, 0.0)
    failed = []
    number = 0
    while names and sum(counts.values()) < chosen.inputs:
        for name in list(names):
            began = time.perf_counter()
            try:
                counts[name] += run_round(TARGETS[name], ROUND, chosen.seed * 1_000_003 + number)
            except Exception:  # noqa: BLE001 - whatever it is, it is a finding
                print(f"{name}:\n{traceback.format_exc()}", flush=True)
                failed.append(name)
                names.remove(name)
            seconds[name] += time.perf_counter() - began
            if sum(counts.values()) >= chosen.inputs:
                break
        number += 1
    for name, count in counts.items():
        print(f"{count:>12,}  {seconds[name]:>7,.0f} s  {name}: {TARGETS[name].rule}")
    total = sum(counts.values())
    print(f"{total:,} inputs, " + (f"failed: {', '.join(failed)}" if failed else "0 failed"))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
