"""The check: is every acknowledged event there exactly once, and are all final rows those of an undisturbed run.

Rule: the undisturbed run is the reference model over what was acknowledged, crowd by crowd; Kafka's committed records
and ClickHouse's views are each held against it, to the micro. Only sites that were told of since the last check are
looked at, at the end all of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.settings import Settings
from sinks.clickhouse.connection import connect
from streams.core.ids import conversion_id
from streams.core.panes import KPIS
from tests.faults.crowds import Group, undisturbed
from tests.faults.load import Load
from tests.faults.observed import Observed, parsed
from tests.faults.spend import shown_spend, shown_traffic, statements
from tests.faults.verdict import Verdict, compare, differences, summed
from tests.faults.views import View, facts_view, kpis_view, letters_view, spend_view, touches_view, traffic_view
from tests.faults.views import conversions as conversions_view
from tests.faults.views import credits as credits_view
from tests.faults.walks import look_up
from tests.reference.compare import core_conversion, core_touch, expected_conversions, expected_touches
from tests.reference.events import identity
from tests.reference.model import Result

COUNTED = ("impressions", "clicks", "landings", "invalid")


@dataclass
class Deleted:
    """What a fault deleted from the input topics before it was read: ranges, and the events in them."""

    ranges: list[tuple[str, int, int, int]] = field(default_factory=list)
    """(topic, partition, from, to): `to` is where the log begins since."""
    events: set[tuple] = field(default_factory=set)
    garbage: set[bytes] = field(default_factory=set)

    def gone(self, observed: Observed) -> set[tuple]:
        """Identities of which no copy was left to be read."""
        return {
            event
            for event in self.events
            if all(
                any((t, p) == (topic, place) and start <= offset < end for t, p, start, end in self.ranges)
                for topic, place, offset in observed.places.get(event, ())
            )
        }


class Known(NamedTuple):
    """What a group comes to, as of so many events; `refused` by identity."""

    state: tuple
    result: Result
    refused: set[tuple]


class Judge:
    """Compares; remembers what each group comes to."""

    def __init__(self, load: Load, observed: Observed, deleted: Deleted) -> None:
        self._load = load
        self._observed = observed
        self._deleted = deleted
        self._known: dict[int, Known] = {}
        self._checked: dict[int, int] = {}

    def unchecked(self) -> list[Group]:
        """Groups that were told of since they were last found right."""
        return [group for group in self._load.groups if self._checked.get(group.number) != len(group.told)]

    def judge(self, settings: Settings | None, *, everything: bool = False) -> Verdict:
        """Hold what the last look saw, and ClickHouse, against the undisturbed run; raises where ClickHouse is away.

        Without `settings` ClickHouse is left out.
        """
        verdict = Verdict(*look_up(self._load.walks, self._observed.recorded))
        some = self._load.groups if everything else self.unchecked()
        sites = sorted({site for group in some for site in group.sites})
        groups = [group for group in self._load.groups if group.sites & set(sites)]
        gone = self._deleted.gone(self._observed)
        results = [self._result(group, gone) for group in groups]
        self._events(verdict, groups, gone)
        views = self._kafka(verdict, results, set(sites))
        if settings is not None:
            self._clickhouse(verdict, settings, views, sites)
        if verdict.right:
            self._checked |= {group.number: len(group.told) for group in groups}
        return verdict

    def _clickhouse(self, verdict: Verdict, settings: Settings, views: list[View], sites: list[str]) -> None:
        with connect(settings) as client:
            for view in views:
                found, repeated = view.read(client, sites)
                verdict.doubled += [f"ClickHouse, {view.name}: {key} is there {n} times" for key, n in repeated.items()]
                compare(verdict, f"ClickHouse, {view.name}", view.expected, found)
            letters = Counter()
            for (topic, _, _, payload, reason), count in self._observed.letters.items():
                letters[topic, payload, reason] += count
            compare(verdict, "ClickHouse, dead_letters", letters, letters_view(client))

    def _result(self, group: Group, gone: set[tuple]) -> Result:
        mine = frozenset(identity(event) for event in group.told) & gone
        state = (len(group.told), mine)
        known = self._known.get(group.number)
        if known is None or known.state != state:
            known = self._known[group.number] = Known(state, *undisturbed(group, mine))
        return known.result

    def _events(self, verdict: Verdict, groups: list[Group], gone: set[tuple]) -> None:
        """Every acknowledged event is in one place, and in one only."""
        refused = self._refused(verdict)
        for group in groups:
            turned_away = self._known[group.number].refused
            for name, event in {identity(event): event for event in group.told}.items():
                if name in gone:
                    continue
                letters, posted = refused.get(name, (0, 0))
                if name not in turned_away:
                    if letters < group.collisions[name]:
                        verdict.lost.append(f"{name}: in dead-letters too seldom")
                    elif letters > group.collisions[name]:
                        verdict.doubled.append(f"{name}: in dead-letters though it was to be accepted")
                    if not _is_kept(event, self._observed):
                        verdict.lost.append(f"{name}: in no output")
                elif not letters:
                    verdict.lost.append(f"{name}: not in dead-letters")
                elif posted > self._load.attempts[name]:
                    verdict.doubled.append(f"{name}: more dead letters than it was sent")

    def _refused(self, verdict: Verdict) -> dict[tuple, tuple[int, int]]:
        """Identity -> (dead letters, those of them that the collector wrote); garbage is looked at at once."""
        found: Counter[tuple] = Counter()
        posted: Counter[tuple] = Counter()
        payloads = set()
        for (topic, partition, offset, payload, _), count in self._observed.letters.items():
            payloads.add(payload)
            event = parsed(payload)
            if event is not None:
                found[identity(event)] += count
                posted[identity(event)] += count * (topic == "http")
            if topic != "http" and count > 1:
                verdict.doubled.append(f"dead letter of {topic}[{partition}]@{offset}: {count} times")
        for payload in self._load.garbage - self._deleted.garbage - payloads:
            verdict.lost.append(f"garbage {payload!r}: not in dead-letters")
        return {name: (count, posted[name]) for name, count in found.items()}

    def _kafka(self, verdict: Verdict, results: list[Result], sites: set[str]) -> list[View]:
        """Final rows of Kafka's outputs; returns what ClickHouse should show."""
        observed = self._observed
        touches = {key: row for result in results for key, row in expected_touches(result).items()}
        orders = {key: row for result in results for key, row in expected_conversions(result).items()}
        found = {key: core_touch(row) for key, row in observed.shown_touches(sites).items()}
        verdict.wrong += differences("touches", touches, found)
        attributions, wrong = observed.conversions(sites)
        verdict.wrong += wrong + observed.jumps
        for row in attributions.values():
            for model, listed in row["credits"].items():
                if (sum(w for _, w, _ in listed), sum(v for _, _, v in listed)) != (1_000_000, row["value_micros"]):
                    verdict.wrong.append(f"credits of {row['conversion_id']} under {model} do not sum")
        verdict.wrong += differences(
            "attributions", orders, {key: core_conversion(row) for key, row in attributions.items()}
        )
        traffic = summed(result.traffic for result in results)
        kpis = summed(result.kpis for result in results)
        seen, credited = _panes(observed, sites)
        for key in traffic.keys() | seen.keys():
            for name in COUNTED:
                surplus = seen.get(key, {}).get(name, 0) - traffic.get(key, {}).get(name, 0)
                if surplus > 0:
                    verdict.doubled.append(f"panes: {surplus} {name} too many at {key}")
                elif surplus < 0:
                    verdict.lost.append(f"panes: {-surplus} {name} missing at {key}")
        verdict.wrong += differences("panes, traffic", traffic, seen)
        verdict.wrong += differences("panes, kpis", kpis, credited)
        spent = [record for record in observed.spend.values() if record["site"] in sites]
        stated, wrong = statements(spent)
        verdict.wrong += wrong
        verdict.wrong += differences(
            "spend", {key: row for result in results for key, row in result.spend.items()}, stated
        )
        return [
            touches_view(touches),
            conversions_view(orders, {name: observed.version(row) for name, row in attributions.items()}),
            facts_view({fact for fact in observed.facts if fact[0] in sites}),
            credits_view(orders),
            traffic_view(summed(shown_traffic(result) for result in results)),
            spend_view(summed(shown_spend(result) for result in results)),
            kpis_view(kpis),
        ]


def _is_kept(event: dict, observed: Observed) -> bool:
    if event["type"] == "cost":
        return identity(event) in observed.stated
    if event["type"] not in {"conversion", "adjustment"}:
        return (event["site"], event["visitor_id"], event["event_id"]) in observed.touches
    about = event.get("conversion_event_id", event["event_id"])
    name = conversion_id(event["site"], event["action"], event.get("order_id", ""), about)
    return (event["site"], name, event["event_id"]) in observed.facts


def _panes(observed: Observed, sites: set[str]) -> tuple[dict, dict]:
    """(traffic, kpis) of some sites as the reference has them: summed over partitions."""
    names = ("minute", "site", "channel", "campaign", "partner", "variant", "audience", "currency")
    traffic, kpis = [], []
    for record in observed.panes.values():
        if record["site"] not in sites:
            continue
        key = tuple(record[name] for name in names)
        traffic.append({key: {name: record[name] for name in COUNTED} | {"cost": record["cost_micros"]}})
        for model, numbers in record["models"].items():
            kpis.append({(model, *key): dict(zip(KPIS, numbers, strict=True))})
    return summed(traffic), summed(kpis)
