"""Stated costs: what Kafka's `spend` holds, and what ClickHouse's views make of it, as the reference has it.

Rule: where a statement covers a site, campaign and period, `cost` on touches there does not count; the channel, where a
statement names none, and the partner are those of most of the campaign's touches (sinks/clickhouse/migrations/005).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.reference.model import HOUR, MINUTE, Result

SAID = ("source", "medium", "channel", "ad_group", "ad", "variant")
HOLDS = ("event_id", "channel", "source", "medium", "currency")


def statements(records: Iterable[dict]) -> tuple[dict[tuple, dict], list[str]]:
    """Statements that hold as the reference has them, of the latest record of each; and what is wrong with them."""
    found: dict[tuple, dict] = {}
    wrong = []
    for record in records:
        if record["replaced"]:
            if any(record[name] for name in ("hours", "cost_micros", "impressions", "clicks")):
                wrong.append(f"spend: the replaced statement {record['event_id']} of {record['campaign']} counts")
            continue
        if sum(cost for _, cost, _, _ in record["hours"]) != record["cost_micros"]:
            wrong.append(f"spend: the hours of {record['event_id']} of {record['campaign']} do not sum")
        stated = [record["said"].get(name, "") for name in SAID]
        stated[2] = stated[2] and record["channel"]
        key = (record["site"], record["campaign"], *stated, record["from"], record["to"])
        if key in found:
            wrong.append(f"spend: two statements hold about {key}")
        found[key] = {name: record[name] for name in HOLDS} | {
            "cost": {hour: cost for hour, cost, _, _ in record["hours"] if cost},
            "clicks": {hour: clicks for hour, _, _, clicks in record["hours"] if clicks},
        }
    return found, wrong


def shown_spend(result: Result) -> dict[tuple, dict]:
    """The view `spend`: (site, campaign, event id, channel, partner, the rest of what is stated, minute) -> amounts."""
    ways = _ways(result)
    shown: dict[tuple, dict] = {}
    for (site, campaign, *stated, start, _), row in result.spend.items():
        channel, partner = _way(row, ways.get((site, campaign), []))
        for hour in row["cost"].keys() | row["clicks"].keys():
            minute = max(hour * HOUR // MINUTE, start // MINUTE)
            key = (site, campaign, row["event_id"], channel, partner, row["source"], row["medium"], *stated[3:])
            mine = shown.setdefault((*key, row["currency"], minute), Counter())
            mine["cost"] += row["cost"].get(hour, 0)
            mine["clicks"] += row["clicks"].get(hour, 0)
    return {key: {name: n for name, n in row.items() if n} for key, row in shown.items()}


def shown_traffic(result: Result) -> dict[tuple, dict]:
    """The view `traffic`: panes with the cost that counts, and stated costs beside them."""
    spans: dict[tuple, list[tuple[int, int]]] = {}
    for site, campaign, *_, start, end in result.spend:
        spans.setdefault((site, campaign), []).append((start // MINUTE, -(-end // MINUTE)))
    shown: dict[tuple, Counter] = {}
    for key, row in result.traffic.items():
        minute, site, _, campaign, *_ = key
        covered = any(start <= minute < end for start, end in spans.get((site, campaign), ()))
        shown[key] = Counter({name: number for name, number in row.items() if not (covered and name == "cost")})
    for key, row in shown_spend(result).items():
        site, campaign, _, channel, partner, _, _, _, _, variant, currency, minute = key
        mine = shown.setdefault((minute, site, channel, campaign, partner, variant, "", currency), Counter())
        mine["cost"] += row.get("cost", 0)
    return {key: dict(row) for key, row in shown.items()}


def _ways(result: Result) -> dict[tuple, list[tuple]]:
    """(site, campaign) -> (source, medium, channel, partner) of its touches, the most frequent first."""
    counts: dict[tuple, Counter] = {}
    for touch in result.touches.values():
        way = tuple(touch[name] for name in ("source", "medium", "channel", "partner"))
        counts.setdefault((touch["site"], touch["campaign"]), Counter())[way] += 1
    return {
        key: [way for _, way in sorted(((n, way) for way, n in found.items()), reverse=True)]
        for key, found in counts.items()
    }


def _way(row: dict, ways: list[tuple]) -> tuple[str, str]:
    """Channel and partner under which a statement is shown."""
    fitting = next(
        (
            way
            for way in ways
            if row["channel"] in {"", way[2]}
            and row["source"].lower() in {"", way[0].lower()}
            and row["medium"].lower() in {"", way[1].lower()}
        ),
        ("", "", "", ""),
    )
    if not fitting[2] and not row["channel"] and ways:
        fitting = ways[0]
    return row["channel"] or fitting[2] or "Unassigned", fitting[3]
