"""Runs targets over as many inputs as wanted, Hypothesis drawing them.

Rule: inputs are drawn in batches, since a batch is what a request, a file or a worker's turn is, and a neighbour is
what a bad input could taint. A round is a few hundred batches of one target with a seed of its own.
"""

from __future__ import annotations

import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

BATCH = 25


def run_round(target, inputs, number, *, batch=BATCH, shrink=True):
    """Try `target` with about so many `inputs`; how many they were. Raises what the target raises, at its simplest."""
    count = 0
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)

    @seed(number)
    @settings(
        max_examples=max(1, round(inputs / batch)),
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.lists(target.inputs, min_size=batch, max_size=batch))
    def check(some):
        nonlocal count
        target.check(some)
        count += len(some)

    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    try:
        check()
    finally:
        structlog.configure(**before)
    return count


def _drop(_logger, _name, _event):
    """What is logged of hostile inputs is of no interest here."""
    raise structlog.DropEvent
