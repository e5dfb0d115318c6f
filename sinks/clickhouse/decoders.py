"""From output records to columns: one function a topic.

Rule: a function takes a chunk of records of one topic and returns one block, or raises; `encode` then halves the chunk
until the records that cannot be read stand alone, so a bad one never taints its neighbours. Records come as Kafka has
them; the formats are those of `schemas`. A record without value (a tombstone) says that the state forgot it, and
analysts keep their row: it is passed over. Python's cost a row is what bounds the sink, hence comprehensions by column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec
import orjson
from pydantic import TypeAdapter

from schemas.compiled import compiled_twin
from schemas.registry import CampaignEntry, Entry, SiteEntry
from sinks.clickhouse.generations import OFFSET_BITS
from sinks.clickhouse.native import MONEY, SECOND, TIME, Block, Encoded
from sinks.clickhouse.outputs import Pane, Touch, columns_of, read_pane, read_touch
from sinks.clickhouse.rejects import Record, Reject

TOUCH_TYPES: Final = frozenset(("click", "impression", "landing"))
"""Other types on ``touches`` (consent, verdict) are the worker's state."""


compiled = compiled_twin("sinks.clickhouse._touches")
"""The compiled twin of `plain_touches`; None where it was not compiled."""
compiled_panes = compiled_twin("sinks.clickhouse._panes")
"""The compiled twin of `plain_panes`; None where it was not compiled."""

_LAST: Final = 1 << 63
_ENTRY: TypeAdapter[SiteEntry | CampaignEntry] = TypeAdapter(Entry)
_DIMENSIONS: Final = ("channel", "campaign", "partner", "variant", "audience", "currency")
_MEASURES: Final = (
    *("conversions", "revenue", "conversions_pending"),
    *("revenue_pending", "conversions_rejected", "revenue_rejected"),
)


Decoder = Callable[[Sequence[Any], int], Encoded]
"""(records of one topic, the topic's generation) -> block."""


def encode(
    topic: str, records: Sequence[Record], generation: int, partition: int | None = None
) -> tuple[list[Encoded], list[Reject]]:
    """The blocks for `records` of `topic`, and the records that cannot be read; never raises for what is in one.

    `partition` is where all of them lie; it must be stated for records of ``panes`` that do not know that themselves.
    """
    try:
        block = panes(records, generation, partition) if topic == "panes" else DECODERS[topic](records, generation)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, msgspec.DecodeError) as error:
        if len(records) == 1:
            return [], [Reject(records[0], f"{type(error).__name__}: {error}"[:500])]
        middle = len(records) // 2
        first, first_rejects = encode(topic, records[:middle], generation, partition)
        second, second_rejects = encode(topic, records[middle:], generation, partition)
        return first + second, first_rejects + second_rejects
    return ([block] if block.rows else []), []


def touches(records: Sequence[Record], generation: int) -> Encoded:
    """``touches`` -> touches_rows, by the compiled twin where there is one and it takes them."""
    if compiled is not None:
        found = _columns(compiled, records, generation)
        if found is not None:
            return _ready_touches(*found)
    return plain_touches(records, generation)


def _columns(twin: Any, records: Sequence[Record], generation: int) -> tuple[int, list[bytes]] | None:
    """What a compiled twin makes of `records`; None: take the Python way, which says what is wrong, and with which."""
    try:
        found: tuple[int, list[bytes]] | None = twin.columns(records, generation << OFFSET_BITS)
    except (ValueError, TypeError, AttributeError, OverflowError, msgspec.DecodeError):
        return None
    return found


def _ready_touches(rows: int, data: list[bytes]) -> Encoded:
    block = Block("touches_rows", rows)
    if not rows:
        return block.encoded()
    columns = iter(data)
    for name in compiled.LOW:
        block.ready(name, "LowCardinality(String)", next(columns), rows)
    for name in compiled.TEXT:
        block.ready(name, "String", next(columns), rows)
    for name, kind in zip(("time", "received_at", "cost"), (TIME, TIME, MONEY), strict=True):
        block.ready(name, kind, next(columns), rows)
    for name in compiled.FLAG:
        block.ready(name, "Bool", next(columns), rows)
    block.ready("invalid_reasons", "Array(LowCardinality(String))", next(columns) + next(columns), rows)
    block.ready("ver", "UInt64", next(columns), rows)
    return block.encoded()


def plain_touches(records: Sequence[Record], generation: int) -> Encoded:
    """As `touches`, in Python."""
    taken = [record for record in records if record.value is not None]
    try:
        rows = [read_touch(record.value or b"") for record in taken]
    except msgspec.ValidationError:
        # Consents and verdicts are few; where a chunk has one, they are looked for.
        taken = [record for record in taken if orjson.loads(record.value or b"")["type"] in TOUCH_TYPES]
        rows = [read_touch(record.value or b"") for record in taken]
    block = Block("touches_rows", len(rows))
    if not rows:
        return block.encoded()
    columns = columns_of(Touch, rows)
    for name in ("site", "type", "channel", "source", "medium", "campaign", "content", "term"):
        block.low(name, columns[name])
    for name in (
        *("ad_group", "ad", "placement", "partner", "sub1", "sub2", "sub3", "sub4", "sub5"),
        *("variant", "audience", "country", "device", "currency", "consent"),
    ):
        block.low(name, columns[name])
    for name in ("event_id", "visitor_id", "click_id", "user_id", "url", "referrer", "evidence", "hw_cid"):
        block.text(name, columns[name])
    for name in ("time", "received_at"):
        block.number(name, TIME, columns[name])
    block.number("cost", MONEY, columns["cost_micros"])
    for name in ("valid", "internal", "stated", "quiet"):
        block.flag(name, columns[name])
    reasons = columns["invalid_reasons"]
    block.low_array("invalid_reasons", list(map(len, reasons)), list(chain.from_iterable(reasons)))
    base = generation << OFFSET_BITS
    block.number("ver", "UInt64", [base + record.offset for record in taken])
    return block.encoded()


def attributions(records: Sequence[Record], generation: int) -> Encoded:
    """``attributions`` -> attributions_rows: `ver`: generation (16 bits), revision (32), not withdrawn (1), offset."""
    rows, offsets = _read(records)
    block = Block("attributions_rows", len(rows))
    for name in ("site", "action", "status", "currency", "cause"):
        block.low(name, [row[name] for row in rows])
    for name in ("conversion_id", "order_id", "visitor_id"):
        block.text(name, [row[name] for row in rows])
    for name in ("conversion_time", "first_reported_at", "last_changed_at"):
        block.number(name, TIME, [row[name] for row in rows])
    for name in ("counted", "withdrawn"):
        block.flag(name, [row[name] for row in rows])
    block.number("value", MONEY, [row["value_micros"] for row in rows])
    block.number("value_reported", MONEY, [row["value_reported_micros"] for row in rows])
    block.number("revision", "UInt32", [row["revision"] for row in rows])
    block.number("version", "UInt32", [row["version"] for row in rows])
    low = [offset if row["withdrawn"] else offset | _LAST for row, offset in zip(rows, offsets, strict=True)]
    block.wide("ver", low, [generation << 32 | row["revision"] for row in rows])
    _add_touches(block, [_list(row["touches"]) for row in rows])
    _add_credits(block, rows)
    return block.encoded()


def _add_touches(block: Block, journeys: list[list[dict[str, Any]]]) -> None:
    lengths = list(map(len, journeys))
    flat = list(chain.from_iterable(journeys))
    block.text_array("touches.touch_id", lengths, [touch["touch_id"] for touch in flat])
    block.number_array("touches.time", TIME, lengths, [touch["time"] for touch in flat])
    for name in (
        *("type", "channel", "source", "medium", "campaign", "content", "term"),
        *("ad_group", "ad", "partner", "variant", "audience"),
    ):
        block.low_array(f"touches.{name}", lengths, [touch[name] for touch in flat])


def _add_credits(block: Block, rows: list[dict[str, Any]]) -> None:
    lengths: list[int] = []
    models: list[str] = []
    flat: list[list[int]] = []
    rejected: list[int] = []
    for row in rows:
        candidates, start = len(row["touches"]), len(flat)
        shares = row.get("rejected_micros")
        for model, credited in row["credits"].items():
            flat += credited
            models += [model] * len(credited)
            rejected += shares[model] if shares else [0] * len(credited)
        lengths.append(len(flat) - start)
        if not all(0 <= index < candidates for index, _, _ in flat[start:]):
            raise ValueError("credits: an index beyond touches")
    block.low_array("credits.model", lengths, models)
    block.number_array("credits.position", "UInt16", lengths, [index + 1 for index, _, _ in flat])
    block.number_array("credits.weight", MONEY, lengths, [weight for _, weight, _ in flat])
    block.number_array("credits.value", MONEY, lengths, [value for _, _, value in flat])
    block.number_array("credits.rejected", MONEY, lengths, rejected)


def orders(records: Sequence[Record], generation: int) -> Encoded:
    """``orders`` -> orders_rows: the facts of a conversion, nested."""
    base = generation << OFFSET_BITS
    rows, offsets = _read(records)
    block = Block("orders_rows", len(rows))
    for name in ("site", "action"):
        block.low(name, [row[name] for row in rows])
    for name in ("conversion_id", "order_id"):
        block.text(name, [row[name] for row in rows])
    told = [_list(row["facts"]) for row in rows]
    lengths, facts = list(map(len, told)), list(chain.from_iterable(told))
    block.text_array("facts.event_id", lengths, [fact["event_id"] for fact in facts])
    block.low_array("facts.type", lengths, [fact["type"] for fact in facts])
    for name in ("time", "received_at"):
        block.number_array(f"facts.{name}", TIME, lengths, [fact[name] for fact in facts])
    for name in ("visitor_id", "user_id", "click_id"):
        block.text_array(f"facts.{name}", lengths, [fact.get(name, "") for fact in facts])
    block.number_array("facts.valued", "Bool", lengths, ["value_micros" in fact for fact in facts])
    block.number_array("facts.value", MONEY, lengths, [fact.get("value_micros", 0) for fact in facts])
    for name in ("currency", "status", "adjustment"):
        block.low_array(f"facts.{name}", lengths, [fact.get(name, "") for fact in facts])
    block.number("changed_at", TIME, [max((fact["received_at"] for fact in of_one), default=0) for of_one in told])
    block.number("ver", "UInt64", [base + offset for offset in offsets])
    return block.encoded()


def panes(records: Sequence[Record], generation: int, partition: int | None = None) -> Encoded:
    """``panes`` -> panes_rows; where a record lies (`partition`, or what it says itself) is part of the identity."""
    if compiled_panes is not None:
        found = _columns(compiled_panes, records, generation)
        if found is not None:
            return _ready_panes(*found, _partitions(records, partition))
    return plain_panes(records, generation, partition)


def _partitions(records: Sequence[Record], partition: int | None) -> list[int]:
    """Where each record lies that has a value."""
    if partition is None:
        return [record.partition for record in records if record.value is not None]
    return [partition] * sum(record.value is not None for record in records)


def _ready_panes(rows: int, data: list[bytes], partitions: list[int]) -> Encoded:
    block = Block("panes_rows", rows)
    if not rows:
        return block.encoded()
    columns = iter(data)
    lows = {name: next(columns) for name in compiled_panes.LOW}
    block.ready("site", "LowCardinality(String)", lows["site"], rows)
    block.ready("minute", SECOND, next(columns), rows)
    for name in _DIMENSIONS:
        block.ready(name, "LowCardinality(String)", lows[name], rows)
    block.number("partition", "UInt16", partitions)
    for name in ("impressions", "clicks", "landings", "invalid"):
        block.ready(name, "Int64", next(columns), rows)
    block.ready("cost", MONEY, next(columns), rows)
    ends = next(columns)
    block.ready("models.model", "Array(LowCardinality(String))", ends + next(columns), rows)
    for name in _MEASURES:
        block.ready(f"models.{name}", f"Array({MONEY})", ends + next(columns), rows)
    block.ready("ver", "UInt64", next(columns), rows)
    return block.encoded()


def plain_panes(records: Sequence[Record], generation: int, partition: int | None = None) -> Encoded:
    """As `panes`, in Python."""
    base = generation << OFFSET_BITS
    taken = [record for record in records if record.value is not None]
    rows = [read_pane(record.value or b"") for record in taken]
    block = Block("panes_rows", len(rows))
    if not rows:
        return block.encoded()
    columns = columns_of(Pane, rows)
    block.low("site", columns["site"])
    block.number("minute", SECOND, [60 * minute for minute in columns["minute"]])
    for name in _DIMENSIONS:
        block.low(name, columns[name])
    block.number("partition", "UInt16", _partitions(taken, partition))
    for name in ("impressions", "clicks", "landings", "invalid"):
        block.number(name, "Int64", columns[name])
    block.number("cost", MONEY, columns["cost_micros"])
    models = columns["models"]
    lengths = list(map(len, models))
    values = list(chain.from_iterable(model.values() for model in models if model))
    block.low_array("models.model", lengths, list(chain.from_iterable(models)))
    measures = zip(*values, strict=True) if values else [()] * 6
    for name, measure in zip(_MEASURES, measures, strict=True):
        block.number_array(f"models.{name}", MONEY, lengths, measure)
    block.number("ver", "UInt64", [base + record.offset for record in taken])
    return block.encoded()


def spend(records: Sequence[Record], generation: int) -> Encoded:
    """``spend`` -> spend_rows; the record's key is the statement's identity."""
    base = generation << OFFSET_BITS
    taken = [record for record in records if record.value is not None]
    rows, offsets = _read(taken)
    block = Block("spend_rows", len(rows))
    for name in ("site", "campaign", "currency"):
        block.low(name, [row[name] for row in rows])
    block.text("statement", [(record.key or b"").decode() for record in taken])
    for name in ("source", "medium", "channel", "ad_group", "ad", "variant"):
        block.low(name, [row.get(name, "") for row in rows])
    for column, name in (("from_time", "from"), ("to_time", "to"), ("time", "time")):
        block.number(column, TIME, [row[name] for row in rows])
    block.number("cost", MONEY, [row["cost_micros"] for row in rows])
    for name in ("impressions", "clicks"):
        block.number(name, "Int64", [row.get(name, 0) for row in rows])
    block.text("event_id", [row["event_id"] for row in rows])
    hours = [_list(row["hours"]) for row in rows]
    lengths = list(map(len, hours))
    flat = list(chain.from_iterable(hours))
    block.number_array("hours.hour", SECOND, lengths, [3600 * hour for hour, _, _, _ in flat])
    block.number_array("hours.cost", MONEY, lengths, [micros for _, micros, _, _ in flat])
    block.number_array("hours.impressions", "Int64", lengths, [impressions for _, _, impressions, _ in flat])
    block.number_array("hours.clicks", "Int64", lengths, [clicks for _, _, _, clicks in flat])
    block.number("ver", "UInt64", [base + offset for offset in offsets])
    return block.encoded()


def dead_letters(records: Sequence[Record], generation: int) -> Encoded:
    """``dead-letters`` -> dead_letters_rows: the bytes as they are, the rest from the headers."""
    base = generation << OFFSET_BITS
    headers = [{name: value.decode("utf-8", "replace") for name, value in _stated(record)} for record in records]
    block = Block("dead_letters_rows", len(records))
    times = [_integer(found.get("time", ""), record.timestamp) for found, record in zip(headers, records, strict=True)]
    block.number("time", TIME, times)
    block.low("reason", [found.get("reason", "") for found in headers])
    block.text("detail", [found.get("detail", "") for found in headers])
    block.low("topic", [found.get("topic", "") for found in headers])
    block.number("partition", "Int32", [_integer(found.get("partition", ""), -1) for found in headers])
    block.number("offset", "Int64", [_integer(found.get("offset", ""), -1) for found in headers])
    block.binary("payload", [record.value or b"" for record in records])
    block.text("letter_id", [found.get("id", "") for found in headers])
    block.number("letter_partition", "UInt16", [record.partition for record in records])
    block.number("ver", "UInt64", [base + record.offset for record in records])
    return block.encoded()


def campaigns(records: Sequence[Record], generation: int) -> Encoded:
    """``campaigns`` -> registry_rows: the registry's entries, each checked as the worker checks it."""
    base = generation << OFFSET_BITS
    taken = [record for record in records if record.value is not None]
    entries = [_ENTRY.validate_json(record.value or b"") for record in taken]
    block = Block("registry_rows", len(entries))
    block.low("kind", [entry.kind for entry in entries])
    block.number("valid_from", TIME, [entry.valid_from for entry in entries])
    for name in ("site", "campaign"):
        block.text(name, [getattr(entry, name, "") for entry in entries])
    for name in ("currency", "timezone", "source", "medium", "channel", "partner"):
        block.low(name, [getattr(entry, name, "") for entry in entries])
    block.text("entry", [entry.model_dump_json() for entry in entries])
    block.number("ver", "UInt64", [base + record.offset for record in taken])
    return block.encoded()


def _read(records: Sequence[Record]) -> tuple[list[dict[str, Any]], list[int]]:
    taken = [record for record in records if record.value is not None]
    return [orjson.loads(record.value or b"") for record in taken], [record.offset for record in taken]


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise TypeError(f"a list expected, not {type(value).__name__}")
    return value


def _stated(record: Record) -> list[tuple[str, bytes]]:
    return [(name, value) for name, value in record.headers if name != "k" and value is not None]


def _integer(text: str, otherwise: int) -> int:
    """The number in a header; an HTTP dead letter has no partition and offset."""
    return int(text) if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() else otherwise


DECODERS: Final[dict[str, Decoder]] = {
    "touches": touches,
    "attributions": attributions,
    "orders": orders,
    "panes": panes,
    "spend": spend,
    "dead-letters": dead_letters,
    "campaigns": campaigns,
}
"""Topic -> its decoder; these are the topics that the sink reads."""
