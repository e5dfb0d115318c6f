"""The worker's metrics (contract, section 8); the rolling windows are in `window_metrics`.

Rule: counted from what was committed, never from what was tried; no visitor, click or order id is ever a label. A
counter is there, at 0, before it counts, so that the first of what it counts is an increase too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from prometheus_client import Counter, Gauge, Histogram

from schemas.reasons import CAUSES, OUTCOMES, REASONS, InvalidReason
from schemas.topics import INPUTS
from streams.core.expiry import KINDS

if TYPE_CHECKING:
    from collections import Counter as Counts

    from streams.core.outcome import Outcome

READ: Final = Counter("headwater_records_read", "Records of committed batches, as they came from Kafka.", ["topic"])
EVENTS: Final = Counter("headwater_events", "Records read, by what became of them.", ["topic", "outcome"])
DEAD_LETTERS: Final = Counter("headwater_dead_letters", "Records refused, by reason.", ["reason"])
INVALID_TOUCHES: Final = Counter("headwater_invalid_touches", "Touches judged invalid, by reason.", ["reason"])
ATTRIBUTIONS: Final = Counter("headwater_attributions", "Attributions reported, by cause.", ["cause"])
UNMATCHED: Final = Counter("headwater_unmatched_conversions", "Conversions first reported without a visitor.")
BATCH_SECONDS: Final = Histogram(
    "headwater_batch_seconds",
    "Time to compute and commit a batch, or small ones together.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_EVENTS: Final = Histogram(
    "headwater_batch_events", "Records in a batch.", buckets=(1, 10, 100, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000)
)
TRANSACTION_SECONDS: Final = Histogram(
    "headwater_transaction_seconds",
    "Time of a Kafka transaction: a batch's, or one that small batches share.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
LAG: Final = Gauge("headwater_consumer_lag", "Records not yet processed.", ["topic", "partition"])
COMMIT_AGE: Final = Gauge(
    "headwater_commit_age_seconds", "Time since the last commit while there is something to do.", ["partition"]
)
LOST: Final = Counter("headwater_lost_records", "Records that Kafka deleted before they were read.")
RESTORE_SECONDS: Final = Histogram(
    "headwater_restore_seconds", "Time to open a partition.", buckets=(0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 1800)
)
REBALANCE_SECONDS: Final = Histogram(
    "headwater_rebalance_seconds",
    "How long a rebalance kept this worker from taking records.",
    buckets=(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60),
)
RESTORED: Final = Counter("headwater_restored_records", "Records read from Kafka to restore partitions.")
RESTORE_LEFT: Final = Gauge(
    "headwater_restore_left_records", "Records that a partition's restore has still to read.", ["partition"]
)
RESTORE_ETA: Final = Gauge(
    "headwater_restore_eta_seconds", "When a partition's restore will be done, at its present rate.", ["partition"]
)
FORGOTTEN: Final = Counter("headwater_forgotten_entries", "State entries that nothing can need any more.", ["kind"])
SWEEPS: Final = Counter("headwater_sweeps", "Times that a partition's state was swept of what nothing can need.")
RENEWED: Final = Counter("headwater_renewed_entries", "Records written again, since they are needed for longer.")
OPENING: Final = Gauge(
    "headwater_unit_opening_seconds", "How long a partition has not been processed; 0 while it is.", ["partition"]
)
STATE_BYTES: Final = Gauge("headwater_state_bytes", "Bytes of state, of all partitions that are open here.")
PARTITION_STATE: Final = Gauge("headwater_partition_state_bytes", "Bytes of state of a partition.", ["partition"])
REOPENED: Final = Counter("headwater_unit_failures", "Times that a partition's unit failed and was opened again.")

_MAX_REASONS: Final = 100
_reasons: set[str] = set()


for _topic in INPUTS:
    READ.labels(_topic)
    for _outcome in OUTCOMES:
        EVENTS.labels(_topic, _outcome)
for _reason in REASONS:
    DEAD_LETTERS.labels(_reason)
for _reason in get_args(InvalidReason):
    INVALID_TOUCHES.labels(_reason)
for _cause in CAUSES:
    ATTRIBUTIONS.labels(_cause)
for _kind in KINDS:
    FORGOTTEN.labels(_kind)


def swept(forgotten: Counts[str], renewed: int) -> None:
    """Count what a sweep has forgotten, by kind, and renewed."""
    for kind, number in forgotten.items():
        FORGOTTEN.labels(kind).inc(number)
    RENEWED.inc(renewed)
    SWEEPS.inc()


def count(outcome: Outcome, records: int) -> None:
    """Count a committed outcome; `records` is how many the batch had.

    That the outcomes add up to `records` is what the alert on conservation watches, so the two are counted apart.
    """
    if records:
        READ.labels(outcome.topic).inc(records)
    for name in OUTCOMES:
        number = getattr(outcome, name)
        if number:
            EVENTS.labels(outcome.topic, name).inc(number)
    for reason, number in outcome.reasons.items():
        DEAD_LETTERS.labels(reason).inc(number)
    for reason, number in outcome.invalid.items():
        # Reasons of verdicts are their senders' words; a bounded number of them become labels.
        if reason not in _reasons and len(_reasons) < _MAX_REASONS:
            _reasons.add(reason)
        INVALID_TOUCHES.labels(reason if reason in _reasons else "other").inc(number)
    for cause, number in outcome.causes.items():
        ATTRIBUTIONS.labels(cause).inc(number)
    if outcome.unmatched:
        UNMATCHED.inc(outcome.unmatched)
    if outcome.read:
        BATCH_EVENTS.observe(outcome.read)
