"""A site's own channels: its rules and sources from the registry, which go before the shipped ones.

Rule: of a site's rules the first that holds names the channel; where none holds the shipped rules do. A source that
the site lists has the category that it says, by its whole name, else by the longest ending of its host that the site
lists; only where the site lists none of them are the shipped lists asked.

Where it stands: registry entry -> here, prepared once a version -> `streams.core.channels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from schemas.patterns import compile_pattern
from streams.core.addresses import PACKAGES, app_name, endings, host_of, plain_host
from streams.core.data import Listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from schemas.registry import ChannelRule

FIELDS = ("source", "medium", "campaign", "content", "term")
"""What a rule may ask for by a pattern, in the order in which the values are handed over."""


class _Rule(NamedTuple):
    channel: str
    default_channel: str
    category: str
    patterns: tuple[tuple[int, Callable[[str], bool]], ...]
    """Place of the value, and whether it matches."""


class OwnChannels:
    """Rules and sources of one version of a site's entry."""

    __slots__ = ("_names", "_rules")

    def __init__(self, rules: tuple[ChannelRule, ...], sources: Mapping[str, str]) -> None:
        """`sources`: name or host in lower case -> category."""
        self._rules = tuple(map(_prepared, rules))
        self._names: dict[str, Listed] = {}
        for source, category in sources.items():
            listed = self._names[source] = Listed(category, "")
            if "." in source:
                self._names.setdefault(plain_host(source) or source, listed)

    def listed(self, origin: str) -> Listed | None:
        """What the site lists a host or app as; None where it does not."""
        return next(filter(None, map(self._names.get, (app_name(origin), *endings(origin)))), None)

    def category_of(self, source: str) -> str | None:
        """The category that the site gives a source in lower case; None where it gives none."""
        listed = self._names.get(source)
        if listed is None and "." in source and not source.startswith(PACKAGES):
            listed = self.listed(host_of(source))
        return listed.category if listed is not None else None

    def channel_of(self, category: str, default_channel: str, values: tuple[str, ...]) -> str:
        """The channel of the first rule that holds, '' where none does; `values` as in `FIELDS`, in any case."""
        for rule in self._rules:
            if (
                (not rule.default_channel or rule.default_channel == default_channel)
                and (not rule.category or rule.category == category)
                and all(matches(values[place]) for place, matches in rule.patterns)
            ):
                return rule.channel
        return ""


def _prepared(rule: ChannelRule) -> _Rule:
    stated = [(place, getattr(rule, name)) for place, name in enumerate(FIELDS)]
    patterns = tuple((place, compile_pattern(text)) for place, text in stated if text is not None)
    return _Rule(rule.channel, rule.default_channel or "", rule.category or "", patterns)
