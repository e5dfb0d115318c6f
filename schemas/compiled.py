"""Where a compiled twin of Python code is asked for.

Rule: without a C compiler there is none, and the Python code beside it, which says what is right, does its work.
"""

from __future__ import annotations

import importlib
from typing import Any


def compiled_twin(name: str) -> Any:
    """The compiled module `name`, or None where it was not compiled."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
