"""ClickHouse's views in the form in which the reference has its rows: integers for money and times, zeros left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

KPIS = (
    "conversions",
    "revenue",
    "conversions_pending",
    "revenue_pending",
    "conversions_rejected",
    "revenue_rejected",
)
DIMENSIONS = "intDiv(toUnixTimestamp(minute), 60), site, channel, campaign, partner, variant, audience, currency"


def _integer(value: object) -> object:
    """Micros or millionths of a Decimal; anything else as it is."""
    return int(value.scaleb(6)) if isinstance(value, Decimal) else value


@dataclass
class View:
    """One view: what it should show, and how to ask for it and read an answer's row as (key, value)."""

    name: str
    expected: dict
    statement: str
    row: Callable[[tuple], tuple[tuple, object]]

    def read(self, client, sites) -> tuple[dict, dict[tuple, int]]:
        """Its rows of some sites, and keys that are there more than once."""
        rows = client.query(self.statement, parameters={"sites": list(sites)}).result_rows
        found = [self.row(tuple(_integer(value) for value in row)) for row in rows]
        times = Counter(key for key, _ in found)
        return {key: value for key, value in found if value}, {key: n for key, n in times.items() if n > 1}


def touches_view(expected: dict) -> View:
    """All touches by (site, visitor, event id)."""
    names = ("type", "time", "channel", "source", "medium", "campaign", "partner", "internal", "cost", "currency")
    return View(
        "touches",
        expected,
        "SELECT site, visitor_id, event_id, type, toUnixTimestamp64Milli(time), channel, source, medium, campaign,"
        " partner, internal, cost, currency, valid, invalid_reasons"
        " FROM touches WHERE site IN {sites:Array(String)}",
        lambda row: (
            tuple(row[:3]),
            dict(zip(names, row[3:13], strict=True)) | {"valid": row[13], "reasons": sorted(row[14])},
        ),
    )


def conversions(expected: dict, versions: dict[str, int]) -> View:
    """All conversions by id; `versions`: how often each was attributed, which is history, but Kafka's."""
    names = ("site", "visitor_id", "time", "action", "order_id", "status", "currency", "value", "value_reported")
    return View(
        "conversions",
        {key: {name: row[name] for name in names} | {"version": versions.get(key, 0)} for key, row in expected.items()},
        "SELECT conversion_id, site, visitor_id, toUnixTimestamp64Milli(time), action, order_id, status, currency,"
        " value, value_reported, version FROM conversions WHERE site IN {sites:Array(String)}",
        lambda row: (row[0], dict(zip((*names, "version"), row[1:], strict=True))),
    )


def facts_view(facts: set[tuple]) -> View:
    """All events that tell of conversions, by (site, conversion, event id)."""
    return View(
        "facts",
        dict.fromkeys(facts, 1),
        "SELECT site, conversion_id, event_id FROM facts WHERE site IN {sites:Array(String)}",
        lambda row: (row, 1),
    )


def credits(expected: dict) -> View:  # noqa: A001 - the view's name
    """All credits by (conversion, model, touch): weight, value, channel and campaign."""
    shown = {}
    for name, row in expected.items():
        touches = {touch[0]: touch for touch in row["touches"]}
        for model, listed in row["credits"].items():
            for touch_id, weight, value in listed:
                touch = touches[touch_id]
                shown[name, model, touch_id] = (touch[1], weight, value, touch[3], touch[6])
    return View(
        "credits",
        shown,
        "SELECT conversion_id, model, touch_id, touch_type, weight, value, channel, campaign"
        " FROM credits WHERE site IN {sites:Array(String)}",
        lambda row: (tuple(row[:3]), tuple(row[3:])),
    )


def traffic_view(expected: dict) -> View:
    """Traffic by its dimensions."""
    names = ("impressions", "clicks", "landings", "invalid", "cost")
    return View(
        "traffic",
        expected,
        f"SELECT {DIMENSIONS}, impressions, clicks, landings, invalid, cost"
        " FROM traffic WHERE site IN {sites:Array(String)}",
        lambda row: (tuple(row[:8]), _shown(names, row[8:])),
    )


def spend_view(expected: dict) -> View:
    """Stated costs by all that is stated, an hour a row; two statements may say the same."""
    names = ("cost", "clicks")
    dimensions = "site, campaign, event_id, channel, partner, source, medium, ad_group, ad, variant, currency"
    return View(
        "spend",
        expected,
        f"SELECT {dimensions}, intDiv(toUnixTimestamp(minute), 60) AS place, sum(s.cost), sum(s.clicks)"
        f" FROM spend AS s WHERE site IN {{sites:Array(String)}} GROUP BY {dimensions}, place",
        lambda row: (tuple(row[:12]), _shown(names, row[12:])),
    )


def kpis_view(expected: dict) -> View:
    """Conversions and money by model and dimensions."""
    return View(
        "kpis",
        expected,
        f"SELECT model, {DIMENSIONS}, {', '.join(KPIS)} FROM kpis WHERE site IN {{sites:Array(String)}}",
        lambda row: (tuple(row[:9]), _shown(KPIS, row[9:])),
    )


def letters_view(client) -> Counter:
    """(topic, payload, reason) of all dead letters, and how often."""
    rows = client.query("SELECT topic, hex(payload), reason FROM dead_letters").result_rows
    return Counter((topic, bytes.fromhex(payload), reason) for topic, payload, reason in rows)


def _shown(names, numbers) -> dict:
    return {name: int(number) for name, number in zip(names, numbers, strict=True) if number}
