"""What the pages of all reports share: changes as words and a mood, and the form that a part of a page has."""

from __future__ import annotations

from typing import Any

from sinks.clickhouse.reports.figures import change
from streams.cli.report import words

Part = dict[str, Any]
"""What the template reads by name."""


def changed(now: Any, before: Any, good: bool | None) -> Part:
    """``change``: a signed per cent, `new`, or '' where it is no number; ``mood``: good, bad or even.

    `good`: whether more is better (None: neither).
    """
    ratio = change(now, before)
    if ratio is None:
        return {"change": "new" if now and before is not None else "", "mood": "even"}
    mood = "even" if good is None or not ratio else "good" if (ratio > 0) is good else "bad"
    return {"change": words.change(ratio), "mood": mood}


def tile(title: str, value: str) -> Part:
    """A figure at a glance, without a line or a change."""
    return {"title": title, "value": value, "line": None, "change": ""}
