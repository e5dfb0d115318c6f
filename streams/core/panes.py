"""Panes: a minute of KPIs for one set of dimensions, as absolute totals of one partition.

Rule: a pane changes only by contributions of touches and attributions; a correction takes the old contribution out and
puts the new one in, so a pane always equals a recount of what is known (contract, sections 3 and 4).
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import orjson

from schemas.reasons import MODELS
from streams.core.compiled import bulk, compiled
from streams.core.memo import Memo
from streams.core.state import pane_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.batches import Unsent
    from streams.core.outcome import Outcome
    from streams.core.state import View

MINUTE_MS: Final = 60_000
TRAFFIC: Final = ("impressions", "clicks", "landings", "invalid", "cost_micros")
"""Counters of a pane's traffic, in their order."""
KPIS: Final = (
    "conversions",
    "revenue",
    "conversions_pending",
    "revenue_pending",
    "conversions_rejected",
    "revenue_rejected",
)
"""Counters of a pane's model, in their order; conversions in millionths, revenue in micros."""
_SLOT: Final = {"impression": 0, "click": 1, "landing": 2}
_INVALID: Final = 3
_COST: Final = 4
_MODEL_AT: Final = {model: len(TRAFFIC) + len(KPIS) * index for index, model in enumerate(MODELS)}
WIDTH: Final = len(TRAFFIC) + len(KPIS) * len(MODELS)
"""Numbers in a pane: the traffic counters, then each model's. Most panes have traffic only and are kept that short."""

_DIMENSIONS: Final = ("site", "channel", "campaign", "partner", "variant", "audience", "currency")
"""Of a pane, after its minute."""


Place = tuple[tuple[bytes, bytes], bytes, bytes]
"""A pane's dimensions as texts (see `texts_of`), its key, and its key in the state."""


def add_touch(changes: dict[Any, list[int]], touch: dict[str, Any], sign: int = 1) -> None:
    """Add a touch record's contribution to `changes` (or take it out, with `sign` -1)."""
    get = touch.get
    key = (
        touch["time"] // MINUTE_MS,
        touch["site"],
        touch["channel"],
        touch["campaign"],
        get("partner", ""),
        get("variant", ""),
        get("audience", ""),
        touch["currency"],
    )
    numbers = changes.get(key)
    if numbers is None:
        numbers = changes[key] = [0, 0, 0, 0, 0]
    if touch["valid"] or touch["invalid_reasons"] == ["no_consent"]:
        if not touch["internal"]:
            numbers[_SLOT[touch["type"]]] += sign
    else:
        numbers[_INVALID] += sign
    cost = touch["cost_micros"]
    if cost:
        numbers[_COST] += sign * cost


def add_attribution(changes: dict[Any, list[int]], attribution: dict[str, Any], sign: int = 1) -> None:
    """Add an attribution's credits to `changes` at the conversion's minute (or take them out)."""
    status = attribution["status"]
    if attribution["withdrawn"] or not (attribution["counted"] or status == "rejected"):
        return
    minute = attribution["conversion_time"] // MINUTE_MS
    site, currency = attribution["site"], attribution["currency"]
    keys = [
        (
            minute,
            site,
            touch["channel"],
            touch["campaign"],
            touch["partner"],
            touch["variant"],
            touch["audience"],
            currency,
        )
        for touch in attribution["touches"]
    ]
    rejected = attribution.get("rejected_micros", {})
    for model, credits_ in attribution["credits"].items():
        at = _MODEL_AT[model]
        amounts = rejected[model] if rejected else [value for _, _, value in credits_]
        for (index, weight, _), amount in zip(credits_, amounts, strict=True):
            numbers = changes.setdefault(keys[index], [])
            if len(numbers) < WIDTH:  # seen as traffic only so far, or not at all
                numbers.extend([0] * (WIDTH - len(numbers)))
            slots = (4,) if status == "rejected" else (0, 2) if status == "pending" else (0,)
            for slot in slots:
                numbers[at + slot] += sign * weight
                numbers[at + slot + 1] += sign * amount


def emit_panes(outcome: Outcome, view: View) -> None:
    """Bring the panes that the batch changed up to date and emit each as an absolute record."""
    changed = [(dimensions, numbers) for dimensions, numbers in outcome.pane_changes.items() if any(numbers)]
    if not changed:
        return
    placed = _places(changed) if bulk is None else bulk.pane_keys(changed, texts_of)
    outputs, puts = outcome.into("panes", outcome.scope.partition), outcome.puts
    olds = view.get_many([state_key for _, _, state_key in placed])
    if compiled is not None:
        compiled.emit_panes(changed, placed, olds, puts, outputs, write_value)
    else:
        _emit(changed, placed, olds, puts, outputs)


def _emit(
    changed: list[tuple[Any, list[int]]],
    placed: list[Place],
    olds: list[bytes | None],
    puts: dict[bytes, bytes],
    outputs: list[Unsent],
) -> None:
    """Put and send each pane."""
    for (dimensions, numbers), (texts, key, state_key), old in zip(changed, placed, olds, strict=True):
        value = write_value(dimensions[0], texts[1], numbers, old)
        puts[state_key] = value
        outputs.append((key, value, [("k", state_key)], None))


def _places(changed: Sequence[tuple[Any, list[int]]]) -> list[Place]:
    """Of each pane by its dimensions: these as texts, its key, and its key in the state."""
    found = []
    for (minute, *names), _ in changed:
        texts = texts_of(tuple(names))
        key = b"[%d,%b" % (minute, texts[0])
        found.append((texts, key, pane_key(minute, key)))
    return found


def write_value(minute: int, names: bytes, numbers: list[int], old: bytes | None) -> bytes:
    """The record of a pane: its `old` one's totals, None where it is new, changed by `numbers`.

    `names` are its other dimensions as members of a JSON object.
    """
    totals = numbers if old is None else add(numbers, read_pane(orjson.loads(old)))
    models = b"{}"
    if len(totals) > len(TRAFFIC):
        found = {model: kpis for model, at in _MODEL_AT.items() if any(kpis := totals[at : at + len(KPIS)])}
        models = orjson.dumps(found)
    traffic = orjson.dumps(dict(zip(TRAFFIC, totals, strict=False)))[1:-1]
    return b'{"minute":%d,%b,%b,"models":%b}' % (minute, names, traffic, models)


_texts: Memo[tuple[str, ...], tuple[bytes, bytes]] = Memo(30_000)


def texts_of(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    """A pane's dimensions but its minute: as the end of a JSON array, its key, and as members of a JSON object."""
    found = _texts.get(names)
    if found is None:
        members = orjson.dumps(dict(zip(_DIMENSIONS, names, strict=True)))[1:-1]
        found = _texts.keep(names, (orjson.dumps(names)[1:], members))
    return found


def add(left: list[int], right: list[int], sign: int = 1) -> list[int]:
    """The sum (or with `sign` -1 the difference) of two panes' numbers, each with models or without."""
    if len(left) == len(right):
        return [a + sign * b for a, b in zip(left, right, strict=True)]
    return [a + sign * b for a, b in zip_longest(left, right, fillvalue=0)]


def read_pane(record: dict[str, Any]) -> list[int]:
    """The numbers of a pane record: the traffic counters, and all models' where it has any."""
    numbers = [
        record["impressions"],
        record["clicks"],
        record["landings"],
        record["invalid"],
        record["cost_micros"],
    ]
    models = record["models"]
    if models:
        for model in MODELS:
            numbers.extend(models.get(model, _NOTHING))
    return numbers


_NOTHING: Final = (0,) * len(KPIS)
