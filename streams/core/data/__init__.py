"""What the classifier knows of the world: source categories, engines, AI assistants, click ids, providers, rules.

Rule: knowledge is data in versioned files beside this module, and code only reads it, once, at import; a wrong list is
mended by editing a list. Hosts are in lower case and ASCII; names (what people write into `utm_source`) in lower case.

Where it stands: files -> here -> `streams.core.channels`, `streams.core.addresses`.
"""

from __future__ import annotations

import csv
import re
import tomllib
from importlib.resources import files
from typing import Any, Final, NamedTuple

DIRECT_SOURCE: Final = "(direct)"
DIRECT_MEDIUM: Final = "(none)"


class ClickIdParameter(NamedTuple):
    """A click-id parameter: which network it names; the lower rank speaks where an address bears several."""

    rank: int
    source: str
    medium: str


class Listed(NamedTuple):
    """A listed host: its category (`search`, `social`, `video`, `shopping`, `ai`, `none`) and the source it shows as.

    A source of '' is the host itself.
    """

    category: str
    source: str


class Condition(NamedTuple):
    """One alternative of a rule: a category ('': any), and expressions for source, medium and campaign (None: any)."""

    category: str
    source: re.Pattern[str] | None
    medium: re.Pattern[str] | None
    campaign: re.Pattern[str] | None

    def holds(self, category: str, source: str, medium: str, campaign: str) -> bool:
        """Whether it matches a touch's category, source, medium and campaign, all in lower case."""
        return (
            (not self.category or self.category == category)
            and (self.source is None or self.source.fullmatch(source) is not None)
            and (self.medium is None or self.medium.fullmatch(medium) is not None)
            and (self.campaign is None or self.campaign.fullmatch(campaign) is not None)
        )


class ChannelRules(NamedTuple):
    """Channel rules in order: the first with a condition that holds names the channel, `otherwise` where none does."""

    version: int
    rules: tuple[tuple[str, tuple[Condition, ...]], ...]
    otherwise: str

    def channel(self, category: str, source: str, medium: str, campaign: str) -> str:
        """The channel of a touch's category, source, medium and campaign, all in lower case."""
        for channel, conditions in self.rules:
            for condition in conditions:
                if condition.holds(category, source, medium, campaign):
                    return channel
        return self.otherwise

    def names(self) -> tuple[str, ...]:
        """Every channel there is, in order."""
        return (*(channel for channel, _ in self.rules), self.otherwise)


def compile_rules(document: dict[str, Any]) -> ChannelRules:
    """Compile a rules document of the form of channel_rules.toml. Raises KeyError or re.error where it is not one."""
    patterns: dict[str, str] = document.get("patterns", {})

    def compiled(text: str | None) -> re.Pattern[str] | None:
        if text is None:
            return None
        return re.compile(patterns[text[1:]] if text.startswith("@") else text, re.DOTALL)

    rules = tuple(
        (
            str(rule["channel"]),
            tuple(
                Condition(
                    alternative.get("category", ""),
                    compiled(alternative.get("source")),
                    compiled(alternative.get("medium")),
                    compiled(alternative.get("campaign")),
                )
                for alternative in rule["any"]
            ),
        )
        for rule in document["rules"]
    )
    return ChannelRules(int(document["version"]), rules, str(document["otherwise"]))


def _text(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _google_categories() -> dict[str, str]:
    """Google's own list: source in lower case -> category."""
    rows = csv.DictReader(_text("ga4_source_categories.csv").splitlines())
    return {row["source"].lower(): row["source_category"].removeprefix("SOURCE_CATEGORY_").lower() for row in rows}


def _is_host(source: str) -> bool:
    return "." in source and " " not in source


def _click_ids() -> dict[str, ClickIdParameter]:
    entries = tomllib.loads(_text("click_ids.toml"))["click_ids"]
    return {e["parameter"]: ClickIdParameter(rank, e["source"], e["medium"]) for rank, e in enumerate(entries)}


def _providers() -> frozenset[str]:
    document = tomllib.loads(_text("providers.toml"))
    return frozenset(host for kind in ("payment", "three_d_secure", "login") for host in document[kind])


def _sources(document: dict[str, Any]) -> tuple[dict[str, str], dict[str, Listed]]:
    """Names with their category, and hosts with what they are listed as: Google's list, then ours, which adds to it."""
    google = _google_categories()
    names = dict(google)
    listed = {source: Listed(category, "") for source, category in google.items() if _is_host(source)}
    for category, sources in document["categories"].items():
        for source in sources:
            names.setdefault(source, category)
            if _is_host(source):
                listed.setdefault(source, Listed(category, ""))
    for source, spellings in document["assistants"].items():
        for spelling in (source, *spellings):
            names[spelling] = "ai"
            if _is_host(spelling):
                listed[spelling] = Listed("ai", source)
    for source, hosts in document["engines"].items():
        names.setdefault(source, "search")
        for host in hosts:
            listed[host] = Listed("search", source)
    return names, _named_after_their_engine(listed)


def _named_after_their_engine(listed: dict[str, Listed]) -> dict[str, Listed]:
    """A listed search host below an engine's is shown by the engine's name (`cn.bing.com` as `bing`)."""
    engines = {host: entry for host, entry in listed.items() if entry.category == "search" and entry.source}
    result = dict(listed)
    for host, entry in listed.items():
        parent = host.partition(".")[2]
        while entry == ("search", "") and parent:
            if parent in engines:
                result[host] = engines[parent]
                break
            parent = parent.partition(".")[2]
    return result


_SOURCES = tomllib.loads(_text("sources.toml"))

RULES: Final = compile_rules(tomllib.loads(_text("channel_rules.toml")))
CLICK_IDS: Final = _click_ids()
PROVIDERS: Final = _providers()
NAMES, LISTED = _sources(_SOURCES)
APPS: Final[dict[str, str]] = _SOURCES["apps"]
COUNTRY_DOMAINS: Final = frozenset(_SOURCES["country_domains"])
