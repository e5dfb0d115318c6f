"""The registry's two kinds of record, ``site`` and ``campaign`` (contract, section 9).

Rule: a registry file is checked whole before anything is written. Each record is in force from ``valid_from``; the
Kafka key names kind, name and that moment, so that compaction keeps every period.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from schemas.errors import Refused
from schemas.events import read_currency, read_time
from schemas.patterns import compile_pattern
from schemas.reasons import CHANNELS, Channel

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Host = Annotated[str, StringConstraints(min_length=1, max_length=253, to_lower=True, strip_whitespace=True)]
DuplicatePolicy = Literal["once_per_order", "once_per_visitor", "once_per_click"]
MAX_LOOKBACK_DAYS = 90
CATEGORIES: Final = ("search", "social", "video", "shopping", "ai", "none")
"""Categories of sources that the shipped rules know; `none` takes a source out of the one it is listed in."""


def _is_pattern(text: str) -> str:
    compile_pattern(text)
    return text


def _is_channel(text: str) -> str:
    """A shipped channel's name is written as it is; nearly the same in other letters would be another channel."""
    for channel in CHANNELS:
        if text != channel and text.casefold() == channel.casefold():
            raise ValueError(f"the channel is written {channel!r}")
    return text


_NO_CONTROLS: Final = r"^[^\x00-\x1f\x7f]*$"
ChannelName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, strip_whitespace=True, pattern=_NO_CONTROLS),
    AfterValidator(_is_channel),
]
Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Source = Annotated[str, StringConstraints(min_length=1, max_length=253, to_lower=True, strip_whitespace=True)]
Pattern = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    AfterValidator(_is_pattern),
    Field(description="Regular expression that matches the whole value, in any case."),
]


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


class ChannelRule(BaseModel):
    """A site's own rule for a channel: it holds where all that it states does; the first that holds names the channel.

    The site's rules are tried before the shipped ones, in their order; `channel` is a name of the site's own, or one
    of the shipped names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: ChannelName
    default_channel: Channel | None = Field(None, description="What the shipped rules would say.")
    category: Category | None = Field(None, description="Of the source: by the site's own `sources`, else the shipped.")
    source: Pattern | None = None
    medium: Pattern | None = None
    campaign: Pattern | None = None
    content: Pattern | None = None
    term: Pattern | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> ChannelRule:
        if not self.model_dump(exclude={"channel"}, exclude_none=True):
            raise ValueError(f"the rule for {self.channel!r} has no condition: it would take every touch")
        return self


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
    channels: tuple[ChannelRule, ...] = Field(
        (), max_length=200, description="The site's own channel rules, tried before the shipped ones."
    )
    sources: dict[Category, tuple[Source, ...]] = Field(
        default_factory=dict,
        description="Category -> the site's own names and hosts of sources, which go before the shipped ones. "
        f"Besides {', '.join(CATEGORIES)}, a category that one of `channels` asks for.",
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

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"there is no time zone {value!r}") from None
        return value

    @model_validator(mode="after")
    def _channels_and_sources_agree(self) -> SiteEntry:
        asked = {rule.category for rule in self.channels if rule.category is not None}
        if empty := sorted(asked - ({*CATEGORIES, *self.sources} - {"none"})):
            raise ValueError(f"channels: no source is of category {empty[0]!r}")
        if unasked := sorted(self.sources.keys() - {*CATEGORIES} - asked):
            raise ValueError(f"sources: no rule of `channels` asks for the category {unasked[0]!r}")
        categories: dict[str, str] = {}
        for category, sources in self.sources.items():
            for source in sources:
                if categories.setdefault(source, category) != category:
                    raise ValueError(f"sources: {source!r} is of {categories[source]!r} and of {category!r}")
        names: dict[str, str] = {}
        for rule in self.channels:
            name = names.setdefault(rule.channel.casefold(), rule.channel)
            if name != rule.channel:
                raise ValueError(f"channels: {rule.channel!r} is also written {name!r}")
        return self

    @property
    def key(self) -> str:
        """Kafka key."""
        return f"site/{self.site}/{self.valid_from}"


MACRO: Final = re.compile(r"\{([a-z_0-9]*)\}")
"""A place in a destination's address that a click fills in."""
MACROS: Final = (
    *("click_id", "campaign", "site", "variant", "source", "medium", "content", "term", "ad_group", "ad"),
    *("placement", "partner", "audience", "country", "device", "sub1", "sub2", "sub3", "sub4", "sub5"),
)
"""The names that macros may have."""
_NO_ADDRESS: Final = re.compile(r"[\x00-\x20\x7f\\]")


class Destination(BaseModel):
    """A landing page of a campaign; its address may have macros such as `{click_id}`, but not in its host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    weight: float = Field(1, ge=0, allow_inf_nan=False)
    variant: Annotated[str, StringConstraints(max_length=256)] = ""

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if _NO_ADDRESS.search(value):
            raise ValueError("a destination has no spaces, controls or backslashes: browsers read them differently")
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            raise ValueError("a destination is an http or https address")
        if "@" in parts.netloc or "{" in parts.netloc or "}" in parts.netloc:
            raise ValueError("a destination's host is written out: no user, no macro")
        if unknown := sorted(set(MACRO.findall(value)) - set(MACROS)):
            raise ValueError(f"there is no macro {{{unknown[0]}}}; there are {', '.join(MACROS)}")
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
