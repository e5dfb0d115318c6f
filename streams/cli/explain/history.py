"""A conversion's history: its versions one after the other, and what each changed.

Rule: `number` counts as `version` in the view ``conversions``: the sum over the visitors that it belonged to. Where the
sink did not see a version (the topic keeps the last of a key only), the next one says how many are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Record = dict[str, Any]
_COMPARED = ("visitor_id", "conversion_time", "status", "value_micros", "value_reported_micros", "currency")


class Change(NamedTuple):
    """A field that differs from the version before."""

    what: str
    before: Any
    now: Any


@dataclass(frozen=True, slots=True)
class Version:
    """A version: the attribution's record, what it changed, and how many versions before it were never seen."""

    number: int
    record: Record
    changes: list[Change]
    unseen: int


def history(records: Iterable[Record]) -> list[Version]:
    """Versions of attribution records in the order in which they held (`sinks.clickhouse.conversions.versions`)."""
    found: list[Version] = []
    counted: dict[tuple[int, str], int] = {}
    before: Record | None = None
    for record in records:
        key = (record["generation"], record["visitor_id"])
        unseen = record["version"] - counted.get(key, 0) - 1
        counted[key] = record["version"]
        number = sum(count for (generation, _), count in counted.items() if generation == record["generation"])
        found.append(Version(number, record, [] if before is None else _changes(before, record), unseen))
        before = record
    return found


def credit_by_channel(record: Record) -> dict[str, dict[str, int]]:
    """Model -> channel -> weight in millionths."""
    found: dict[str, dict[str, int]] = {}
    for model, listed in record["credits"].items():
        shares = found.setdefault(model, {})
        for place, weight, _ in listed:
            channel = record["touches"][place]["channel"]
            shares[channel] = shares.get(channel, 0) + weight
    return found


def _changes(before: Record, now: Record) -> list[Change]:
    if now["withdrawn"]:
        return [Change("withdrawn", before["withdrawn"], True)]
    changes = [Change(name, before[name], now[name]) for name in _COMPARED if before[name] != now[name]]
    ids = [[touch["touch_id"] for touch in record["touches"] if touch["touch_id"]] for record in (before, now)]
    if ids[0] != ids[1]:
        changes.append(Change("touches", ids[0], ids[1]))
    classified = _classified_again(before, now)
    if classified[0]:
        changes.append(Change("classification", *classified))
    if any(told(before) != told(now) for told in (credit_by_touch, credit_by_channel)):
        changes.append(Change("credits", credit_by_channel(before), credit_by_channel(now)))
    return changes


def _classified_again(before: Record, now: Record) -> tuple[Record, Record]:
    """Of the touches in both versions, what is said of one otherwise now: touch id -> field -> value, then and now."""
    known = {touch["touch_id"]: touch for touch in before["touches"]}
    then: Record = {}
    since: Record = {}
    for touch in now["touches"]:
        old = known.get(touch["touch_id"], touch)
        differing = [name for name in touch if touch[name] != old.get(name)]
        if differing:
            then[touch["touch_id"]] = {name: old.get(name, "") for name in differing}
            since[touch["touch_id"]] = {name: touch[name] for name in differing}
    return then, since


def credit_by_touch(record: Record) -> dict[str, dict[str, int]]:
    """Model -> touch id -> weight in millionths."""
    return {
        model: {record["touches"][place]["touch_id"]: weight for place, weight, _ in listed}
        for model, listed in record["credits"].items()
    }
