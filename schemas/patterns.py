"""Patterns: regular expressions that a site states in the registry, to be matched against what visitors send.

Rule: a pattern takes time in proportion to the text, whatever either of them is, so that none can hold up a partition:
the engine (Rust's `regex`, which pydantic brings) knows neither look-around nor back-references. A pattern must match
the whole of a value, in any case of letters, and a dot matches every character.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints, TypeAdapter
from pydantic_core import SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable


def compile_pattern(text: str) -> Callable[[str], bool]:
    """A function that says whether a value matches the pattern `text`; raises ValueError where it is none."""
    try:
        _matcher(text)  # alone, since `a)|(b` is none, although it would be one between parentheses
        return _matcher(f"^(?is:{text})$")
    except SchemaError as error:
        problem = str(error).strip().rpartition("\n")[2].strip().removeprefix("error: ")
        raise ValueError(f"{text!r} is no regular expression that can be used here: {problem}") from None


def _matcher(pattern: str) -> Callable[[str], bool]:
    return TypeAdapter(Annotated[str, StringConstraints(pattern=pattern, strict=True)]).validator.isinstance_python
