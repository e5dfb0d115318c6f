"""All that is known of a conversion, read and judged: the story that ``headwater explain`` tells.

Rule: the journey is judged by `streams.core.explain` over the touches and the registry as ClickHouse has them; credits
are those of the attribution in force, never computed anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.errors import ConfigurationError
from sinks.clickhouse import conversions, registry
from streams.cli.explain.history import Version, history
from streams.core.explain import Judged, judge
from streams.core.journeys import Journey
from streams.core.registry import Registry

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from clickhouse_connect.driver.client import Client

    from sinks.clickhouse.conversions import Named

Record = dict[str, Any]
MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Told:
    """A touch of the story: as judged, its place among the credited touches (None: it is none), its credits by model.

    `number` counts the journey's touches from 1. `kept` is False where only the attribution still knows the touch.
    """

    number: int
    judged: Judged
    place: int | None
    credits: dict[str, tuple[int, int]]
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Story:
    """A conversion: its attribution, facts, touches and versions; `policy`: how its site treats repetitions.

    `agrees`: whether the journey as it is stored, judged by the registry of now, has the candidates that were credited.
    """

    named: Named
    zone: ZoneInfo
    attribution: Record
    facts: list[Record]
    touches: list[Told]
    versions: list[Version]
    policy: str
    agrees: bool
    notes: list[str] = field(default_factory=list)

    @property
    def candidates(self) -> list[Record]:
        """The credited touches, as the attribution lists them; none where it was credited to nobody."""
        return [touch for touch in self.attribution["touches"] if touch["touch_id"]]


def read_story(client: Client, name: str, site: str = "", action: str = "", timezone: str = "") -> Story:
    """The story of the conversion of that id or order id; raises `ConfigurationError` where there is not just one."""
    named = _only(conversions.find(client, name, site, action), name, site, action)
    attribution = conversions.attribution(client, named)
    if attribution is None:
        raise ConfigurationError(f"{name}: only adjustments are known so far; it counts once its conversion is told")
    entries = registry.entries(client)
    rules = Registry(entries)
    here = rules.site(named.site, attribution["conversion_time"])
    visitor = attribution["visitor_id"]
    stored = conversions.touches(client, named.site, visitor) if visitor else []
    journey = Journey(named.site, stored, rules)
    facts = conversions.facts(client, named)
    naming = [fact["time"] for fact in facts if fact["type"] == "conversion" and fact.get("visitor_id") == visitor]
    judged = judge(journey, attribution["conversion_time"], min(naming, default=0))
    credited = [touch["touch_id"] for touch in attribution["touches"] if touch["touch_id"]]
    found = [one.touch["event_id"] for one in sorted((one for one in judged if one.place is not None), key=_place)]
    touches = _told(judged, attribution)
    return Story(
        named=named,
        zone=registry.zone(timezone or here.timezone),
        attribution=attribution,
        facts=facts,
        touches=touches,
        versions=history(conversions.versions(client, named)),
        policy=here.policy(named.action),
        agrees=found == credited,
        notes=_notes(attribution, touches, here.policy(named.action), agrees=found == credited, seen=bool(stored)),
    )


def _only(found: list[Named], name: str, site: str, action: str) -> Named:
    if not found:
        of = "".join(f" {what} {value!r}" for what, value in (("of site", site), ("of action", action)) if value)
        raise ConfigurationError(f"there is no conversion of id or order id {name!r}{of}")
    if len(found) > 1:
        known = ", ".join(f"{one.site} {one.action}" for one in found[:MOST_NAMED])
        more = "..." if len(found) > MOST_NAMED else ""
        raise ConfigurationError(f"{len(found)} conversions are named {name!r} ({known}{more}): add --site or --action")
    return found[0]


def _place(one: Judged) -> int:
    return -1 if one.place is None else one.place


def _told(judged: list[Judged], attribution: Record) -> list[Told]:
    """Every touch with its credits; those that only the attribution knows among them, in order of time."""
    places = {touch["touch_id"]: place for place, touch in enumerate(attribution["touches"]) if touch["touch_id"]}
    credits_: dict[int, dict[str, tuple[int, int]]] = {}
    for model, listed in attribution["credits"].items():
        for place, weight, value in listed:
            credits_.setdefault(place, {})[model] = (weight, value)
    known = {one.touch["event_id"] for one in judged}
    all_: list[tuple[Judged, bool]] = [(one, True) for one in judged]
    for touch in attribution["touches"]:
        if touch["touch_id"] and touch["touch_id"] not in known:
            as_record = touch | {"event_id": touch["touch_id"], "valid": True, "invalid_reasons": []}
            all_.append((Judged(as_record, None), False))
    all_.sort(key=lambda pair: (pair[0].touch["time"], pair[0].touch["event_id"].encode()))
    found = []
    for number, (one, kept) in enumerate(all_, 1):
        place = places.get(one.touch["event_id"])
        found.append(Told(number, one, place, credits_.get(place, {}) if place is not None else {}, kept))
    return found


def _notes(attribution: Record, touches: list[Told], policy: str, *, agrees: bool, seen: bool) -> list[str]:
    notes = []
    if not attribution["visitor_id"]:
        notes.append("no event names its visitor yet: it is credited to Direct until one does (unmatched)")
    elif not any(touch["touch_id"] for touch in attribution["touches"]):
        notes.append("no touch of its visitor is a candidate: it is credited whole to Direct")
    status = attribution["status"]
    if status in {"rejected", "retracted"}:
        notes.append(f"it is {status}: it counts 0 and is worth 0, its credits stay listed")
    elif status == "duplicate":
        notes.append(f"an earlier conversion stands for it ({policy}): it counts 0 and is worth 0")
    elif status == "pending":
        notes.append("it is pending: it counts, and is shown apart")
    if attribution["withdrawn"]:
        notes.append("it moved to another visitor, whose record is on its way")
    if not agrees and seen:
        gone = sum(not told.kept for told in touches)
        if gone:
            notes.append(f"{gone} credited touches are older than touches are kept; the attribution still knows them")
        elif any(not told.judged.touch.get("received_at") for told in touches):
            notes.append("its touches were stored before all that judges them was kept: reasons may be missing")
        else:
            notes.append("its credits were made under other registry settings, or from touches still on their way here")
    return notes
