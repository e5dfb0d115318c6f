"""The compiled twin of the worker's own code, or that code where it was not compiled; as `streams.core.compiled`."""

from __future__ import annotations

from typing import Any, Final

from schemas.compiled import compiled_twin
from streams.worker import packing as twin

packing: Final[Any] = compiled_twin("streams.worker._packing") or twin
