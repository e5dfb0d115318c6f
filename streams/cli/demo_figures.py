"""What ClickHouse says about the simulated shop, read from the views that analysts read, and by the reports' own code.

Rule: every figure comes in the truth's own terms, integer micros and millionths, so that comparing is comparing.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from sinks.clickhouse import queries, reports
from sinks.clickhouse.reports.figures import money_ratios
from streams.simulator.compare import Measured
from streams.simulator.spent import CostKey, RatioKey, Ratios
from streams.simulator.truth import RATIO_MODEL, Credit, CreditKey, Traffic, TrafficKey

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_COUNT: Final = """
SELECT (SELECT count() FROM touches WHERE site = {site:String})
     + (SELECT count() FROM conversions WHERE site = {site:String})
     + (SELECT count() FROM dead_letters)"""
_TOUCHES: Final = "SELECT count() FROM touches WHERE site = {site:String}"
_UNMATCHED: Final = "SELECT count() FROM conversions WHERE site = {site:String} AND visitor_id = ''"
_BY_HOUR: Final = """
SELECT channel, campaign, currency, intDiv(toUnixTimestamp(minute), 3600) AS hour,
    sum(impressions), sum(clicks), sum(landings), sum(invalid), sum(cost)
FROM traffic WHERE site = {site:String}
GROUP BY channel, campaign, currency, hour"""
_BACK: Final = timedelta(days=45)
_AHEAD: Final = timedelta(days=3)


def count_rows(client: Client, site: str) -> int:
    """How many touches and conversions of `site`, and dead letters, have arrived."""
    return _number(client, _COUNT, site)


def measure(client: Client, site: str) -> Measured:
    """All that is compared for `site`; dead letters are counted whoever they are from."""
    statuses: dict[str, int] = {}
    for (status, _), (count, _) in queries.conversions_by_status(client, site).items():
        statuses[status] = statuses.get(status, 0) + int(count)
    credit = queries.credits_by_campaign(client, site)
    kpis = queries.kpis_by_campaign(client, site)
    traffic, costs = _traffic(client, site)
    return Measured(
        credits={CreditKey(*key): Credit(*row) for key, row in credit.items()},
        kpis={CreditKey(*key): Credit(*row) for key, row in kpis.items()},
        traffic=traffic,
        costs=costs,
        ratios=_ratios(client, site),
        statuses=statuses,
        touches=_number(client, _TOUCHES, site),
        unmatched=_number(client, _UNMATCHED, site),
        dead_letters=queries.dead_letters_by_reason(client),
    )


def _traffic(client: Client, site: str) -> tuple[dict[TrafficKey, Traffic], dict[CostKey, int]]:
    """Traffic as a whole, and what it cost by hour: one question, as most of the work is the same."""
    sums: dict[TrafficKey, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    costs: dict[CostKey, int] = {}
    for channel, campaign, currency, hour, *counts, cost in client.query(
        _BY_HOUR, parameters={"site": site}
    ).result_rows:
        micros = queries.millionths(cost)
        if micros:
            costs[CostKey(channel, campaign, currency, hour)] = micros
        row = sums[TrafficKey(channel, campaign, currency)]
        for place, number in enumerate((*counts, micros)):
            row[place] += number
    return {key: Traffic(*row) for key, row in sums.items() if any(row)}, costs


def _ratios(client: Client, site: str) -> dict[RatioKey, Ratios]:
    """What `headwater report channels` and `campaigns` say of costs, over all that was simulated."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    period = {"UTC": (reports.Span(now - _BACK, now + _AHEAD), None)}
    question = reports.Question(period, filters=reports.Filters(site=(site,)), model=RATIO_MODEL)
    channels, campaigns = (reports.results(client, question, by) for by in ("channel", "campaign"))
    named = [("channel", row.name, row.now) for row in channels.rows]
    named += [("campaign", row.name, row.now) for row in campaigns.rows]
    found = {}
    for by, name, figures in [("all", "", channels.total.now), *named]:
        for currency, money in figures.money.items():
            if money.cost:
                told = money_ratios(figures, currency)
                divided = [_millionths(told[ratio]) for ratio in ("cpc", "cpm", "cpa", "roas", "roi")]
                found[RatioKey(by, name, currency)] = Ratios(queries.millionths(money.cost), *divided)
    return found


def _millionths(ratio: Decimal | None) -> int | None:
    return None if ratio is None else queries.millionths(ratio)


def _number(client: Client, statement: str, site: str) -> int:
    return int(client.query(statement, parameters={"site": site}).result_rows[0][0])
