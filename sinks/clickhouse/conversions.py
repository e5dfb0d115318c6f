"""One conversion and what is known about it: attribution, versions, facts, and its visitor's touches.

Rule: rows come back in the terms of the output records (`schemas.records`): times in ms, money in micros, a field only
where something is stated; so what reads records reads these too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sinks.clickhouse.queries import millionths

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from clickhouse_connect.driver.client import Client

_TIMES: Final = frozenset({"conversion_time", "first_reported_at", "last_changed_at", "time", "received_at"})
_MONEY: Final = {"value": "value_micros", "value_reported": "value_reported_micros", "cost": "cost_micros"}
_CONVERSION: Final = (
    *("site", "conversion_id", "visitor_id", "conversion_time", "action", "order_id", "status", "counted"),
    *("withdrawn", "cause", "currency", "value", "value_reported", "revision", "version", "first_reported_at"),
    *("last_changed_at",),
)
_CREDITED: Final = (
    *("touch_id", "type", "time", "channel", "source", "medium", "campaign", "content", "term", "ad_group", "ad"),
    *("partner", "variant", "audience"),
)
_TOUCH: Final = (
    *("site", "visitor_id", "event_id", "type", "time", "received_at", "channel", "source", "medium", "campaign"),
    *("content", "term", "valid", "invalid_reasons", "internal", "cost", "currency"),
)
_STATED: Final = (
    *("user_id", "url", "referrer", "ad_group", "ad", "placement", "partner", "sub1", "sub2", "sub3", "sub4", "sub5"),
    *("variant", "audience", "country", "device", "click_id", "consent", "evidence", "hw_cid", "stated", "quiet"),
)
"""Fields that a touch has only where something states them."""
_FACT: Final = ("event_id", "type", "time", "received_at", "visitor_id", "user_id", "click_id", "currency")


class Named(NamedTuple):
    """What names a conversion."""

    site: str
    conversion_id: str
    action: str
    order_id: str
    attributed: bool
    """False while only adjustments of it are known."""


def find(client: Client, name: str, site: str = "", action: str = "") -> list[Named]:
    """The conversions whose id or order id is `name`, of any site and action or of the given ones."""
    asked = "(conversion_id = {name:String} OR order_id = {name:String})"
    if site:
        asked += " AND site = {site:String}"
    if action:
        asked += " AND action = {action:String}"
    # The identity never changes, so that older rows of a conversion say the same, and an index may pass rows over.
    statement = (
        "SELECT site, conversion_id, max(action), max(order_id), max(attributed) FROM ("  # noqa: S608
        f" SELECT site, conversion_id, action, order_id, true AS attributed FROM attributions_rows WHERE {asked}"
        " UNION ALL"
        f" SELECT site, conversion_id, action, order_id, false FROM orders_rows WHERE {asked}"
        ") GROUP BY site, conversion_id ORDER BY site, conversion_id"
    )
    rows = client.query(statement, parameters={"name": name, "site": site, "action": action}).result_rows
    return [Named(*row) for row in rows]


def attribution(client: Client, named: Named) -> dict[str, Any] | None:
    """The attribution in force; None where there is none."""
    rows = _attributions(client, "attributions_rows", named, "")
    return rows[0] if rows else None


def versions(client: Client, named: Named) -> list[dict[str, Any]]:
    """Every version that the sink saw, in the order in which they held, with the topic's `generation`.

    `version` counts one visitor's records; earlier ones of the compacted topic may never have been seen.
    """
    return _attributions(client, "attribution_versions", named, "generation")


def facts(client: Client, named: Named) -> list[dict[str, Any]]:
    """What its events state, by time, then event id."""
    columns = ", ".join(_integer(name) for name in _FACT)
    rows = client.query(
        f"SELECT {columns}, status, adjustment, value FROM facts"  # noqa: S608
        " WHERE site = {site:String} AND conversion_id = {conversion_id:String}",
        parameters={"site": named.site, "conversion_id": named.conversion_id},
    ).result_rows
    found = []
    for row in rows:
        fact = dict(zip((*_FACT, "status", "adjustment"), row, strict=False))
        if row[-1] is not None:
            fact["value_micros"] = millionths(row[-1])
        always = {"event_id", "type", "time", "received_at"}
        found.append({name: value for name, value in fact.items() if name in always or value != ""})
    return sorted(found, key=_moment)


def touches(client: Client, site: str, visitor_id: str) -> list[dict[str, Any]]:
    """All of a visitor's touches that are kept, by time, then event id."""
    columns = ", ".join(_integer(name) for name in (*_TOUCH, *_STATED))
    rows = client.query(
        f"SELECT {columns} FROM touches_rows FINAL"  # noqa: S608
        " WHERE site = {site:String} AND visitor_id = {visitor_id:String}",
        parameters={"site": site, "visitor_id": visitor_id},
    ).result_rows
    found = []
    for row in rows:
        touch = _record(_TOUCH, row[: len(_TOUCH)])
        stated = zip(_STATED, row[len(_TOUCH) :], strict=True)
        found.append(touch | {name: value for name, value in stated if value})
    return sorted(found, key=_moment)


def _attributions(client: Client, table: str, named: Named, further: str) -> list[dict[str, Any]]:
    columns = [_integer(name) for name in _CONVERSION]
    columns += [f"touches.{name}" if name != "time" else _each("touches.time") for name in _CREDITED]
    columns += ["credits.model", "credits.position", "credits.weight", "credits.value"]
    columns += [further] if further else []
    rows = client.query(
        f"SELECT {', '.join(columns)} FROM {table} FINAL"  # noqa: S608
        " WHERE site = {site:String} AND conversion_id = {conversion_id:String} ORDER BY ver",
        parameters={"site": named.site, "conversion_id": named.conversion_id},
    ).result_rows
    found = []
    for row in rows:
        record = _record(_CONVERSION, row[: len(_CONVERSION)])
        at = len(_CONVERSION) + len(_CREDITED)
        columns_of_touches = row[len(_CONVERSION) : at]
        record["touches"] = [
            dict(zip(_CREDITED, values, strict=True)) for values in zip(*columns_of_touches, strict=True)
        ]
        record["credits"] = _credits(*row[at : at + 4])
        if further:
            record[further] = row[at + 4]
        found.append(record)
    return found


def _credits(
    models: Iterable[str], positions: Iterable[int], weights: Iterable[Decimal], values: Iterable[Decimal]
) -> dict[str, list[list[int]]]:
    found: dict[str, list[list[int]]] = {}
    for model, position, weight, value in zip(models, positions, weights, values, strict=True):
        found.setdefault(model, []).append([position - 1, millionths(weight), millionths(value)])
    return found


def _record(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return {
        _MONEY.get(name, name): millionths(value) if name in _MONEY else value
        for name, value in zip(names, values, strict=True)
    }


def _integer(name: str) -> str:
    """A column, a time as ms."""
    return f"toUnixTimestamp64Milli({name})" if name in _TIMES else name


def _each(name: str) -> str:
    """A column of arrays of times, as ms."""
    return f"arrayMap(moment -> toUnixTimestamp64Milli(moment), {name})"


def _moment(record: dict[str, Any]) -> tuple[int, bytes]:
    return record["time"], record["event_id"].encode()
