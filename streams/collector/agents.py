"""User agents: which of them are no person's browser.

Rule: the list is crawler-user-agents' (MIT), matched by Rust's `regex`, which takes time in proportion to the text
whatever the text is: 5-40 us, so that nobody can slow the collector down by odd user agents. What was found is
remembered for so many user agents, so that a browser's costs nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final, Literal

from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from pydantic import StringConstraints, TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Agent = Literal["browser", "bot", "preview", "program"]
"""What a user agent is: `program` is a library for HTTP requests, which may speak for a person (a shop's server)."""

MAX_LENGTH: Final = 512
"""Longer ones are judged by their beginning."""
_REMEMBERED: Final = 16_384
_CHUNK: Final = 400
"""Patterns matched together: about where the engine is fastest (all 1,500 in one are a hundred times slower)."""
_PEOPLE: Final = frozenset({"MetaIAB Facebook", r"Code\/1\.", r"Trae\/", "Fluid"})
"""Listed patterns of browsers inside of apps, with a person before them."""


@lru_cache(maxsize=_REMEMBERED)
def _judge(user_agent: str) -> Agent:
    for agent, matches in _MATCHERS:
        if matches(user_agent):
            return agent
    return "browser"


def judge_agent(user_agent: str | None) -> Agent:
    """What `user_agent` is; a missing one proves nothing (as in IAB's order of rules)."""
    if not user_agent:
        return "browser"
    return _judge(user_agent if len(user_agent) <= MAX_LENGTH else user_agent[:MAX_LENGTH])


def _matchers() -> Iterable[tuple[Agent, Callable[[str], bool]]]:
    """In the order in which they are asked: a crawler that names itself after a library too is a crawler."""
    groups: dict[Agent, list[str]] = {"preview": [], "bot": [], "program": []}
    for entry in CRAWLER_USER_AGENTS_DATA:
        if entry["pattern"] not in _PEOPLE:
            groups[_kind(entry.get("tags", ()))].append(entry["pattern"])
    for agent, patterns in groups.items():
        for start in range(0, len(patterns), _CHUNK):
            joined = "|".join(f"(?:{pattern})" for pattern in patterns[start : start + _CHUNK])
            form = TypeAdapter(Annotated[str, StringConstraints(pattern=joined, strict=True)])
            yield agent, form.validator.isinstance_python


def _kind(tags: Iterable[str]) -> Agent:
    if "social-preview" in tags:
        return "preview"
    return "program" if "http-library" in tags else "bot"


_MATCHERS: Final = tuple(_matchers())
