"""What the business dashboard asks ClickHouse: statements over the views that analysts read.

Rule: KPIs are as contract section 5 has them, null where nothing is to divide by. Counts are of all currencies, money
is of the one that is chosen, and the value of an order is taken from the conversions that have one in it. The period
before is of the same length as the period, and ends where it begins. Every value that a viewer chose is quoted by
Grafana (``:sqlstring``).
"""

from __future__ import annotations

from typing import Final

from schemas.reasons import MODELS

_CHOSEN: Final = "site IN (${site:sqlstring}) AND $__conditionalAll(channel IN (${channel:sqlstring}), $channel)"
MODEL: Final = "model = ${model:sqlstring}"
OURS: Final = "currency = ${currency:sqlstring}"
_SUMS: Final = f"""
        sumIf(visits, now) AS visits_now, sumIf(visits, NOT now) AS visits_before,
        toFloat64(sumIf(conversions, now)) AS conversions_now,
        toFloat64(sumIf(conversions, NOT now)) AS conversions_before,
        toFloat64(sumIf(conversions, now AND {OURS})) AS sold_now,
        toFloat64(sumIf(conversions, NOT now AND {OURS})) AS sold_before,
        toFloat64(sumIf(revenue, now AND {OURS})) AS revenue_now,
        toFloat64(sumIf(revenue, NOT now AND {OURS})) AS revenue_before,
        toFloat64(sumIf(cost, now AND {OURS})) AS cost_now, toFloat64(sumIf(cost, NOT now AND {OURS})) AS cost_before,
        sumIf(clicks, now) AS clicks_now, sumIf(clicks, NOT now) AS clicks_before,
        sumIf(impressions, now) AS impressions_now, sumIf(impressions, NOT now) AS impressions_before"""
"""Sums of the period (`now`) and of the one before; `sold` are the conversions that have a value in the currency."""
_FROM: Final = f"""
        SELECT *, minute >= $__fromTime AS now
        FROM kpis
        WHERE {MODEL} AND {_CHOSEN}
            AND minute >= $__fromTime - ($__toTime - $__fromTime) AND minute <= $__toTime"""


def _over(above: str, below: str) -> str:
    """A quotient, null where nothing is below."""
    return f"{above} / nullIf(toFloat64({below}), 0)"


KPIS: Final = {
    "Visits": "visits_{}",
    "Conversions": "conversions_{}",
    "CVR": _over("conversions_{}", "visits_{}"),
    "Revenue": "revenue_{}",
    "AOV": _over("revenue_{}", "sold_{}"),
    "EPC": _over("revenue_{}", "visits_{}"),
    "Cost": "cost_{}",
    "CPC": _over("cost_{}", "clicks_{}"),
    "CPA": _over("cost_{}", "conversions_{}"),
    "ROAS": _over("revenue_{}", "cost_{}"),
    "ROI": _over("(revenue_{} - cost_{})", "cost_{}"),
}
"""KPI -> what it is, of a period ``now`` or ``before`` (contract, section 5)."""
LARGE: Final = ("Visits", "Conversions", "CVR", "Revenue", "AOV", "Cost", "CPA", "ROAS")


def _kpi(name: str, period: str) -> str:
    return KPIS[name].replace("{}", period)


def totals(*, changes: bool) -> str:
    """The large KPIs of the period, or how they changed against the period before."""
    if changes:
        columns = ", ".join(
            f'({_kpi(name, "now")}) / nullIf(toFloat64({_kpi(name, "before")}), 0) - 1 AS "{name}"' for name in LARGE
        )
    else:
        columns = ", ".join(f'{_kpi(name, "now")} AS "{name}"' for name in LARGE)
    return f"SELECT {columns}\nFROM\n(\n    SELECT{_SUMS}\n    FROM\n    ({_FROM}\n    )\n)"


def by(*dimensions: str) -> str:
    """All KPIs by `dimensions`, and the change of conversions and revenue; by revenue, at most a hundred lines."""
    names = ", ".join(f'{dimension} AS "{dimension.capitalize()}"' for dimension in dimensions)
    columns = ",\n    ".join(f'{_kpi(name, "now")} AS "{name}"' for name in KPIS)
    changed = ",\n    ".join(
        f'{_kpi(name, "now")} / nullIf({_kpi(name, "before")}, 0) - 1 AS "{name} ±"'
        for name in ("Conversions", "Revenue")
    )
    listed = ", ".join(dimensions)
    return (
        f"SELECT {names},\n    {columns},\n    {changed}\nFROM\n(\n    SELECT {listed},{_SUMS}\n"
        f"    FROM\n    ({_FROM}\n    )\n    GROUP BY {listed}\n)\n"
        "WHERE visits_now != 0 OR conversions_now != 0 OR revenue_now != 0 OR cost_now != 0\n"
        'ORDER BY "Revenue" DESC, "Conversions" DESC, "Visits" DESC\nLIMIT 100'
    )


def over_time(what: str, among: str = "kpis", where: str = "1") -> str:
    """A sum over time, a line a channel; channels with nothing are left out.

    A column that is called Value does not show in the line's name.
    """
    return (
        f'SELECT $__timeInterval(minute) AS time, channel, toFloat64(sum({what})) AS "Value"\n'
        f"FROM {among}\nWHERE {where} AND {_CHOSEN} AND $__timeFilter(minute)\n"
        'GROUP BY time, channel\nHAVING "Value" != 0\nORDER BY time, channel'
    )


def models_compared(*dimensions: str, where: str = "1") -> str:
    """Revenue by `dimensions`, a column a model; by that of last_non_direct, at most fifty lines."""
    names = ", ".join(f'{dimension} AS "{dimension.capitalize()}"' for dimension in dimensions)
    columns = ",\n    ".join(f"toFloat64(sumIf(revenue, model = '{model}')) AS \"{model}\"" for model in MODELS)
    anything = " OR ".join(f'"{model}" != 0' for model in MODELS)
    return (
        f"SELECT {names},\n    {columns}\nFROM kpis\nWHERE {where} AND {OURS} AND {_CHOSEN} AND $__timeFilter(minute)\n"
        f'GROUP BY {", ".join(dimensions)}\nHAVING {anything}\nORDER BY "last_non_direct" DESC\nLIMIT 50'
    )


STATUSES: Final = """
    SELECT status AS "Status", count() AS "Conversions", countIf(visitor_id = '') AS "without a visitor",
        toFloat64(sumIf(value, currency = ${currency:sqlstring})) AS "Value",
        toFloat64(sumIf(value_reported, currency = ${currency:sqlstring})) AS "Value as reported",
        countIf(version > 1) AS "credited again", max(version) AS "most often"
    FROM conversions
    WHERE site IN (${site:sqlstring}) AND $__timeFilter(time)
    GROUP BY status
    ORDER BY "Conversions" DESC
"""
ASSISTS: Final = """
    SELECT
        channel AS "Channel",
        uniqExact(site, conversion_id) AS "Conversions it took part in",
        uniqExactIf((site, conversion_id), position = last_position) AS "of these, as the last",
        uniqExactIf((site, conversion_id), position = 1) AS "as the first",
        round(avg(date_diff('second', touch_time, conversion_time)) / 86400, 2) AS "Days before the conversion"
    FROM
    (
        SELECT *, max(position) OVER (PARTITION BY site, conversion_id) AS last_position
        FROM credits
        WHERE model = 'linear' AND touch_id != '' AND site IN (${site:sqlstring}) AND $__timeFilter(conversion_time)
    )
    WHERE $__conditionalAll(channel IN (${channel:sqlstring}), $channel)
    GROUP BY channel
    ORDER BY "Conversions it took part in" DESC
"""
