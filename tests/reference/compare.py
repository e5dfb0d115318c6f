"""Final rows of the reference and of the core in one form, so that a difference shows itself."""

from __future__ import annotations

SHOWN = (
    "channel",
    "source",
    "medium",
    "campaign",
    "content",
    "term",
    "ad_group",
    "ad",
    "partner",
    "variant",
    "audience",
)


def expected_conversions(result):
    """The reference's conversions."""
    return {
        name: {
            "site": row["site"],
            "visitor_id": row["visitor_id"],
            "time": row["time"],
            "action": row["action"],
            "order_id": row["order_id"],
            "status": row["status"],
            "currency": row["currency"],
            "value": row["value"],
            "value_reported": row["value_reported"],
            "touches": [
                (touch["event_id"], touch["type"], touch["time"], *(touch[field] for field in SHOWN))
                for touch in row["credited"]
            ],
            "credits": {
                model: [(touch_id, weight, value) for touch_id, weight, value, _ in listed]
                for model, listed in row["credits"].items()
            },
        }
        for name, row in result.conversions.items()
    }


def core_conversion(record):
    """An attribution record in the same form."""
    touches = record["touches"]
    return {
        "site": record["site"],
        "visitor_id": record["visitor_id"],
        "time": record["conversion_time"],
        "action": record["action"],
        "order_id": record["order_id"],
        "status": record["status"],
        "currency": record["currency"],
        "value": record["value_micros"],
        "value_reported": record["value_reported_micros"],
        "touches": [
            (touch["touch_id"], touch["type"], touch["time"], *(touch.get(field, "") for field in SHOWN))
            for touch in touches
        ],
        "credits": {
            model: [(touches[index]["touch_id"], weight, value) for index, weight, value in listed]
            for model, listed in record["credits"].items()
        },
    }


def expected_touches(result):
    """The reference's touches."""
    names = ("type", "time", "channel", "source", "medium", "campaign", "partner", "internal", "cost", "currency")
    return {
        key: {name: touch[name] for name in names} | {"valid": touch["valid"], "reasons": touch["reasons"]}
        for key, touch in result.touches.items()
    }


def core_touch(record):
    """A touch record in the same form."""
    names = ("type", "time", "channel", "source", "medium", "campaign", "internal", "currency", "valid")
    return {name: record[name] for name in names} | {
        "partner": record.get("partner", ""),
        "cost": record["cost_micros"],
        "reasons": sorted(record["invalid_reasons"]),
    }


def assert_same(cluster, result):
    """Every final row of the core's equals the reference's, and the panes equal a recount."""
    assert {key: core_touch(row) for key, row in cluster.touches().items()} == expected_touches(result)
    attributions = cluster.attributions()
    assert {key: core_conversion(row) for key, row in attributions.items()} == expected_conversions(result)
    for row in attributions.values():
        for listed in row["credits"].values():
            assert sum(weight for _, weight, _ in listed) == 1_000_000
            assert sum(value for _, _, value in listed) == row["value_micros"]
    traffic, kpis = cluster.panes()
    assert traffic == result.traffic
    assert kpis == result.kpis
    assert cluster.spend() == result.spend
