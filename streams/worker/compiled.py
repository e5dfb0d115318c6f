"""The compiled twins of the worker's own code, or that code where it was not compiled; see `streams.core.compiled`."""

from __future__ import annotations

from typing import Any, Final

from schemas.compiled import compiled_twin
from streams.core.compiled import bulk
from streams.worker import packing as packing_twin
from streams.worker import sieve as sieve_twin

packing: Final[Any] = compiled_twin("streams.worker._packing") or packing_twin
sieve: Final[Any] = bulk or sieve_twin
