"""The two jobs of ``headwater bench peers`` in Quix Streams, as its documentation writes them.

``python quix_peer.py JOB NAME GUARANTEE KAFKA STATE_DIR ADS_FILE``. Counts go to the topic NAME-counts as campaign ->
window with its number, absolute; what passes the duplicate filter to NAME-events.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from quixstreams import Application, State

JOB, NAME, GUARANTEE, KAFKA, STATE, ADS = sys.argv[1:7]

app = Application(
    broker_address=KAFKA,
    consumer_group=NAME,
    auto_offset_reset="earliest",
    processing_guarantee=GUARANTEE,  # type: ignore[arg-type]
    state_dir=STATE,
    commit_interval=1.0,
    loglevel="WARNING",
)


def event_time(value: dict[str, Any], _headers: Any, _timestamp: float, _type: Any) -> int:
    """When it happened, in milliseconds."""
    return int(value["event_time"] if JOB == "yahoo" else value["time"])


def is_new(value: dict[str, Any], state: State) -> bool:
    """Whether the visitor's event was not seen before; the state is that of the record's key, the visitor."""
    if state.exists(value["event_id"]):
        return False
    state.set(value["event_id"], 1)
    return True


def campaign_of(value: dict[str, Any]) -> str:
    """The campaign that a touch names."""
    stated = value.get("campaign")
    found: str = value.get("url", "").partition("utm_campaign=")[2].partition("&")[0] if stated is None else stated
    return found


clicks = app.topic("clicks", value_deserializer="json", key_deserializer="str", timestamp_extractor=event_time)
counts = app.topic(f"{NAME}-counts", value_serializer="json", key_serializer="str")
frame = app.dataframe(clicks)

if JOB == "yahoo":
    campaigns = json.loads(Path(ADS).read_text())
    size = timedelta(seconds=10)
    frame = frame.filter(lambda event: event["event_type"] == "view")
    frame = frame.apply(lambda event: {"campaign": campaigns[event["ad_id"]]})
else:
    size = timedelta(minutes=1)
    fresh = app.topic(f"{NAME}-events", value_serializer="json", key_serializer="str")
    frame = frame.filter(is_new, stateful=True)
    frame = frame.apply(lambda event: [event["event_id"], event["time"], campaign_of(event)])
    frame = frame.to_topic(fresh)
    frame = frame.apply(lambda event: {"campaign": event[2]})

frame = frame.group_by("campaign")
frame = frame.tumbling_window(size, grace_ms=timedelta(days=1)).count().current()
frame = frame.to_topic(counts)

if __name__ == "__main__":
    app.run()
