"""The two jobs of ``headwater bench peers`` in Faust, an event at a time, as its documentation writes them.

``python faust_peer.py JOB NAME KAFKA STATE_DIR ADS_FILE``. Counts go to the topic NAME-counts, every second, as
"campaign|start" -> number, absolute, with the partition where they are those of one partition alone; what passes the
duplicate filter to NAME-events. Tables are in memory, which is Faust's default; in RocksDB it takes several times as
long.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import faust

JOB, NAME, KAFKA, STATE, ADS = sys.argv[1:6]

app = faust.App(
    NAME,
    broker=f"kafka://{KAFKA}",
    store="memory://",
    datadir=STATE,
    topic_partitions=4,
    topic_replication_factor=1,
    broker_commit_interval=1.0,
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
)
counts_topic = app.topic(f"{NAME}-counts", key_type=str, value_type=str, value_serializer="raw")
changed: dict[str, int] = {}


@app.timer(1.0)
async def flush() -> None:
    """Send the counts that have changed."""
    found, batch = dict(changed), changed
    batch.clear()
    for key, count in found.items():
        await counts_topic.send(key=key, value=str(count))


if JOB == "yahoo":

    class AdEvent(faust.Record, serializer="json"):
        """An event of the benchmark."""

        user_id: str
        page_id: str
        ad_id: str
        ad_type: str
        event_type: str
        event_time: str
        ip_address: str

    class View(faust.Record, serializer="json"):
        """A view, joined to its campaign."""

        campaign: str
        time: float

    campaigns = json.loads(Path(ADS).read_text())
    events = app.topic("clicks", value_type=AdEvent)
    views = app.topic(f"{NAME}-views", key_type=str, value_type=View, internal=True, partitions=4)
    windows = (
        app.Table("counts", default=int, partitions=4)
        .tumbling(timedelta(seconds=10), expires=timedelta(days=1))
        .relative_to_field(View.time)
    )

    @app.agent(events)
    async def join(stream: faust.StreamT[AdEvent]) -> None:
        """Keep views, and send each to the partition of its campaign."""
        async for event in stream:
            if event.event_type == "view":
                campaign = campaigns[event.ad_id]
                await views.send(key=campaign, value=View(campaign, int(event.event_time) / 1000))

    @app.agent(views)
    async def count(stream: faust.StreamT[View]) -> None:
        """Count in windows of 10 s of event time."""
        async for view in stream:
            windows[view.campaign] += 1
            changed[f"{view.campaign}|{int(view.time) // 10 * 10_000}"] = windows[view.campaign].value()

else:

    class Touch(faust.Record, serializer="json"):
        """An event; what the job does not need is left out."""

        event_id: str
        visitor_id: str
        time: int
        campaign: str | None = None
        url: str = ""

    touches = app.topic("clicks", value_type=Touch)
    fresh_topic = app.topic(f"{NAME}-events", value_serializer="json")
    seen = app.Table("seen", default=bool, partitions=4)
    panes = app.Table("panes", default=int, partitions=4)

    @app.agent(touches)
    async def deduplicate(stream: faust.StreamT[Touch]) -> None:
        """Pass on what was not seen before, and count it by minute and campaign."""
        async for event in stream.events():
            touch = event.value
            key = f"{touch.visitor_id}|{touch.event_id}"
            if seen[key]:
                continue
            seen[key] = True
            campaign = touch.campaign
            if campaign is None:
                campaign = touch.url.partition("utm_campaign=")[2].partition("&")[0]
            pane = f"{campaign}|{touch.time // 60_000 * 60_000}|{event.message.partition}"
            panes[pane] += 1
            changed[pane] = panes[pane]
            await fresh_topic.send(key=event.message.key, value=[touch.event_id, touch.time, campaign])


if __name__ == "__main__":
    sys.argv[1:] = ["worker", "-l", "warn", "--without-web"]
    app.main()
