"""Query parameters and forms, of bounded number."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

MAX_PARAMETERS: Final = 100
_STATED_IP: Final = re.compile(r"(?:^|(?<=&))ip=[^&]*&?")


class TooMany(Exception):  # noqa: N818 - an answer, not a failure of ours
    """An address or a form has too many parameters."""


def read_parameters(text: str) -> dict[str, str]:
    """The first value of each parameter that has one; raises `TooMany`."""
    try:
        pairs = parse_qsl(text, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise TooMany(f"more than {MAX_PARAMETERS} parameters") from None
    return dict(reversed(pairs))


def without_address(query: str) -> bytes:
    """A query string that is kept as it came, but for a person's address in it."""
    return _STATED_IP.sub("", query).encode()
