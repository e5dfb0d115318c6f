"""The registry's two kinds of record, ``site`` and ``campaign`` (contract, section 9).

Rule: a registry file is checked whole before anything is written. Each record is in force from ``valid_from``; the
Kafka key names kind, name and that moment, so that compaction keeps every period.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from schemas.errors import Refused
from schemas.events import read_currency, read_time
from schemas.reasons import CHANNELS

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Host = Annotated[str, StringConstraints(min_length=1, max_length=253, to_lower=True, strip_whitespace=True)]
DuplicatePolicy = Literal["once_per_order", "once_per_visitor", "once_per_click"]
MAX_LOOKBACK_DAYS = 90


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    valid_from: int = Field(0, description="In force from this moment: ms since the epoch, or ISO 8601 with a zone.")

    @field_validator("valid_from", mode="before")
    @classmethod
    def _read_valid_from(cls, value: object) -> object:
        if hasattr(value, "isoformat"):
            value = value.isoformat()
        if isinstance(value, str):
            try:
                return read_time(value, "valid_from")
            except Refused as error:
                raise ValueError(error.detail) from None
        return value


class Lookbacks(BaseModel):
    """Days that a touch of each kind stays a candidate; at most 90, 0 switches the kind off; None: not stated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    click: float | None = Field(None, ge=0, le=MAX_LOOKBACK_DAYS)
    impression: float | None = Field(None, ge=0, le=MAX_LOOKBACK_DAYS)
    landing: float | None = Field(None, ge=0, le=MAX_LOOKBACK_DAYS)


class Providers(BaseModel):
    """Payment and login providers that a site adds to, or removes from, the shipped list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    added: tuple[Host, ...] = ()
    removed: tuple[Host, ...] = ()


class SiteEntry(_Entry):
    """A site: its domains, currency, time zone and rules."""

    kind: Literal["site"] = "site"
    site: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    domains: tuple[Host, ...] = ()
    providers: Providers = Providers()
    currency: str = "USD"
    timezone: str = "UTC"
    lookbacks: Lookbacks = Lookbacks()
    session_minutes: float = Field(30, ge=0, le=1440)
    consent_default: Literal["granted", "denied"] = "granted"
    duplicate_policy: dict[str, DuplicatePolicy] = Field(
        default_factory=dict, description="Action -> policy; the action `*` stands for all others."
    )

    @field_validator("duplicate_policy", mode="before")
    @classmethod
    def _one_policy_for_all(cls, value: object) -> object:
        return {"*": value} if isinstance(value, str) else value

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, value: str) -> str:
        try:
            return read_currency(value)
        except Refused as error:
            raise ValueError(error.detail) from None

    @property
    def key(self) -> str:
        """Kafka key."""
        return f"site/{self.site}/{self.valid_from}"


class Destination(BaseModel):
    """A landing page of a campaign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    weight: float = Field(1, ge=0)
    variant: Annotated[str, StringConstraints(max_length=256)] = ""

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("a destination is an http or https address")
        return value


class CampaignEntry(_Entry):
    """A campaign: what its name stands for, and where its clicks go."""

    kind: Literal["campaign"] = "campaign"
    campaign: Name
    site: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    source: Annotated[str, StringConstraints(max_length=256)] = ""
    medium: Annotated[str, StringConstraints(max_length=256)] = ""
    channel: Annotated[str, StringConstraints(max_length=64)] = ""
    partner: Annotated[str, StringConstraints(max_length=256)] = ""
    destinations: tuple[Destination, ...] = ()
    variants: tuple[Name, ...] = ()
    lookbacks: Lookbacks = Lookbacks()

    @field_validator("destinations", mode="before")
    @classmethod
    def _plain_addresses(cls, value: object) -> object:
        if isinstance(value, list):
            return [{"url": item} if isinstance(item, str) else item for item in value]
        return value

    @model_validator(mode="after")
    def _known_channel(self) -> CampaignEntry:
        if self.channel and self.channel not in CHANNELS:
            raise ValueError(f"channel: {self.channel!r} is no channel; one of {', '.join(CHANNELS)}")
        return self

    @property
    def key(self) -> str:
        """Kafka key."""
        return f"campaign/{self.campaign}/{self.site}/{self.valid_from}"


Entry = Annotated[SiteEntry | CampaignEntry, Field(discriminator="kind")]
