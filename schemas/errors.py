"""The error tree: every failure that headwater raises on purpose.

    HeadwaterError
    ├── ConfigurationError      a setting or registry file is wrong; the operator mends it
    ├── Refused                 an event is not acceptable; carries reason and detail
    ├── StateError              a partition's saved state does not fit its topics; rebuild
    ├── RestoreError            the end of an output topic was not reached; try again
    ├── CommitFailed            a transaction's outcome is failure or unknown; reopen the unit
    └── Unavailable             Kafka, ClickHouse or a service does not answer; try again

Rule: a class says by ``retriable`` whether the same call may succeed later without a change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from schemas.reasons import Reason


class HeadwaterError(Exception):
    """Root of all errors raised on purpose; its text is one clear line for a person."""

    retriable: ClassVar[bool] = False


class ConfigurationError(HeadwaterError):
    """A setting, a registry file or an argument is wrong."""


class Refused(HeadwaterError):
    """An event is not acceptable: ``reason`` is one of `schemas.reasons.REASONS`, ``detail`` a line for a person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class StateError(HeadwaterError):
    """Saved state does not belong to these topics, or was written in another format."""


class RestoreError(HeadwaterError):
    """A unit could not read its output topics to their end."""

    retriable = True


class CommitFailed(HeadwaterError):
    """A transaction failed, or whether it did is unknown."""

    retriable = True


class Unavailable(HeadwaterError):
    """A service that headwater needs does not answer."""

    retriable = True
