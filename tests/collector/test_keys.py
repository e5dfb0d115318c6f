"""API keys: forms, rotation, mistakes."""

from __future__ import annotations

import httpx
import pytest

from schemas.errors import ConfigurationError
from streams.collector.keys import Keys, presented_key
from tests.collector.conftest import Headers


def test_found_by_secret() -> None:
    """All keys work until they are dropped, so that one can be rotated; ids name them."""
    keys = Keys("old:first-secret, new:second-secret", "api_keys")
    assert (keys.find("first-secret"), keys.find("second-secret")) == ("old", "new")
    for wrong in (None, "", "old", "first-secre", "first-secret ", "old:first-secret", "é"):
        assert keys.find(wrong) is None


def test_none_set() -> None:
    """Nothing is a key."""
    keys = Keys("", "api_keys")
    assert (bool(keys), keys.find("")) == (False, None)


@pytest.mark.parametrize("text", ["a-secret-without-id", "id:", ":a-secret", "a:secret1,a:secret2"])
def test_mistakes_show_no_secret(text: str) -> None:
    """The error names the setting, and nothing of what is secret."""
    with pytest.raises(ConfigurationError, match="api_keys") as error:
        Keys(text, "api_keys")
    assert "secret1" not in str(error.value)
    assert "a-secret" not in str(error.value)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer abc"}, "abc"),
        ({"authorization": "bearer  abc "}, "abc"),
        ({"x-api-key": "abc"}, "abc"),
        ({"authorization": "Basic abc"}, None),
        ({"authorization": "abc"}, None),
        ({}, None),
    ],
)
def test_how_it_is_presented(headers: dict[str, str], key: str | None) -> None:
    """By the standard header, or the one that many have."""
    assert presented_key(Headers(httpx.Headers(headers))) == key
