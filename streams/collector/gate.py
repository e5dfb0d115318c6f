"""The gate before the routes: who is let in, and how often.

Rule: who presents a key is measured by the key, everyone else by the address; a wrong key costs as much as many
requests, so that nobody can try many. Health is never limited. Before a request's body is read it is decided whether
it is let in.
"""

from __future__ import annotations

import math
import time as clocks
from typing import TYPE_CHECKING, Final, Literal

from streams.collector.keys import presented_key
from streams.collector.limits import Limiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.collector.messages import Request
    from streams.collector.rules import Rules

Entry = Literal["free", "open", "keyed", "partners", "metrics"]
"""How a route is entered: freely; by anyone, limited; with an API key; by partners, whom the route itself recognises;
from the networks that may read metrics."""
FINE: Final = 20.0
"""What a wrong key or signature costs, in requests."""


class TurnedAway(Exception):  # noqa: N818 - an answer, not a failure of ours
    """A request is not let in: the status, a line for the sender, and the headers of the answer."""

    def __init__(self, status: int, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class Gate:
    """The limits of one collector; `clock` gives seconds that never go back."""

    def __init__(self, rules: Rules, clock: Callable[[], float] = clocks.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._addresses = Limiter(rules.rate_per_ip)
        self._keys = Limiter(rules.rate_authenticated)

    def enter(self, request: Request, entry: Entry) -> None:
        """Let `request`, whose client is known, in by `entry`. Raises `TurnedAway`."""
        if entry == "open":
            key = presented_key(request.headers) if self._rules.api_keys else None
            if key is None:
                self._take_address(request, 1.0)
            else:
                self.admit(self._named(request, key))
        elif entry == "keyed":
            self._take_address(request, 0.0)
            self.admit(self._named(request, presented_key(request.headers)))
        elif entry == "partners":
            self._take_address(request, 0.0)
        elif self._rules.metrics_networks and request.sender.address not in self._rules.metrics_networks:
            raise TurnedAway(404, "there is nothing at this address")

    def admit(self, name: str) -> None:
        """Count a request of whom a key or token names. Raises `TurnedAway`."""
        _wait(self._keys.take(name, self._clock()))

    def reject(self, request: Request, message: str) -> TurnedAway:
        """What to answer a request whose key or signature is wrong; it is fined."""
        if not request.sender.exempt:
            self._addresses.fine(request.sender.crowd, self._clock(), FINE)
        return TurnedAway(401, message, ("www-authenticate", "Bearer"))

    def _named(self, request: Request, key: str | None) -> str:
        name = self._rules.api_keys.find(key)
        if name is None:
            raise self.reject(request, "a key is needed: `Authorization: Bearer KEY`" if not key else "unknown key")
        return f"key {name}"

    def _take_address(self, request: Request, cost: float) -> None:
        sender = request.sender
        if not sender.exempt:
            _wait(self._addresses.take(sender.crowd, self._clock(), cost))


def _wait(seconds: float) -> None:
    if seconds:
        raise TurnedAway(429, "too many requests; wait a little", ("retry-after", str(math.ceil(seconds))))
