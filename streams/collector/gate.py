"""The gate before the routes: who is let in, and how often.

Rule: who presents a key is measured by the key, everyone else by the address; who presents a wrong one by the address
too, and it costs as much as many requests, so that nobody can try many. These failures are counted by themselves: a
server with a key does not wait for visitors that share its address. Health is never limited. Before a request's body
is read it is decided whether it is let in.
"""

from __future__ import annotations

import math
import time as clocks
from typing import TYPE_CHECKING, Final, Literal

import structlog

from streams.collector.keys import presented_key
from streams.collector.limits import Limiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.collector.messages import Request
    from streams.collector.rules import Rules

log = structlog.get_logger()

Entry = Literal["free", "open", "keyed", "partners", "metrics"]
"""How a route is entered: freely; by anyone, limited; with an API key; by partners, whom the route itself recognises;
from the networks that may read metrics."""
FINE: Final = 20.0
"""What a wrong key or signature costs, in requests."""
EVENT_BYTES: Final = 65_536
"""What a body may take for the price of one request: the largest event, or a hundred of the usual ones."""
METRICS_COST: Final = 10.0
"""What a look at the metrics costs, in requests: it takes as long."""


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
        self._failures = Limiter(rules.rate_per_ip)
        self._keys = Limiter(rules.rate_authenticated)
        self._said = -math.inf

    def enter(self, request: Request, entry: Entry) -> None:
        """Let `request`, whose client is known, in by `entry`. Raises `TurnedAway`."""
        if entry == "open":
            key = presented_key(request.headers) if self._rules.api_keys else None
            if key is None:
                request.keyed = not self._rules.api_keys
                self._take(self._addresses, request, 1.0)
            else:
                self._look_at_failures(request)
                request.key_name = self._named(request, key)
                self.admit(request.key_name)
        elif entry == "keyed":
            self._look_at_failures(request)
            self.admit(self._named(request, presented_key(request.headers)))
        elif entry == "partners":
            self._look_at_failures(request)
        elif entry == "metrics":
            if self._rules.metrics_networks and request.sender.address not in self._rules.metrics_networks:
                raise TurnedAway(404, "there is nothing at this address")
            self._take(self._addresses, request, METRICS_COST)

    def admit(self, name: str) -> None:
        """Count a request of whom a key or token names. Raises `TurnedAway`."""
        _wait(self._keys.take(name, self._clock()))

    def weigh(self, request: Request, size: int) -> None:
        """Count a large body, by its `size` in bytes, as the many requests that it could have been: the next one waits.

        Else one address could have a hundred times as much kept as its rate says.
        """
        cost = size / EVENT_BYTES
        if request.key_name:
            self._keys.fine(request.key_name, self._clock(), cost)
        elif not request.sender.exempt:
            self._addresses.fine(request.sender.crowd, self._clock(), cost)

    def charge(self, request: Request) -> None:
        """Count a request that can't be read far enough to name its sender: as a failure. Raises `TurnedAway`."""
        self._take(self._failures, request, 1.0)

    def reject(self, request: Request, message: str) -> TurnedAway:
        """What to answer a request whose key or signature is wrong; it is fined."""
        if not request.sender.exempt:
            self._failures.fine(request.sender.crowd, self._clock(), FINE)
        return TurnedAway(401, message, ("www-authenticate", "Bearer"))

    def _named(self, request: Request, key: str | None) -> str:
        name = self._rules.api_keys.find(key)
        if name is None:
            raise self.reject(request, "a key is needed: `Authorization: Bearer KEY`" if not key else "unknown key")
        return f"key {name}"

    def _take(self, limiter: Limiter, request: Request, cost: float) -> None:
        sender = request.sender
        if sender.exempt:
            self._look_for_proxy(request)
        else:
            self._hold(request, limiter.take(sender.crowd, self._clock(), cost))

    def _look_at_failures(self, request: Request) -> None:
        """Before a key is looked at: else it would be found out among many whether one of them is right."""
        sender = request.sender
        if not sender.exempt:
            self._hold(request, self._failures.look(sender.crowd, self._clock()))

    def _hold(self, request: Request, seconds: float) -> None:
        """Have an address wait."""
        if seconds:
            self._look_for_proxy(request)
        _wait(seconds)

    def _look_for_proxy(self, request: Request) -> None:
        """Say so, once a minute, where one limit, or none, may hold for all visitors behind a proxy."""
        if not request.sender.trusted and "x-forwarded-for" in request.headers:
            now = self._clock()
            if now >= self._said + 60:
                self._said = now
                log.warning("proxy_not_listed", network=request.sender.kept)


def _wait(seconds: float) -> None:
    if seconds:
        raise TurnedAway(429, "too many requests; wait a little", ("retry-after", str(math.ceil(seconds))))
