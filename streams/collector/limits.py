"""Rate limits: how many requests an address or a key may make, and how long it has to wait.

Rule: memory is bounded, whoever sends from however many addresses. A limit is one number a sender (the moment at which
all that it did is paid off: the "generic cell rate algorithm", which is a token bucket without the bucket), and of too
many senders those are forgotten first that owe least. No clock: the moment is an argument.
"""

from __future__ import annotations

from typing import Final

BURST_S: Final = 10.0
"""A sender that was quiet may make at once what it may make in so many seconds."""
MAX_SENDERS: Final = 100_000
"""As many are remembered, in some 15 MB."""


class Limiter:
    """At most `rate` requests a second from each sender, with a burst of ten seconds' worth; 0: no limit."""

    def __init__(self, rate: float, *, burst_s: float = BURST_S, max_senders: int = MAX_SENDERS) -> None:
        self._step = 1 / rate if rate else 0.0
        self._burst = max(burst_s, self._step)
        self._max = max_senders
        self._paid: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._paid)

    def take(self, sender: str, now: float, cost: float = 1.0) -> float:
        """Let a request of `sender` in at `now` (seconds) and return 0, or return the seconds to wait."""
        if not self._step:
            return 0.0
        debt = max(self._paid.get(sender, now), now) + cost * self._step
        late = debt - now - self._burst
        if late > 1e-9:
            return late
        self._note(sender, debt, now)
        return 0.0

    def look(self, sender: str, now: float) -> float:
        """What `take` would say, of a sender who is charged only if it fails; nothing is taken."""
        late = self._paid.get(sender, now) + self._step - now - self._burst
        return late if self._step and late > 1e-9 else 0.0

    def fine(self, sender: str, now: float, cost: float) -> None:
        """Charge `sender` for a failure, whatever it owes already.

        The next one has to wait, and no longer than for this one: the address may get another owner.
        """
        if self._step:
            debt = max(self._paid.get(sender, now), now) + cost * self._step
            self._note(sender, min(debt, now + self._burst + cost * self._step), now)

    def _note(self, sender: str, debt: float, now: float) -> None:
        self._paid[sender] = debt
        if len(self._paid) > self._max:
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Down to half: those who owe nothing, then those who owe least."""
        owing = {sender: debt for sender, debt in self._paid.items() if debt > now}
        if len(owing) > self._max // 2:
            kept = sorted(owing.items(), key=lambda pair: pair[1], reverse=True)[: self._max // 2]
            owing = dict(kept)
        self._paid = owing
