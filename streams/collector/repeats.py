"""Repeats: when a message came first, so that the same message sent again is the same event.

Rule: bounded memory, and no promise: what is forgotten (by a restart, or another collector) is refused downstream,
since the same event then has another time. Either way it counts once.
"""

from __future__ import annotations

from typing import Final

HELD_MS: Final = 600_000
"""Twice as long as a signature holds, since clocks may differ both ways."""


class Repeats:
    """When postbacks came first, for as long as their signatures hold; the oldest are forgotten first."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._seen: dict[str, int] = {}

    def first(self, event_id: str, now: int) -> int:
        """When `event_id` came first: `now`, or earlier (milliseconds)."""
        known = self._seen.get(event_id)
        if known is not None and now - known <= HELD_MS:
            return known
        self._seen.pop(event_id, None)
        self._seen[event_id] = now
        if len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]
        return now
