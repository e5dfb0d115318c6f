"""The registry as the sink keeps it in ClickHouse: time zones and currencies of sites, and the entries themselves.

Rule: what is not registered has the defaults (UTC, no currency of its own); an entry holds from its own moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter

from schemas.errors import ConfigurationError
from schemas.registry import CampaignEntry, Entry, SiteEntry

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_ENTRY: TypeAdapter[SiteEntry | CampaignEntry] = TypeAdapter(Entry)


@dataclass(frozen=True, slots=True)
class Site:
    """A registered site as it is now."""

    name: str
    currency: str
    timezone: str


def sites(client: Client) -> dict[str, Site]:
    """The registered sites by name."""
    rows = client.query("SELECT site, currency, timezone FROM sites ORDER BY site").result_rows
    return {name: Site(name, currency, timezone) for name, currency, timezone in rows}


def zone(name: str) -> ZoneInfo:
    """The time zone of that name; raises `ConfigurationError` where there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(f"there is no time zone {name!r}") from None


def entries(client: Client) -> list[SiteEntry | CampaignEntry]:
    """All entries, in the order in which they were written."""
    rows = client.query("SELECT entry FROM registry_rows FINAL ORDER BY ver").result_rows
    return [_ENTRY.validate_json(text) for (text,) in rows]
