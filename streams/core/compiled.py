"""The compiled twin of the core's hottest code, where there is one.

Rule: `compiled` is the module `streams.core._plain`, or None where it was not compiled. Whoever has a faster way in it
takes that and keeps the Python way beside it, which says what is right; ``make setup`` compiles where it can.
"""

from __future__ import annotations

import importlib
from typing import Any

try:
    compiled: Any = importlib.import_module("streams.core._plain")
except ImportError:
    compiled = None
