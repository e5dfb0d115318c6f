"""Figures that reports and the demo read: each one query over the views, for one site.

Rule: money comes as integer micros and conversions as integer millionths, exactly; currencies are never added. Rows
whose figures are all zero are left out.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from schemas.reasons import MODELS

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Credit = tuple[int, int]
"""(conversions in millionths, value in micros)."""


def millionths(amount: Decimal) -> int:
    """The integer behind a Decimal(..., 6)."""
    return int(amount.scaleb(6))


def credits_by_campaign(client: Client, site: str) -> dict[tuple[str, str, str, str], Credit]:
    """(model, channel, campaign, currency) -> credit, summed over the view ``credits``."""
    return _credit(
        client,
        "SELECT model, channel, campaign, currency, sum(conversions), sum(value) FROM credits"
        " WHERE site = {site:String} GROUP BY model, channel, campaign, currency",
        site,
    )


def kpis_by_campaign(client: Client, site: str) -> dict[tuple[str, str, str, str], Credit]:
    """(model, channel, campaign, currency) -> credit, summed over the view ``kpis``; equal to `credits_by_campaign`."""
    return _credit(
        client,
        "SELECT model, channel, campaign, currency, sum(conversions), sum(revenue) FROM kpis"
        " WHERE site = {site:String} GROUP BY model, channel, campaign, currency",
        site,
    )


def conversions_by_status(client: Client, site: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(status, currency) -> (number, value in micros)."""
    rows = client.query(
        "SELECT status, currency, count(), sum(value) FROM conversions"
        " WHERE site = {site:String} GROUP BY status, currency",
        parameters={"site": site},
    ).result_rows
    return {(status, currency): (count, millionths(value)) for status, currency, count, value in rows}


def dead_letters_by_reason(client: Client) -> dict[str, int]:
    """Reason -> number of dead letters."""
    rows = client.query("SELECT reason, count() FROM dead_letters GROUP BY reason ORDER BY reason").result_rows
    return {str(reason): int(count) for reason, count in rows}


def channel_table(client: Client, site: str, model: str = "last_touch") -> list[dict[str, Any]]:
    """One dict a channel and currency, those with most visits first.

    ``channel``, ``currency``, ``impressions``, ``clicks``, ``visits`` (integers), ``cost``, ``conversions``,
    ``revenue`` (Decimal, under `model`), ``cvr`` (conversions / visits, or None), and for each model its credit:
    ``credit_conversions`` and ``credit_revenue`` (model -> Decimal).
    """
    rows = client.query(
        "SELECT channel, currency, model, sum(impressions), sum(clicks), sum(visits), sum(cost), sum(conversions),"
        " sum(revenue) FROM kpis WHERE site = {site:String} GROUP BY channel, currency, model",
        parameters={"site": site},
    ).result_rows
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for channel, currency, credited, impressions, clicks, visits, cost, conversions, revenue in rows:
        line = table.setdefault((channel, currency), _line(channel, currency))
        # Rows without any figure under one model are left out of the view, so traffic is that of the fullest model.
        for name, figure in (("impressions", impressions), ("clicks", clicks), ("visits", visits), ("cost", cost)):
            line[name] = max(line[name], figure)
        line["credit_conversions"][credited] = conversions
        line["credit_revenue"][credited] = revenue
    for line in table.values():
        line["conversions"] = line["credit_conversions"].get(model, Decimal(0))
        line["revenue"] = line["credit_revenue"].get(model, Decimal(0))
        line["cvr"] = line["conversions"] / line["visits"] if line["visits"] else None
    return sorted(table.values(), key=lambda line: (-line["visits"], line["channel"], line["currency"]))


def _line(channel: str, currency: str) -> dict[str, Any]:
    return {
        "channel": channel,
        "currency": currency,
        "impressions": 0,
        "clicks": 0,
        "visits": 0,
        "cost": Decimal(0),
        "credit_conversions": dict.fromkeys(MODELS, Decimal(0)),
        "credit_revenue": dict.fromkeys(MODELS, Decimal(0)),
    }


def _credit(client: Client, statement: str, site: str) -> dict[tuple[str, str, str, str], Credit]:
    rows = client.query(statement, parameters={"site": site}).result_rows
    return {
        (model, channel, campaign, currency): (millionths(conversions), millionths(value))
        for model, channel, campaign, currency, conversions, value in rows
        if conversions or value
    }
