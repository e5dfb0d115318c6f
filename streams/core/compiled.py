"""The compiled twins of the hottest code, where there are any.

Rule: `compiled` is the module `streams.core._plain`, and `bulk` the module `streams.core._bulk`, or None where they
were not compiled. Whoever has a faster way in them takes that and keeps the Python way beside it, which says what is
right; ``make setup`` compiles where it can.
"""

from __future__ import annotations

from schemas.compiled import compiled_twin

compiled = compiled_twin("streams.core._plain")
bulk = compiled_twin("streams.core._bulk")
