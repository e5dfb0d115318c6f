"""Closed sets of words: why an event was refused, why a touch is invalid, why an attribution changed.

Rule: the same word stands in the Kafka header, the metric label and the ClickHouse column.
"""

from __future__ import annotations

from typing import Literal, get_args

Reason = Literal["malformed", "schema", "too_large", "too_old", "in_future", "id_collision"]
"""Why an event went to ``dead-letters`` (contract, section 2)."""

InvalidReason = Literal["no_consent", "verdict", "bot", "preview", "prefetch"]
"""Why a touch earns no credit, besides the reasons that a sender's own verdict states."""

Cause = Literal["first", "late_touch", "adjustment", "verdict", "moved", "registry"]
"""Why a conversion was attributed again; ``verdict`` stands for consent statements too."""

Outcome = Literal["accepted", "duplicate", "dead_letter", "moved"]
"""What became of a record that was read; each has exactly one."""

Model = Literal["last_touch", "last_non_direct", "first_touch", "linear", "time_decay", "position_based"]
"""Attribution models, by the names that every view, metric and report uses."""

REASONS: tuple[Reason, ...] = get_args(Reason)
CAUSES: tuple[Cause, ...] = get_args(Cause)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
MODELS: tuple[Model, ...] = get_args(Model)
INVALID_REASONS: tuple[InvalidReason, ...] = get_args(InvalidReason)

REASON_TEXTS: dict[Reason, str] = {
    "malformed": "not UTF-8, not JSON, or not an object",
    "schema": "a field is missing, or of a wrong type or range",
    "too_large": "over 1,000,000 bytes (64 KiB an event at the collector), or unknown fields over 64 KiB",
    "too_old": "received longer after it happened than its kind allows",
    "in_future": "more than 10 minutes ahead of its receipt",
    "id_collision": "another event with the same identity and other content came before",
}

INVALID_REASON_TEXTS: dict[InvalidReason, str] = {
    "no_consent": "the visitor denied consent, or the site's default is denial and nobody granted it",
    "verdict": "a verdict without a reason of its own said so",
    "bot": "the user agent is one of a known crawler, scanner or automated browser",
    "preview": "the user agent, or a header, says that a link's preview was made",
    "prefetch": "a header says that the page was loaded in advance, maybe never to be seen",
}

Channel = Literal[
    "Direct",
    "Cross-network",
    "Paid Shopping",
    "Paid Search",
    "Paid Social",
    "Paid Video",
    "Display",
    "Paid Other",
    "Organic Shopping",
    "Organic Social",
    "Organic Video",
    "Organic Search",
    "AI Assistant",
    "Referral",
    "Email",
    "Affiliates",
    "Audio",
    "SMS",
    "Mobile Push Notifications",
    "Unassigned",
]
"""GA4's default channel group, in its order (facts, section 1); a site may add names of its own later."""

CHANNELS: tuple[Channel, ...] = get_args(Channel)
