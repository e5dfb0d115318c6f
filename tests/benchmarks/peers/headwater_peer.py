"""The two jobs of ``headwater bench peers`` in headwater: its own worker, with another core.

``python headwater_peer.py JOB ADS_FILE``, settings by ``HEADWATER_...``. Everything around the core is the product's:
driver, units, transactions, stores, restore. Counts go to ``panes`` as "campaign|start" -> number, absolute totals of
one partition; what passes the duplicate filter to ``touches``. It counts where the records are: who reads the counts
sums the partitions, as headwater's own views do, so nothing needs to be partitioned anew.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from schemas.settings import current_settings
from streams.core.outcome import Outcome
from streams.worker import role, unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.core.outcome import Record, Scope
    from streams.core.state import View

_PANE: Final = b"p"


def yahoo(ads: dict[str, str]) -> Callable[[Sequence[Record], View, Outcome], None]:
    """Views, joined to their campaign, counted in windows of 10 s of event time."""
    loads = orjson.loads

    def apply(records: Sequence[Record], view: View, outcome: Outcome) -> None:
        events = [loads(record.value or b"") for record in records]
        views = Counter(
            [(ads[event["ad_id"]], event["event_time"][:-4]) for event in events if event["event_type"] == "view"]
        )
        _count({f"{campaign}|{start}0000".encode(): count for (campaign, start), count in views.items()}, view, outcome)

    return apply


def deduplicate(records: Sequence[Record], view: View, outcome: Outcome) -> None:
    """Events that were not seen before are passed on, and counted by minute and campaign."""
    loads, dumps = orjson.loads, orjson.dumps
    events = [loads(record.value or b"") for record in records]
    keys = [f"t{event['visitor_id']}|{event['event_id']}".encode() for event in events]
    known = {key for key, value in zip(keys, view.get_many(keys), strict=True) if value is not None}
    fresh: Counter[bytes] = Counter()
    outputs, puts = outcome.into("touches", outcome.scope.partition), outcome.puts
    for key, event, record in zip(keys, events, records, strict=True):
        if key in known:
            continue
        known.add(key)
        campaign = event.get("campaign")
        if campaign is None:
            campaign = event.get("url", "").partition("utm_campaign=")[2].partition("&")[0]
        time = event["time"]
        fresh[f"{campaign}|{time // 60_000 * 60_000}".encode()] += 1
        puts[key] = b""
        outputs.append((record.key, dumps([event["event_id"], time, campaign]), [("k", key)], None))
    outcome.duplicate = len(records) - len(outputs)
    _count(fresh, view, outcome)


def _count(changes: dict[bytes, int], view: View, outcome: Outcome) -> None:
    """Add `changes` to the counts in the state, and emit what they are then."""
    keys = [_PANE + key for key in changes]
    for state_key, found, key in zip(keys, view.get_many(keys), changes, strict=True):
        count = changes[key] + (int(found) if found is not None else 0)
        outcome.state("panes", key, state_key, b"%d" % count)


def install(job: str, ads: dict[str, str]) -> None:
    """Put a job in the place of headwater's core."""
    step = yahoo(ads) if job == "yahoo" else deduplicate

    def apply(topic: str, records: Sequence[Record], view: View, scope: Scope) -> Outcome:
        outcome = Outcome(topic, scope)
        outcome.read = len(records)
        step(records, view, outcome)
        outcome.accepted = len(records) - outcome.duplicate
        return outcome

    unit.apply = apply  # type: ignore[assignment]


if __name__ == "__main__":
    install(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
    role.run(current_settings())
