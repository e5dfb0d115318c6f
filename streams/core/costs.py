"""The step from ``costs`` to ``spend``: statements of ad spend, restated by period.

Rule: a statement about the same dimensions and period replaces the earlier one (by time, then event id); its cost is
spread over its hours exactly (contract, section 2).

What is remembered is what was stated, in its own words: of each set of dimensions and each day, or span of hours, the
latest statement. What that comes to - which hours a day has, which campaign a spelling names, which channel that is -
the registry says, and so which statements are about the same; of these the latest holds and the others count nothing,
until the registry says otherwise. A statement's place in the state never depends on the registry.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import orjson

from schemas.errors import Refused
from streams.core.addresses import decoded
from streams.core.channels import classify_statement
from streams.core.events import accept, moment
from streams.core.ids import partition_of
from streams.core.money import split
from streams.core.outcome import Outcome, dumps
from streams.core.state import SPEND_PREFIX, spend_key, spend_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schemas.events import Event
    from streams.core.outcome import Record, Scope
    from streams.core.registry import Registry
    from streams.core.state import View

Statement = dict[str, Any]
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
MAX_RESTATED: Final = 5_000
"""So many events of one statement always fit into its record."""
_EPOCH: Final = date(1970, 1, 1)
_NAMES: Final = ("campaign", "source", "medium", "channel")
"""Fields that are trimmed and percent-decoded, as those of touches are."""
_AS_STATED: Final = ("ad_group", "ad", "variant")
_PERIOD: Final = ("date", "from", "to")
_AMOUNTS: Final = ("cost_micros", "impressions", "clicks")
_SAID: Final = (*_NAMES, *_AS_STATED, *_PERIOD, "currency", *_AMOUNTS)
"""What a record keeps as it was stated, beside what it comes to."""


def apply_costs(records: Sequence[Record], view: View, scope: Scope) -> Outcome:
    """What the records of ``costs`` change: accepted statements, absolute."""
    outcome = Outcome("costs", scope, read=len(records))
    statements = Statements(view, scope.registry)
    for record in records:
        try:
            event = _normal(accept(record.value, record.timestamp, "costs"))
            place = partition_of(event["campaign"].lower(), scope.partitions)
            if place != scope.partition:
                outcome.move(record, place)
                continue
            fresh = statements.take(event)
        except Refused as error:
            outcome.refuse(record, error)
            continue
        if fresh:
            outcome.accepted += 1
            outcome.latest = max(outcome.latest, event["received_at"])
        else:
            outcome.duplicate += 1
    statements.settle(outcome)
    return outcome


def period_of(said: Statement, zone: str) -> tuple[int, int]:
    """The period in ms: ``from`` and ``to`` as stated, or the day ``date`` in a time zone."""
    if "date" not in said:
        return said["from"], said["to"]
    day = datetime.fromisoformat(said["date"])
    start, end = (
        round(midnight.replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000) for midnight in (day, day + timedelta(days=1))
    )
    # Islands that crossed the date line have a day without hours.
    return start, max(end, start + HOUR_MS)


def spread(amount: int, start: int, end: int) -> list[tuple[int, int]]:
    """`amount` over the hours (since the epoch) that [start, end) in ms touches, in proportion, exactly."""
    hours = list(range(start // HOUR_MS, (end - 1) // HOUR_MS + 1))
    overlaps = [min(end, (hour + 1) * HOUR_MS) - max(start, hour * HOUR_MS) for hour in hours]
    return list(zip(hours, split(amount, overlaps), strict=True))


class Statements:
    """Statements in the state and how a batch, or the registry, changes them: `take` or `look_at`, then `settle`."""

    def __init__(self, view: View, registry: Registry) -> None:
        self._view = view
        self._registry = registry
        self._stored: dict[bytes, Statement] = {}
        """Records by state key, as they are in the state."""
        self._known: dict[bytes, dict[bytes, Statement]] = {}
        """Statements by state key, as the batch has them, by what these keys begin with."""
        self._touched: dict[bytes, Statement] = {}

    def take(self, event: Event) -> bool:
        """Add a statement; False where it is known already. Raises `Refused`."""
        statement = _statement(event)
        key = _state_key(statement)
        known = self._beginning(key[:SPEND_PREFIX])
        old = known.get(key)
        events: dict[str, str] = old["events"] if old else {}
        content = events.get(event["event_id"])
        if content is not None:
            if content == event["fp"]:
                return False
            raise Refused("id_collision", f"event_id {event['event_id']} came before with other content")
        if len(events) == MAX_RESTATED:
            raise Refused("too_large", f"the statement was restated {MAX_RESTATED:,} times; there is no room for more")
        latest = statement if old is None or moment(old) < moment(statement) else old
        known[key] = self._touched[key] = latest | {"events": events | {event["event_id"]: event["fp"]}}
        return True

    def look_at(self, key: bytes, record: Statement) -> None:
        """Take a record of the state up again, since the registry has changed."""
        if "replaced" in record:  # format 1 did not keep what was stated: such a record stays as it is
            self._touched[key] = self._stored[key] = record

    def settle(self, outcome: Outcome) -> None:
        """Emit what differs: of the statements at hand, and of those that are, or were, about the same."""
        places: dict[tuple[bytes, int], None] = {}
        for key, statement in self._touched.items():
            group = _group_of(statement)
            places[group, self._resolved(statement)["from"]] = None
            if key in self._stored:
                places[group, self._stored[key]["from"]] = None
        changed: dict[bytes, Statement] = {}
        for group, start in places:
            changed |= {key: record for key, record in self._decided(group, start) if record != self._stored.get(key)}
        for key, record in changed.items():
            outcome.state("spend", _identity(record), key, dumps(record))

    def _beginning(self, prefix: bytes) -> dict[bytes, Statement]:
        found = self._known.get(prefix)
        if found is None:
            found = self._known[prefix] = {key: orjson.loads(value) for key, value in self._view.scan(prefix)}
            self._stored |= found
        return found

    def _decided(self, group: bytes, start: int) -> Iterator[tuple[bytes, Statement]]:
        """The records of a group's statements whose period begins at `start`."""
        about: dict[tuple[str, str, int], list[tuple[bytes, Statement]]] = {}
        # East of Greenwich a day begins on the one before, in UTC.
        for day in (start // DAY_MS, start // DAY_MS + 1):
            for key, statement in self._beginning(spend_prefix(day, group)).items():
                record = self._resolved(statement)
                if record["from"] == start:
                    about.setdefault((record["campaign"], record["channel"], record["to"]), []).append((key, record))
        for same in about.values():
            holding = max(same, key=lambda one: (*moment(one[1]), one[0]))
            yield from ((key, _counted(record) if key == holding[0] else _replaced(record)) for key, record in same)

    def _resolved(self, statement: Statement) -> Statement:
        """The record of a statement under the registry in force, but for what counts of it."""
        site, time, said = statement["site"], statement["time"], statement["said"]
        settings = self._registry.site(site, time)
        start, end = period_of(said, settings.timezone)
        return {
            "site": site,
            **classify_statement(said, site, start, self._registry),
            **{name: said.get(name, "") for name in _AS_STATED},
            "from": start,
            "to": end,
            "currency": said.get("currency") or settings.currency,
            "time": time,
            "event_id": statement["event_id"],
            "events": statement["events"],
            "said": said,
        }


def _normal(event: Event) -> Event:
    """Bring the names that touches state too into the same form, in place. Raises `Refused`."""
    for name in _NAMES:
        if name in event:
            event[name] = decoded(event[name])
    if not event["campaign"]:
        raise Refused("schema", "campaign: blank")
    return event


def _statement(event: Event) -> Statement:
    said = {name: event[name] for name in _SAID if event.get(name, "") != ""}
    return {name: event[name] for name in ("site", "time", "event_id")} | {"said": said}


def _dimensions(statement: Statement) -> list[str]:
    return [statement["site"], *(statement["said"].get(name, "") for name in (*_NAMES, *_AS_STATED))]


def _identity(statement: Statement) -> bytes:
    """What a later statement repeats that replaces this one whatever the registry says: the Kafka key."""
    said = statement["said"]
    return orjson.dumps([*_dimensions(statement), *(said[name] for name in _PERIOD if name in said)])


def _group_of(statement: Statement) -> bytes:
    """What statements that can be about the same have in common, but for the period."""
    site, campaign, source, medium, channel, *others = _dimensions(statement)
    return orjson.dumps([site, campaign.lower(), source, medium, channel.lower(), *others])


def _state_key(statement: Statement) -> bytes:
    said = statement["said"]
    day = (date.fromisoformat(said["date"]) - _EPOCH).days if "date" in said else said["from"] // DAY_MS
    return spend_key(day, _group_of(statement), _identity(statement))


def _counted(record: Statement) -> Statement:
    """A record whose statement holds."""
    amounts = [record["said"].get(name, 0) for name in _AMOUNTS]
    parts = zip(*(spread(amount, record["from"], record["to"]) for amount in amounts), strict=True)
    hours = [[part[0][0], *(share for _, share in part)] for part in parts]
    return record | dict(zip(_AMOUNTS, amounts, strict=True)) | {"hours": hours, "replaced": False}


def _replaced(record: Statement) -> Statement:
    """A record in whose place another one's statement holds: it counts nothing."""
    return record | dict.fromkeys(_AMOUNTS, 0) | {"hours": [], "replaced": True}
