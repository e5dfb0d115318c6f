"""The story as JSON: every field of it, times in ms since the epoch, money and weights as exact numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from schemas.reasons import MODELS
from streams.cli.attribute import decimal
from streams.cli.explain.history import credit_by_channel
from streams.core.explain import weightless

if TYPE_CHECKING:
    from streams.cli.explain.history import Version
    from streams.cli.explain.story import Story, Told

Record = dict[str, Any]
_CONVERSION: Final = (
    *("site", "conversion_id", "action", "order_id", "visitor_id", "conversion_time", "status", "currency"),
    *("first_reported_at", "last_changed_at"),
)
_INTERNAL: Final = frozenset({"evidence", "stated", "quiet", "cost_micros", "site", "visitor_id"})


def dumps(record: Record) -> bytes:
    """A record as JSON, indented."""
    return orjson.dumps(record, option=orjson.OPT_INDENT_2)


def of_story(story: Story) -> Record:
    """Everything."""
    attribution = story.attribution
    conversion = {name: attribution[name] for name in _CONVERSION}
    conversion["value"] = decimal(attribution["value_micros"])
    conversion["value_reported"] = decimal(attribution["value_reported_micros"])
    first, last = story.versions[0] if story.versions else None, story.versions[-1] if story.versions else None
    if first is not None and last is not None:
        conversion["version"] = last.number
        conversion["first_reported_at"] = min(one.record["first_reported_at"] for one in story.versions)
        conversion["last_changed_at"] = max(one.record["last_changed_at"] for one in story.versions)
    candidates = [told.judged.touch for told in story.touches if told.place is not None]
    why = {model: weightless(model, candidates) for model in MODELS}
    return {
        "conversion": conversion,
        "duplicate_policy": story.policy,
        "facts": [_fact(fact) for fact in story.facts],
        "touches": [_touch(told, why, story) for told in story.touches],
        "as_first_reported": None if first is None else _state(first) | {"known": first.number == 1},
        "as_now_known": None if last is None else _state(last),
        "history": [_version(version) for version in story.versions],
        "agrees": story.agrees,
        "notes": story.notes,
    }


def _fact(fact: Record) -> Record:
    shown = {name: value for name, value in fact.items() if name != "value_micros"}
    return shown | ({"value": decimal(fact["value_micros"])} if "value_micros" in fact else {})


def _touch(told: Told, why: dict[Any, list[Any]], story: Story) -> Record:
    touch = told.judged.touch
    shown: Record = {name: value for name, value in touch.items() if name not in _INTERNAL}
    shown["cost"] = decimal(touch.get("cost_micros", 0))
    shown |= {
        "number": told.number,
        "age": story.attribution["conversion_time"] - touch["time"],
        "candidate": None if told.place is None else told.place + 1,
        "reasons": [one._asdict() for one in told.judged.reasons],
        "credits": {},
    }
    if told.place is not None:
        for model in why:
            weight, value = told.credits.get(model, (0, 0))
            credit: Record = {"weight": decimal(weight), "value": decimal(value)}
            if model not in told.credits:
                credit["reason"] = why[model][told.place]
            shown["credits"][model] = credit
    return shown


def _state(version: Version) -> Record:
    record = version.record
    return {
        "version": version.number,
        "status": record["status"],
        "visitor_id": record["visitor_id"],
        "conversion_time": record["conversion_time"],
        "value": decimal(record["value_micros"]),
        "value_reported": decimal(record["value_reported_micros"]),
        "currency": record["currency"],
        "touches": [touch["touch_id"] for touch in record["touches"] if touch["touch_id"]],
        "credit": _weights(credit_by_channel(record)),
    }


def _version(version: Version) -> Record:
    record = version.record
    return _state(version) | {
        "cause": record["cause"],
        "reported_at": record["last_changed_at"],
        "withdrawn": record["withdrawn"],
        "unseen_before": version.unseen,
        "changes": [_change(one.what, one.before, one.now) for one in version.changes],
    }


def _change(what: str, before: Any, now: Any) -> Record:
    if what.endswith("_micros"):
        return {"what": what.removesuffix("_micros"), "before": decimal(before), "now": decimal(now)}
    if what == "credits":
        return {"what": what, "before": _weights(before), "now": _weights(now)}
    return {"what": what, "before": before, "now": now}


def _weights(credit: dict[str, dict[str, int]]) -> Record:
    return {model: {channel: decimal(weight) for channel, weight in shares.items()} for model, shares in credit.items()}
