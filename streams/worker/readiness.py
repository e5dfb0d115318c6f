"""Whether a worker works, said in the log: once when it cannot, each minute while it cannot, once when it can again.

Rule: what ``/readyz`` says, told to whoever reads logs. A rebalance or a short restore is nothing to tell of. Time is
an argument.
"""

from __future__ import annotations

from typing import Final

import structlog

log = structlog.get_logger()

GRACE_S: Final = 10.0
"""Not ready for less is everyday life."""
AGAIN_S: Final = 60.0


class Readiness:
    """What was last said."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told: float | None = None

    def watch(self, found: tuple[bool, str], now: float, *, at_once: bool = False) -> None:
        """The worker is ready, or not for this reason; `at_once`: one that does not go away by itself."""
        ready, reason = found
        if ready:
            if self._told is not None and self._since is not None:
                log.info("worker_ready", not_ready_seconds=round(now - self._since, 1))
            self._since = self._told = None
            return
        if self._since is None:
            self._since = now
        due = now - self._since >= GRACE_S or at_once if self._told is None else now - self._told >= AGAIN_S
        if due:
            self._told = now
            log.warning("worker_not_ready", reason=reason, seconds=round(now - self._since, 1))
