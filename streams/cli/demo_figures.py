"""What ClickHouse says about the simulated shop, read from the views that analysts read.

Rule: every figure comes in the truth's own terms, integer micros and millionths, so that comparing is comparing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sinks.clickhouse import queries
from streams.simulator.compare import Measured
from streams.simulator.truth import Credit, CreditKey, Traffic, TrafficKey

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_COUNT: Final = """
SELECT (SELECT count() FROM touches WHERE site = {site:String})
     + (SELECT count() FROM conversions WHERE site = {site:String})
     + (SELECT count() FROM dead_letters)"""
_TOUCHES: Final = "SELECT count() FROM touches WHERE site = {site:String}"
_UNMATCHED: Final = "SELECT count() FROM conversions WHERE site = {site:String} AND visitor_id = ''"


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
        statuses=statuses,
        touches=_number(client, _TOUCHES, site),
        unmatched=_number(client, _UNMATCHED, site),
        dead_letters=queries.dead_letters_by_reason(client),
    )


def _number(client: Client, statement: str, site: str) -> int:
    return int(client.query(statement, parameters={"site": site}).result_rows[0][0])
