"""Kafka topics: names, keys and settings (contract, section 1).

Rule: a name that is not here does not exist. ``campaigns`` has one partition, all others the same number, which never
changes in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DAY_MS = 86_400_000
MAX_RECORD_BYTES = 1_000_000
"""An input record over this is refused as ``too_large``."""
LARGE_BYTES = 8 * 1024 * 1024
"""Limit of outputs that hold a whole journey or someone else's bytes: 500 touches of 11 texts of 256 characters."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: its name, what its key is, and Kafka's topic settings (all as text)."""

    name: str
    key: str
    config: dict[str, str] = field(default_factory=dict)
    single: bool = False


def _delete(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}


def _compacted(days: int | None = None) -> dict[str, str]:
    config = {"cleanup.policy": "compact", "delete.retention.ms": str(7 * DAY_MS)}
    if days is not None:
        config |= {"cleanup.policy": "compact,delete", "retention.ms": str(days * DAY_MS)}
    return config


_LARGE = {"max.message.bytes": str(LARGE_BYTES)}
_INPUT = {"max.message.bytes": str(2 * 1024 * 1024)}

INPUT_DAYS = 7
"""How long the inputs are kept, and so how late an event can be processed at most."""
HORIZON_DAYS = 90 + 35 + INPUT_DAYS
"""How long a touch is known: longest lookback, age at which conversions are still taken, and time until they are
processed (contract, section 2)."""
CONVERSIONS_DAYS = 180 + 35 + INPUT_DAYS
"""How long a conversion is known: the same for what is said of it in 180 days."""
WITNESS_DAYS = CONVERSIONS_DAYS + 180
"""How long it is known that there was a conversion, where a later one may be a duplicate of it."""
PANES_DAYS = 400
_SLACK_DAYS = 7
"""A worker's own sweep comes before Kafka deletes: the state goes by events' times, Kafka by times of writing."""

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic("clicks", "visitor id", _delete(INPUT_DAYS) | _INPUT),
        Topic("conversions", "order id, else event id", _delete(INPUT_DAYS) | _INPUT),
        Topic("costs", "campaign", _delete(INPUT_DAYS) | _INPUT),
        Topic("campaigns", "site/... or campaign/...", _compacted(), single=True),
        Topic("touches", "visitor id", _delete(HORIZON_DAYS + _SLACK_DAYS) | _INPUT),
        Topic("orders", "conversion id", _compacted(CONVERSIONS_DAYS + _SLACK_DAYS) | _LARGE),
        Topic("orders-by-visitor", "visitor id", _delete(INPUT_DAYS) | _LARGE),
        Topic("attributions", "conversion id and visitor id", _compacted(WITNESS_DAYS + _SLACK_DAYS) | _LARGE),
        Topic("spend", "statement of cost", _compacted(PANES_DAYS) | _LARGE),
        Topic("panes", "pane key", _compacted(PANES_DAYS)),
        Topic("dead-letters", "source key", _delete(30) | _LARGE),
        Topic("replays", "dead letter", _delete(90)),
    )
}

INPUTS: tuple[str, ...] = ("clicks", "conversions", "costs", "orders-by-visitor")
"""What a unit reads; all four of one partition number belong to one unit."""
STATE: tuple[str, ...] = ("touches", "orders", "attributions", "spend", "panes")
"""Outputs that are a unit's state: read to their end when it opens."""
OUTPUTS: tuple[str, ...] = (*STATE, "dead-letters")
"""What the sink reads."""
