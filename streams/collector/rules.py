"""What the settings say of the collector's doors: whom it believes, whom it lets in, how fast, and what it keeps.

Rule: read once, at start; what is wrong there is one line of error that names the setting and shows no secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas.settings import Settings
from streams.collector.keys import Keys
from streams.collector.networks import Networks, ip_keeper
from streams.collector.origins import read_origins
from streams.collector.partners import Partners

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one collector; by default those of the default settings."""

    proxies: Networks = field(default_factory=lambda: Networks("", "trusted_proxies"))
    cookie_domain: str = ""
    keep_ip: Callable[[str], str] = field(default_factory=lambda: ip_keeper("truncated", b""))
    api_keys: Keys = field(default_factory=lambda: Keys("", "api_keys"))
    partners: Partners = field(default_factory=Partners)
    rate_per_ip: float = Settings.model_fields["rate_per_ip"].default
    rate_authenticated: float = Settings.model_fields["rate_authenticated"].default
    rate_exempt: Networks = field(
        default_factory=lambda: Networks(Settings.model_fields["rate_exempt"].default, "rate_exempt")
    )
    metrics_networks: Networks = field(default_factory=lambda: Networks("", "metrics_networks"))
    cors_origins: frozenset[str] = frozenset()


def rules_of(settings: Settings, secret: bytes) -> Rules:
    """The rules that `settings` state; `secret` keys hashes. Raises `ConfigurationError`."""
    return Rules(
        proxies=Networks(settings.trusted_proxies, "trusted_proxies"),
        cookie_domain=settings.cookie_domain,
        keep_ip=ip_keeper(settings.ip_addresses, secret),
        api_keys=Keys(settings.api_keys.get_secret_value(), "api_keys"),
        partners=Partners(
            settings.postback_keys.get_secret_value(),
            settings.postback_tokens.get_secret_value(),
            settings.postback_networks,
            settings.postback_sites,
        ),
        rate_per_ip=settings.rate_per_ip,
        rate_authenticated=settings.rate_authenticated,
        rate_exempt=Networks(settings.rate_exempt, "rate_exempt"),
        metrics_networks=Networks(settings.metrics_networks, "metrics_networks"),
        cors_origins=read_origins(settings.cors_origins),
    )
