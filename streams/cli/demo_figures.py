"""What ClickHouse says about the simulated shop, read from the views that analysts read, and by the reports' own code.

Rule: every figure comes in the truth's own terms, integer micros and millionths, so that comparing is comparing.
"""

from __future__ import annotations

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
_COSTS: Final = """
SELECT channel, campaign, currency, intDiv(toUnixTimestamp(minute), 3600), sum(cost)
FROM traffic WHERE site = {site:String} AND cost != 0
GROUP BY ALL"""
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
    traffic = queries.traffic_by_campaign(client, site)
    return Measured(
        credits={CreditKey(*key): Credit(*row) for key, row in credit.items()},
        kpis={CreditKey(*key): Credit(*row) for key, row in kpis.items()},
        traffic={TrafficKey(*key): Traffic(*row) for key, row in traffic.items() if any(row)},
        costs=_costs(client, site),
        ratios=_ratios(client, site),
        statuses=statuses,
        touches=_number(client, _TOUCHES, site),
        unmatched=_number(client, _UNMATCHED, site),
        dead_letters=queries.dead_letters_by_reason(client),
    )


def _costs(client: Client, site: str) -> dict[CostKey, int]:
    rows = client.query(_COSTS, parameters={"site": site}).result_rows
    return {CostKey(*row[:4]): queries.millionths(row[4]) for row in rows if row[4]}


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
