"""Compares what ClickHouse says about the simulated shop with the truth, to the micro.

Rule: everything is compared that analysts sum by channel and campaign: credits (twice: as the credits themselves, and
as the minutes add up to them), traffic and cost, conversions by status, dead letters by reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streams.simulator.truth import Credit, CreditKey, Traffic, TrafficKey, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clickhouse_connect.driver.client import Client

_CREDITS: Final = """
SELECT model, channel, campaign, currency, sum(conversions), sum(value)
FROM credits WHERE site = {site:String} GROUP BY ALL"""
_KPIS: Final = """
SELECT model, channel, campaign, currency, sum(conversions), sum(revenue)
FROM kpis WHERE site = {site:String} GROUP BY ALL"""
_TRAFFIC: Final = """
SELECT channel, campaign, currency, sum(impressions), sum(clicks), sum(landings), sum(invalid), sum(cost)
FROM traffic WHERE site = {site:String} GROUP BY ALL"""
_STATUSES: Final = """
SELECT status, count(), countIf(visitor_id = '') FROM conversions WHERE site = {site:String} GROUP BY ALL"""
_TOUCHES: Final = "SELECT count() FROM touches WHERE site = {site:String}"
_COUNT: Final = """
SELECT (SELECT count() FROM touches WHERE site = {site:String})
     + (SELECT count() FROM conversions WHERE site = {site:String})
     + (SELECT count() FROM dead_letters)"""
_DEAD_LETTERS: Final = "SELECT reason, count() FROM dead_letters GROUP BY ALL"


@dataclass(frozen=True, slots=True)
class Measured:
    """What ClickHouse says, in the truth's own terms; rows without any figure are left out."""

    credits: dict[CreditKey, Credit]
    kpis: dict[CreditKey, Credit]
    traffic: dict[TrafficKey, Traffic]
    statuses: dict[str, int]
    touches: int
    unmatched: int
    dead_letters: dict[str, int]


class Difference(NamedTuple):
    """One figure that differs: what it is, and both values."""

    what: str
    truth: str
    found: str


def count_rows(client: Client, site: str) -> int:
    """How many touches and conversions of `site`, and dead letters, have arrived."""
    return int(client.query(_COUNT, parameters={"site": site}).result_rows[0][0])


def measure(client: Client, site: str) -> Measured:
    """Read all that is compared for `site`; dead letters are counted whoever they are from."""
    parameters = {"site": site}

    def rows(statement: str) -> Iterable[tuple[Any, ...]]:
        return [tuple(row) for row in client.query(statement, parameters=parameters).result_rows]

    statuses = list(rows(_STATUSES))
    return Measured(
        credits=_credits(rows(_CREDITS)),
        kpis=_credits(rows(_KPIS)),
        traffic={
            TrafficKey(*row[:3]): Traffic(int(row[3]), int(row[4]), int(row[5]), int(row[6]), micros(row[7]))
            for row in rows(_TRAFFIC)
            if any(row[3:])
        },
        statuses={status: int(count) for status, count, _ in statuses},
        touches=sum(int(row[0]) for row in rows(_TOUCHES)),
        unmatched=sum(int(row[2]) for row in statuses),
        dead_letters={reason: int(count) for reason, count in rows(_DEAD_LETTERS)},
    )


def differences(truth: Truth, found: Measured, repeated: Mapping[str, int] | None = None) -> list[Difference]:
    """All figures that differ.

    `repeated`: lines by outcome that may have arrived more than once, and so may be that many more dead letters.
    """
    result = [
        *_compare("credits", truth.credits, found.credits),
        *_compare("kpis", truth.credits, found.kpis),
        *_compare("traffic", truth.traffic, found.traffic),
        *_compare("conversions", truth.statuses, found.statuses),
        *_compare("touches", {"all": truth.touches}, {"all": found.touches}),
        *_compare("unmatched", {"all": truth.unmatched}, {"all": found.unmatched}),
    ]
    for reason in sorted({*truth.dead_letters, *found.dead_letters}):
        least, is_now = truth.dead_letters.get(reason, 0), found.dead_letters.get(reason, 0)
        most = least + (repeated or {}).get(reason, 0)
        if not least <= is_now <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            result.append(Difference(f"dead letters {reason}", wanted, str(is_now)))
    return result


def micros(amount: Decimal | float) -> int:
    """Integer micros of an amount in major units."""
    return int(Decimal(amount).scaleb(6))


def _credits(rows: Iterable[tuple[Any, ...]]) -> dict[CreditKey, Credit]:
    return {CreditKey(*row[:4]): Credit(micros(row[4]), micros(row[5])) for row in rows if row[4] or row[5]}


def _compare(what: str, truth: Mapping[Any, Any], found: Mapping[Any, Any]) -> Iterable[Difference]:
    for key in sorted({*truth, *found}):
        wanted, is_now = truth.get(key), found.get(key)
        if wanted != is_now:
            name = " / ".join(part or "-" for part in key) if isinstance(key, tuple) else key
            yield Difference(f"{what} {name}", _figures(wanted), _figures(is_now))


def _figures(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, int):
        return str(value)
    return ", ".join(f"{name} {figure}" for name, figure in value._asdict().items() if figure)
