"""Traffic and credits as rows of one shape, under the views: what `traffic` and `kpis` sum, before they group it.

Rule: sums over these rows are the sums of `kpis` (and of `kpis_by_touch_time`), which a test compares; a report groups
once by what it shows, where the views group by minute and every dimension first, and it can tell actions apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sinks.clickhouse.reports.question import CountedAt

_CREDITS: Final = """
    SELECT
        site, toStartOfMinute(toDateTime({time}, 'UTC')) AS minute,
        touches.channel[p] AS channel, touches.campaign[p] AS campaign, touches.partner[p] AS partner,
        touches.variant[p] AS variant, touches.audience[p] AS audience, currency, action, m AS model,
        toInt64(0) AS impressions, toInt64(0) AS clicks, toInt64(0) AS visits, toInt64(0) AS invalid,
        toDecimal64(0, 6) AS cost,
        if(counted, w, toDecimal64(0, 6)) AS conversions,
        if(status = 'pending', w, toDecimal64(0, 6)) AS conversions_pending,
        if(status = 'rejected', w, toDecimal64(0, 6)) AS conversions_rejected,
        if(counted, v, toDecimal64(0, 6)) AS revenue,
        if(status = 'pending', v, toDecimal64(0, 6)) AS revenue_pending,
        if(status = 'rejected', r, toDecimal64(0, 6)) AS revenue_rejected
    FROM (SELECT * EXCEPT (value) FROM attributions_rows FINAL)
    ARRAY JOIN
        credits.model AS m, credits.position AS p, credits.weight AS w, credits.value AS v, credits.rejected AS r
    WHERE NOT withdrawn AND (counted OR status = 'rejected')"""
_TRAFFIC: Final = """
    SELECT
        site, minute, channel, campaign, partner, variant, audience, currency, '' AS action, '' AS model,
        impressions, clicks, clicks + landings, invalid, cost,
        toDecimal64(0, 6), toDecimal64(0, 6), toDecimal64(0, 6),
        toDecimal64(0, 6), toDecimal64(0, 6), toDecimal64(0, 6)
    FROM traffic_parts"""
_TIMES: Final[dict[CountedAt, str]] = {"conversion": "conversion_time", "touch": "touches.time[p]"}


def credited(counted_at: CountedAt) -> str:
    """A subquery of credits alone, of all models."""
    return f"({_CREDITS.format(time=_TIMES[counted_at])})"


def credited_beside_traffic(counted_at: CountedAt) -> str:
    """The same, and traffic once, with the empty action and model."""
    return f"({_CREDITS.format(time=_TIMES[counted_at])}\n    UNION ALL{_TRAFFIC})"
