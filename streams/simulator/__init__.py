"""A simulated shop with visitors over several days, and the truth about it, reproducible by seed.

Rule: nothing here imports the core; the truth is what the generator knows, put through a slow and obvious calculator.
"""

from __future__ import annotations

from streams.simulator.generator import Simulation, simulate
from streams.simulator.truth import Truth

__all__ = ["Simulation", "Truth", "simulate"]
