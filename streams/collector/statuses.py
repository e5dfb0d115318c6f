"""Words that networks use for the state of a conversion, and what they mean here.

Rule: a state is stated by a conversion event where that can be (contract, section 3, rule 6): so it works whether it
comes first or later. What withdraws or changes an amount is an adjustment, which needs to name its conversion.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.errors import Refused

PURCHASE: Final = "purchase"


class Meaning(NamedTuple):
    """What a word means: the action where none is stated, the status ('': it says nothing of it), or the adjustment."""

    action: str = PURCHASE
    status: str = "approved"
    adjustment: str = ""


_SOLD: Final = Meaning(status="")
_APPROVED: Final = Meaning()
_PENDING: Final = Meaning(status="pending")
_REJECTED: Final = Meaning(status="rejected")
_RETRACTED: Final = Meaning(adjustment="retract")
STATUSES: Final[dict[str, Meaning]] = {
    **dict.fromkeys(("sale", "approved", "approve", "accepted", "confirmed", "paid", "valid"), _APPROVED),
    **dict.fromkeys(("pending", "hold", "on_hold", "new", "open", "waiting"), _PENDING),
    **dict.fromkeys(
        ("rejected", "reject", "declined", "cancelled", "canceled", "invalid", "trash", "fraud"), _REJECTED
    ),
    **dict.fromkeys(("refund", "refunded", "chargeback", "reversed", "retract", "retracted"), _RETRACTED),
    "lead": Meaning("lead"),
    "signup": Meaning("signup"),
    "registration": Meaning("signup"),
    "install": Meaning("install"),
    "rebill": Meaning("rebill"),
    "restate": Meaning(adjustment="restate"),
    "adjusted": Meaning(adjustment="restate"),
}
"""Word (lower case) -> meaning."""


def meaning_of(word: str, action: str) -> Meaning:
    """What a postback's `status` means, where it states `action` ('' where it does not). Raises `Refused`.

    Without a word it is a sale, as the field has it; but then nothing is said of its state, so that a message that
    comes again does not approve what was rejected meanwhile. A lead of another action than ``lead`` is one that is
    not sold yet: pending.
    """
    meaning = STATUSES.get(word.strip().lower()) if word else _SOLD
    if meaning is None:
        raise Refused("schema", f"status: {word[:40]!r} is none of {', '.join(STATUSES)}")
    if meaning.action == "lead" and action not in {"", "lead"}:
        return Meaning(action, "pending")
    return meaning._replace(action=action) if action else meaning
