"""What every route has at hand: where events are kept, who counts them, the keys, the rules and the clock.

Rule: an event is counted when it is kept, and what is refused is kept too. Nothing here knows a route.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from schemas.errors import Refused
from streams.collector.intake import Intake, Origin, dead_letter, doubts, refused_value, take_event
from streams.collector.messages import Response, json_response
from streams.collector.networks import Clients
from streams.collector.repeats import Repeats
from streams.collector.validity import doubt_of_headers, verdict_on
from streams.collector.visitors import no_cookie, opted_out, visitor_cookie

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemas.reasons import Reason
    from streams.collector.campaigns import CampaignBook
    from streams.collector.eventlog import EventLog, Record
    from streams.collector.gate import Gate
    from streams.collector.messages import Request
    from streams.collector.metrics import Metrics
    from streams.collector.rules import Rules


class Desk:
    """The means of one collector; `keys` are the signing keys of click ids, the first one signs."""

    def __init__(
        self,
        events: EventLog,
        campaigns: CampaignBook,
        metrics: Metrics,
        *,
        keys: Sequence[tuple[str, bytes]],
        rules: Rules,
        gate: Gate,
        clock: Callable[[], int],
    ) -> None:
        self.events = events
        self.campaigns = campaigns
        self.metrics = metrics
        self.keys = keys
        self.rules = rules
        self.clients = Clients(rules.proxies, rules.rate_exempt, rules.keep_ip)
        self.gate = gate
        self.clock = clock
        self.secret = keys[0][1]
        self.repeats = Repeats()

    def origin(self, request: Request) -> Origin:
        """Where a request comes from, and what it says of itself."""
        headers = request.headers
        return Origin(
            self.clock(),
            request.sender.kept,
            headers.get("user-agent"),
            opted_out(headers),
            doubt_of_headers(headers),
            self.rules.keep_ip,
            request.keyed,
        )

    async def keep(self, intake: Intake) -> None:
        """Keep all that a body held, and count it. Raises `Unavailable`."""
        records, verdicts, dead_letters, rejected = intake
        if verdicts or dead_letters:
            await self.events.append([*records, *verdicts, *dead_letters])
            self._count(verdicts)
        elif records:
            await self.events.append(records)
        self._count(records)
        for refused in rejected:
            self.count_refused(refused["reason"])

    async def keep_event(self, data: dict[str, Any], origin: Origin, *, named: bool) -> Refused | None:
        """Keep one event that a route has put together; what is wrong with it is kept too, and returned.

        `named`: the sender named the visitor itself. Raises `Unavailable`.
        """
        stated = dict(data)
        try:
            record = take_event(data, origin, self.secret)
        except Refused as refusal:
            await self.refuse(refused_value(orjson.dumps(stated), stated, origin, self.secret), refusal, origin)
            return refusal
        reasons = doubts(data, origin, named=named)
        verdicts = [verdict_on(data, reasons, origin.received_at)] if reasons else []
        await self.keep(Intake([record], verdicts, [], []))
        return None

    async def refuse(self, value: bytes, refusal: Refused, origin: Origin) -> None:
        """Keep what is refused as a whole. Raises `Unavailable`."""
        await self.events.append([dead_letter(value, refusal, origin)])
        self.count_refused(refusal.reason)

    def remember(self, visitor_id: str, request: Request) -> tuple[str, str]:
        """The header that has the browser remember a visitor."""
        secure = self.clients.is_https(request)
        return visitor_cookie(visitor_id, domain=self.rules.cookie_domain, secure=secure)

    def forget(self, request: Request) -> tuple[str, str]:
        """The header that has the browser forget the visitor."""
        return no_cookie(domain=self.rules.cookie_domain, secure=self.clients.is_https(request))

    def _count(self, records: list[Record]) -> None:
        for record in records:
            self.metrics.accepted[record.topic].inc()

    def count_refused(self, reason: Reason) -> None:
        """Count what is refused and kept."""
        self.metrics.refused.inc()
        self.metrics.dead_letters[reason].inc()


def refusal_response(status: int, refusal: Refused) -> Response:
    """The answer that says why a request as a whole is refused."""
    return json_response(status, {"error": refusal.detail, "reason": refusal.reason})
