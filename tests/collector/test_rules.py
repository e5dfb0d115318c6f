"""What the settings say of the collector's doors."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import Settings
from streams.collector.rules import Rules, rules_of


def test_defaults() -> None:
    """A collector without settings is closed where a key is asked for, and keeps no whole address."""
    for rules in (Rules(), rules_of(Settings(), b"secret")):
        assert not rules.api_keys
        assert not rules.partners
        assert not rules.proxies
        assert rules.keep_ip("192.0.2.99") == "192.0.2.0"
        assert (rules.rate_per_ip, rules.rate_authenticated) == (100, 1000)
        assert "127.0.0.1" in rules.rate_exempt


def test_stated() -> None:
    """Each setting has its effect."""
    rules = rules_of(
        Settings(
            api_keys="a:api-secret",
            postback_keys="acme/1:acme-secret",
            postback_sites="acme=shop",
            trusted_proxies="10.0.0.0/8",
            ip_addresses="hashed",
            cors_origins="https://shop.example",
            rate_per_ip=5,
            metrics_networks="192.0.2.0/24",
        ),
        b"secret",
    )
    assert rules.api_keys.find("api-secret") == "a"
    assert not rules.partners.may_tell_of("acme", "blog")
    assert "10.1.1.1" in rules.proxies
    assert len(rules.keep_ip("192.0.2.99")) == 32
    assert rules.cors_origins == {"https://shop.example"}
    assert (rules.rate_per_ip, "192.0.2.1" in rules.metrics_networks) == (5, True)


@pytest.mark.parametrize(
    "stated",
    [
        {"api_keys": "my-secret"},
        {"postback_keys": "my-secret"},
        {"postback_tokens": "a:my-secret,a:my-secret"},
        {"postback_networks": "nobody=192.0.2.1"},
        {"trusted_proxies": "my-secret"},
        {"rate_exempt": "x"},
        {"metrics_networks": "x"},
        {"cors_origins": "shop.example"},
    ],
)
def test_mistakes(stated: dict[str, Any]) -> None:
    """One line that names the setting; what is secret is not shown."""
    [name] = stated
    with pytest.raises(ConfigurationError, match=name) as caught:
        rules_of(Settings(**stated), b"secret")
    assert "\n" not in str(caught.value)
    if "proxies" not in name:
        assert "my-secret" not in str(caught.value)
    assert "my-secret" not in repr(Settings(**({} if "proxies" in name else stated)))
