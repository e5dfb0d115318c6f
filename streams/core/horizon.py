"""How long what is known can still matter, in milliseconds: the one horizon that bounds the state.

Rule: what is forgotten could not have changed a result any more (contract, section 2). Ages at which events are still
taken bound that, with these rules for what would reach back further; all are about the events' own times, so the result
stays a function of the set of events:

- a conversion's candidates are at most the longest lookback older than the event that names its visitor;
- a landing arrives from a click of ours at most `ARRIVAL_MS` away;
- a verdict reaches `REACH_MS` back and forth, a consent `REACH_MS` back and `CONSENT_MS` forth;
- an event about a conversion counts up to `MAX_ADJUSTMENT_AGE_MS` from it, by its time and by its receipt;
- one conversion stands for another one at most `SAME_MS` later (duplicate policies).
"""

from __future__ import annotations

from typing import Final

from schemas.topics import CONVERSIONS_DAYS, DAY_MS, HORIZON_DAYS, INPUT_DAYS, PANES_DAYS, WITNESS_DAYS
from streams.core.events import MAX_ADJUSTMENT_AGE_MS, MAX_AGE_MS
from streams.core.registry import MAX_LOOKBACK_MS

SESSION_MS: Final = DAY_MS
"""The longest session: whether a touch continues the one before it must stay known too."""
TOUCHES_MS: Final = HORIZON_DAYS * DAY_MS + SESSION_MS
"""A touch is known for so long, and as long as a conversion that it may belong to."""
REACH_MS: Final = HORIZON_DAYS * DAY_MS - MAX_AGE_MS["verdict"] - INPUT_DAYS * DAY_MS
"""However late a statement arrives and is processed, the touches that it reaches are still known."""
ARRIVAL_MS: Final = MAX_LOOKBACK_MS
CONSENT_MS: Final = 400 * DAY_MS
"""13 months, the life of a visitor's cookie."""
SAME_MS: Final = MAX_ADJUSTMENT_AGE_MS
CONVERSIONS_MS: Final = CONVERSIONS_DAYS * DAY_MS
"""A conversion and its order are known for so long."""
WITNESS_MS: Final = WITNESS_DAYS * DAY_MS
"""Under a duplicate policy a conversion is known for so long: others may be its duplicates."""
CONSENTS_MS: Final = CONSENT_MS + MAX_LOOKBACK_MS + SESSION_MS + CONVERSIONS_MS
"""A consent is known for so long: until no touch that is still known can be within its reach."""
PANES_MS: Final = PANES_DAYS * DAY_MS
"""Panes and statements of cost are known for so long."""
RENEWAL_MS: Final = REACH_MS
"""What is needed for longer than its topic keeps it is written again at this age."""
