"""How long a rebalance keeps a worker from its work: from the revocation until it takes records again.

Rule: aiokafka revokes everything at each rebalance, kept partitions too, so every worker of the group pauses. What is
measured is that pause: up to the first batch that is taken after it, or the first look that found nothing to take. A
revocation before that goes on with the same pause; a worker that is left without partitions has none.

Called from the consumer's thread and from the units' loop; each step is one assignment.
"""

from __future__ import annotations

import time

import structlog

from streams.worker import metrics

log = structlog.get_logger()


class Rebalance:
    """The pause that is under way, if any."""

    def __init__(self) -> None:
        self._began: float | None = None

    def revoked(self) -> None:
        """Everything was taken from a worker that had something."""
        if self._began is None:
            self._began = time.monotonic()

    def resumed(self) -> None:
        """Records are fetched again."""
        began, self._began = self._began, None
        if began is not None:
            seconds = time.monotonic() - began
            metrics.REBALANCE_SECONDS.observe(seconds)
            log.info("rebalanced", seconds=round(seconds, 3))

    def idle(self) -> None:
        """Nothing was assigned."""
        self._began = None
