"""How a restore gets on: what is left, how fast it goes, when it will be done; and whether it has stalled.

Rule: told in the log every few seconds and in metrics always. All is counted in offsets, so what compaction has removed
is left until it is passed. Time is an argument.
"""

from __future__ import annotations

from typing import Final

import structlog

from schemas.errors import RestoreError
from streams.worker import metrics

log = structlog.get_logger()

STALLED_S: Final = 60.0
"""Without any progress for so long a restore has failed."""
TOLD_S: Final = 5.0
"""Between two lines of the log."""


class Progress:
    """The progress of one partition from `left` to nothing left."""

    def __init__(self, partition: int, left: int, now: float) -> None:
        self._partition = partition
        self._whole = self._left = left
        self._began = self._moved = self._told = now
        self._show(None)

    def reached(self, left: int, now: float) -> None:
        """So much is left; raises `RestoreError` where it has been as much for too long."""
        if left != self._left:
            self._left, self._moved = left, now
        elif now - self._moved > STALLED_S:
            raise RestoreError(
                f"partition {self._partition}: the restore has stalled, {left:,} left for {STALLED_S:.0f} s"
            )
        rate = self.rate(now)
        eta = left / rate if rate else None
        self._show(eta)
        if now - self._told >= TOLD_S:
            self._told = now
            log.info(
                "restoring",
                partition=self._partition,
                left=left,
                rate=round(rate),
                eta_seconds=None if eta is None else round(eta, 1),
            )

    def rate(self, now: float) -> float:
        """Offsets a second since the beginning."""
        seconds = now - self._began
        return (self._whole - self._left) / seconds if seconds > 0 else 0.0

    def _show(self, eta: float | None) -> None:
        metrics.RESTORE_LEFT.labels(str(self._partition)).set(self._left)
        if eta is not None or not self._left:
            metrics.RESTORE_ETA.labels(str(self._partition)).set(eta or 0.0)
