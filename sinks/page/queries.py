"""The page's questions to ClickHouse: each one statement over the analysts' views, for a site and a bounded time.

Rule: ClickHouse adds up, what comes back is as many rows as there are bars, channels and currencies; every value that
a viewer chose travels as a parameter. Sums stay `Decimal`, per currency and per model: neither is ever added up.

What is summed over all but a few dimensions need not be summed by each of them before, as the views `traffic` and
`kpis` must do: so their parts are read, `traffic_parts`, and of a pane its models. Measured on a million panes of 30
days, on two busy cores: a second for a whole answer instead of half a minute. A test compares the sums with the views'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from clickhouse_connect.driver.client import Client

    from sinks.page.periods import Window

LONGEST_S: Final = 60 * 86_400
"""What is looked through for sites and currencies: the longest period and the one before."""
MOST_CAMPAIGNS: Final = 100
MOST_SITES: Final = 500
RECENT_S: Final = 900
"""Touches this young are looked at one by one, to tell the newest to the second."""
AHEAD_S: Final = 600
"""How far ahead of its receipt an event may lie (contract, section 2)."""

_WITHIN: Final = (
    "site = {site:String} AND minute >= toDateTime({start:UInt32}, 'UTC') AND minute < toDateTime({end:UInt32}, 'UTC')"
)
_CREDIT: Final = (
    "(SELECT site, minute, channel, campaign, currency, models.model AS model, models.conversions AS conversions,"
    " models.revenue AS revenue, models.conversions_pending AS pending FROM panes_rows FINAL ARRAY JOIN models)"
)
"""The credit in the panes: what `kpis` says of conversions and revenue, not yet summed over partitions."""
_BAR: Final = "roundDown(toUnixTimestamp(minute), {starts:Array(UInt32)})"


class Traffic(NamedTuple):
    """What came in a bar of the chart, by channel; `cost` is in `currency`."""

    bar: int
    channel: str
    currency: str
    visits: int
    impressions: int
    clicks: int
    cost: Decimal


class Credit(NamedTuple):
    """What a channel is credited with in a bar under one model; `pending` are conversions too."""

    bar: int
    channel: str
    currency: str
    model: str
    conversions: Decimal
    revenue: Decimal
    pending: Decimal


class Campaign(NamedTuple):
    """A campaign under one model; money by currency."""

    channel: str
    campaign: str
    visits: int
    impressions: int
    clicks: int
    conversions: Decimal
    revenue: dict[str, Decimal]
    cost: dict[str, Decimal]


class Choice(NamedTuple):
    """A site and one of its currencies; `newest` is the latest minute with anything, in seconds."""

    site: str
    currency: str
    visits: int
    conversions: Decimal
    newest: int


class Refusal(NamedTuple):
    """Dead letters of one reason; `latest` in milliseconds, with that one's detail and topic."""

    reason: str
    events: int
    latest: int
    detail: str
    topic: str


def traffic(client: Client, site: str, window: Window) -> list[Traffic]:
    """Traffic by bar, channel and currency."""
    rows = _rows(
        client,
        f"SELECT {_BAR} AS bar, channel, currency, sum(t.clicks + t.landings), sum(t.impressions), sum(t.clicks),"  # noqa: S608  # constants
        f" sum(t.cost) FROM traffic_parts AS t WHERE {_WITHIN} GROUP BY bar, channel, currency",
        **_bounds(site, window),
        starts=list(window.starts),
    )
    return [Traffic(*row) for row in rows]


def credit(client: Client, site: str, window: Window) -> list[Credit]:
    """Credit by bar, channel, currency and model; conversions stand at their own time."""
    rows = _rows(
        client,
        f"SELECT {_BAR} AS bar, channel, currency, model, sum(conversions), sum(revenue), sum(pending)"  # noqa: S608
        f" FROM {_CREDIT} WHERE {_WITHIN} GROUP BY bar, channel, currency, model",
        **_bounds(site, window),
        starts=list(window.starts),
    )
    return [Credit(*row) for row in rows]


def campaigns(client: Client, site: str, window: Window, model: str, currency: str) -> tuple[list[Campaign], int]:
    """The campaigns with most revenue in `currency`, then visits, at most `MOST_CAMPAIGNS`; and how many there are.

    What names no campaign is left out; `traffic` and `credit` have it by channel.
    """
    rows = _rows(
        client,
        "SELECT channel, campaign, sum(visits) AS all_visits, sum(impressions), sum(clicks), sum(conversions),"  # noqa: S608
        " sumMap(map(currency, revenue)) AS revenues, sumMap(map(currency, cost)) AS costs, count() OVER ()"
        " FROM (SELECT channel, campaign, currency, clicks + landings AS visits, impressions, clicks, cost,"
        " toDecimal64(0, 6) AS conversions, toDecimal64(0, 6) AS revenue"
        f" FROM traffic_parts WHERE {_WITHIN} AND campaign != ''"
        " UNION ALL SELECT channel, campaign, currency, 0, 0, 0, toDecimal64(0, 6), conversions, revenue"
        f" FROM {_CREDIT} WHERE {_WITHIN} AND campaign != '' AND model = {{model:String}})"
        " GROUP BY channel, campaign"
        " HAVING all_visits != 0 OR sum(conversions) != 0 OR arrayExists(amount -> amount != 0, mapValues(costs))"
        " ORDER BY revenues[{currency:String}] DESC, all_visits DESC, channel, campaign LIMIT {most:UInt16}",
        **_bounds(site, window),
        model=model,
        currency=currency,
        most=MOST_CAMPAIGNS,
    )
    return [Campaign(*row[:8]) for row in rows], int(rows[0][8]) if rows else 0


def choices(client: Client, now: int) -> list[Choice]:
    """Sites and their currencies within the longest time that can be asked about, the busiest site first."""
    rows = _rows(
        client,
        "SELECT site, currency, sum(clicks + landings) AS visits,"
        " sum(arraySum(arrayFilter((amount, name) -> name = 'last_touch', models.conversions, models.model))),"
        " toUnixTimestamp(max(minute)), sum(visits) OVER (PARTITION BY site) AS busy"
        " FROM panes_rows FINAL WHERE minute >= toDateTime({start:UInt32}, 'UTC')"
        " AND minute < toDateTime({end:UInt32}, 'UTC')"
        " GROUP BY site, currency ORDER BY busy DESC, site LIMIT {most:UInt16}",
        start=now - LONGEST_S,
        end=now + AHEAD_S,
        most=MOST_SITES,
    )
    return [Choice(*row[:5]) for row in rows]


def newest_touch(client: Client, site: str, now: int) -> int:
    """When the newest touch of the last minutes happened, in milliseconds; 0 where there is none."""
    rows = _rows(
        client,
        "SELECT toUnixTimestamp64Milli(max(time)) FROM touches WHERE site = {site:String}"
        " AND time >= toDateTime64({start:UInt32}, 3, 'UTC') AND time < toDateTime64({end:UInt32}, 3, 'UTC')",
        site=site,
        start=now - RECENT_S,
        end=now + AHEAD_S,
    )
    return int(rows[0][0])


def refusals(client: Client, start: int, end: int) -> list[Refusal]:
    """Dead letters refused in a time, by reason, of all sites: what could not be read names none."""
    rows = _rows(
        client,
        "SELECT reason, count() AS number, toUnixTimestamp64Milli(max(time)), argMax(detail, time), argMax(topic, time)"
        " FROM dead_letters WHERE time >= toDateTime64({start:UInt32}, 3, 'UTC')"
        " AND time < toDateTime64({end:UInt32}, 3, 'UTC') GROUP BY reason ORDER BY number DESC, reason",
        start=start,
        end=end,
    )
    return [Refusal(*row) for row in rows]


def _bounds(site: str, window: Window) -> dict[str, Any]:
    return {"site": site, "start": window.start, "end": window.end}


def _rows(client: Client, statement: str, **parameters: Any) -> Sequence[Sequence[Any]]:
    found: Sequence[Sequence[Any]] = client.query(statement, parameters=parameters).result_rows
    return found
