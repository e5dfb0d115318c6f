"""The collector's server: where it listens."""

from __future__ import annotations

import pytest

from schemas.errors import ConfigurationError
from streams.collector.server import check_port


def test_address_that_is_not_ours() -> None:
    """One clear line."""
    with pytest.raises(ConfigurationError, match="can't listen on 192.0.2.1:80"):
        check_port("192.0.2.1", 80)
