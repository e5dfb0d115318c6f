"""Which pages may read answers."""

from __future__ import annotations

import pytest

from schemas.errors import ConfigurationError
from schemas.registry import SiteEntry
from streams.collector.campaigns import CampaignBook
from streams.collector.origins import Origins, read_origins


def book(*domains: str) -> CampaignBook:
    return CampaignBook([SiteEntry(site="shop", domains=domains)], ready=True)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://shop.example", True),
        ("http://www.shop.example:8080", True),
        ("https://other.example", True),
        ("https://evilshop.example", False),
        ("https://shop.example.evil.example", False),
        ("https://evil.example/shop.example", False),
        ("null", False),
        ("file://", False),
        ("https://[::1", False),
        ("https://shop.example\u0000", False),
        (f"https://{'a.' * 200}shop.example", False),
        ("", False),
    ],
)
def test_pages_of_registered_domains(origin: str, *, allowed: bool) -> None:
    """Of a site's domains and their subdomains, and what the settings list; nothing that only looks like one."""
    origins = Origins(book("shop.example"), read_origins("https://other.example"))
    assert origins.allows(origin) is allowed
    assert (("access-control-allow-origin", origin) in origins.headers(origin)) is allowed
    assert ("vary", "Origin") in origins.headers(origin)


def test_nobody_knows_better() -> None:
    """Where no site states its domains, any page may read."""
    assert Origins(CampaignBook(), frozenset()).allows("https://any.example")
    assert Origins(book(), frozenset()).allows("https://any.example")
    assert Origins(book("shop.example"), read_origins("*")).allows("https://any.example")


def test_the_registry_is_followed() -> None:
    """A domain that is registered counts from then on."""
    registry = book("shop.example")
    origins = Origins(registry, frozenset())
    assert len(origins.headers("https://new.example")) == 1
    registry.take([(b"site/new/0", SiteEntry(site="new", domains=["new.example"]).model_dump_json().encode())])
    assert len(origins.headers("https://new.example")) == 3


def test_what_is_remembered_is_bounded() -> None:
    """However many origins are tried."""
    origins = Origins(book("shop.example"), frozenset())
    for number in range(10_000):
        origins.headers(f"https://{number}.example")
    assert len(origins._known) <= 4096


@pytest.mark.parametrize("text", ["shop.example", "https://shop.example/", "ftp://shop.example", "https://"])
def test_wrong_setting(text: str) -> None:
    """An origin is scheme and host."""
    with pytest.raises(ConfigurationError, match="cors_origins"):
        read_origins(text)
