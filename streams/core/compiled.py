"""The compiled twins of the hottest code, where there are any.

Rule: `compiled` is the module `streams.core._plain`, and `bulk` the module `streams.core._bulk`, or None where they
were not compiled. Whoever has a faster way in them takes that and keeps the Python way beside it, which says what is
right; ``make setup`` compiles where it can.
"""

from __future__ import annotations

import importlib
from typing import Any

try:
    compiled: Any = importlib.import_module("streams.core._plain")
    bulk: Any = importlib.import_module("streams.core._bulk")
except ImportError:
    compiled = bulk = None
