"""Hostile input to every parser and endpoint: no crash, no lost neighbour, a reason for each refusal.

Here a few hundred inputs each; `make fuzz INPUTS=1000000 SEED=1` draws as many as you like.
"""

from __future__ import annotations

import pytest

from tests.hostile.run import run_round
from tests.hostile.targets import TARGETS

INPUTS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input(name):
    """What the target says of itself."""
    assert run_round(TARGETS[name], INPUTS, 1) >= INPUTS
