"""The dashboard of what did not count, and why: dead letters, duplicates, invalid touches, unmatched conversions.

Rule: nothing here is empty where nothing was refused; it says 0, for "no data" might as well mean that nobody looked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import units

from deploy.grafana.layout import Layout, build, choice_of_many
from deploy.grafana.panels import ORANGE, RED, bar_in_cell, count, lines_panel, share, stat_panel, table_panel
from deploy.grafana.sources import CLICKHOUSE, promql, promql_now, sql_rows, sql_series
from schemas.reasons import REASON_TEXTS

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

UID: Final = "headwater-refusals"

_REASONS: Final = ", ".join(f"('{reason}', '{text}')" for reason, text in REASON_TEXTS.items())

_BY_REASON: Final = f"""
    SELECT
        known.1 AS "Reason",
        known.2 AS "Meaning",
        found.letters AS "Refused",
        found.http AS "at the collector's door",
        found.latest AS "Latest",
        found.example AS "Latest says"
    FROM (SELECT arrayJoin([{_REASONS}]) AS known) AS k
    LEFT JOIN
    (
        SELECT
            reason,
            count() AS letters,
            countIf(topic = 'http') AS http,
            toNullable(max(time)) AS latest,
            argMax(detail, time) AS example
        FROM dead_letters
        WHERE $__timeFilter(time)
        GROUP BY reason
    ) AS found ON found.reason = k.known.1
    ORDER BY "Refused" DESC, "Reason"
"""

_LATEST: Final = """
    SELECT time AS "Time", reason AS "Reason", detail AS "Detail", topic AS "Topic",
        partition AS "Partition", offset AS "Offset", left(payload, 400) AS "Payload"
    FROM dead_letters
    WHERE $__timeFilter(time) AND $__conditionalAll(reason IN (${reason:sqlstring}), $reason)
    ORDER BY time DESC
    LIMIT 100
    UNION ALL
    SELECT $__toTime, 'none', 'nothing was refused in this period', '', 0, 0, ''
    WHERE
    (
        SELECT count() FROM dead_letters
        WHERE $__timeFilter(time) AND $__conditionalAll(reason IN (${reason:sqlstring}), $reason)
    ) = 0
"""

_BY_PLACE: Final = """
    SELECT at, place, sum(letters) AS "Value"
    FROM
    (
        SELECT
            $__timeInterval(time) AS at,
            if(topic = 'http', 'http', concat(topic, ' ', toString(partition))) AS place,
            count() AS letters
        FROM dead_letters
        WHERE $__timeFilter(time)
        GROUP BY at, place
        UNION ALL
        SELECT toStartOfInterval(arrayJoin([$__fromTime, $__toTime]), INTERVAL $__interval_s second), 'http', 0
    )
    GROUP BY at, place
    ORDER BY at, place
"""

_BY_CAMPAIGN: Final = """
    SELECT
        site AS "Site",
        channel AS "Channel",
        campaign AS "Campaign",
        countIf(NOT valid) AS "Invalid",
        count() AS "Touches",
        "Invalid" / "Touches" AS "Share",
        arrayStringConcat(arraySort(groupUniqArrayArray(invalid_reasons)), ', ') AS "Reasons"
    FROM touches
    WHERE $__timeFilter(time)
    GROUP BY site, channel, campaign
    ORDER BY "Invalid" DESC, "Touches" DESC
    LIMIT 50
"""


def refusals() -> Dashboard:
    """The dashboard *headwater: refusals*."""
    reason = choice_of_many(
        "reason",
        "Reason",
        "Which dead letters the list at the end shows.",
        "SELECT DISTINCT reason FROM dead_letters ORDER BY reason",
        CLICKHOUSE,
    )
    return build(
        UID,
        "headwater: refusals",
        "What did not count, and why. Nothing that was refused is thrown away: dead letters keep their bytes for 30 "
        "days, invalid touches are kept and left out of credit.",
        [reason],
        [_summary(), _dead_letters(), _invalid(), _list()],
        since="now-6h",
        refresh="30s",
    )


def _summary() -> Layout:
    return Layout(
        "In this period",
        [
            stat_panel(
                "Refused",
                "Events that went to dead-letters, by the count of the processes.",
                [promql_now("sum(increase(headwater_dead_letters_total[$__range]))")],
                units.LocaleFormat,
                decimals=0,
                span=4,
            ),
            stat_panel(
                "Share refused, last 5 minutes",
                "Of all events that came. Normal: under 1 %.",
                [promql("sum(headwater:dead_letters:ratio5m)")],
                units.PercentUnit,
                decimals=2,
                steps=((0.01, ORANGE), (0.05, RED)),
                graph=True,
                span=4,
            ),
            stat_panel(
                "Duplicates",
                "The same event with the same content again: counted once. Senders repeat what was not acknowledged.",
                [promql_now('sum(increase(headwater_events_total{outcome="duplicate"}[$__range]))')],
                units.LocaleFormat,
                decimals=0,
                span=4,
            ),
            stat_panel(
                "Moved",
                "Records that a producer put into the wrong partition, and that were moved to the right one. They "
                "count.",
                [promql_now('sum(increase(headwater_events_total{outcome="moved"}[$__range]))')],
                units.LocaleFormat,
                decimals=0,
                span=4,
            ),
            stat_panel(
                "Invalid touches",
                "Touches that earn no credit: no consent, a verdict, or judged so. One with two reasons counts twice.",
                [promql_now("sum(increase(headwater_invalid_touches_total[$__range]))")],
                units.LocaleFormat,
                decimals=0,
                span=4,
            ),
            stat_panel(
                "Conversions without a visitor",
                "Share of new conversions, last hour: credited to Direct until an event names their visitor.",
                [promql("headwater:unmatched_conversions:ratio1h")],
                units.PercentUnit,
                decimals=1,
                steps=((0.1, ORANGE), (0.5, RED)),
                graph=True,
                span=4,
            ),
        ],
    )


def _dead_letters() -> Layout:
    return Layout(
        "Dead letters: refused events",
        [
            lines_panel(
                "Refused, by reason",
                "Events a second, by the reason for which they were refused.",
                [promql("headwater:dead_letters:rate5m", "{{reason}}")],
                units.EventsPerSecond,
                stacked=True,
                span=8,
            ),
            lines_panel(
                "Share refused, by reason",
                "Of all events that came. An alert fires at one in twenty, or five times the day's share.",
                [promql("headwater:dead_letters:ratio5m", "{{reason}}")],
                units.PercentUnit,
                steps=((0.05, RED),),
                span=8,
            ),
            lines_panel(
                "Refused, by role",
                "Where: the collector refuses what it cannot read at its door, the worker what only the whole shows "
                "(too old, other content under the same id), and what other producers write to Kafka.",
                [
                    promql(
                        "sum by (job, reason) (rate(headwater_dead_letters_total[$__rate_interval]))",
                        "{{job}} {{reason}}",
                    )
                ],
                units.EventsPerSecond,
                stacked=True,
                span=8,
            ),
            table_panel(
                "Why",
                "Every reason there is, how many were refused for it in the period, and what the latest one says.",
                [sql_rows(_BY_REASON)],
                units.NoUnit,
                fields={
                    "Reason": {"custom.width": 110},
                    "Meaning": {"custom.width": 330},
                    "Refused": count() | bar_in_cell() | {"custom.width": 150},
                    "at the collector's door": count() | {"custom.width": 170},
                    "Latest": {"unit": units.DateTimeFromNow, "custom.width": 130},
                },
                span=24,
                height=8,
            ),
            lines_panel(
                "Refused, by topic and partition",
                "Dead letters over time, by where they came from; `http` is the collector's door.",
                [sql_series(_BY_PLACE)],
                units.Short,
                stacked=True,
                bars=True,
                span=24,
                interval="1m",
            ),
        ],
    )


def _invalid() -> Layout:
    return Layout(
        "Invalid touches: kept, and left out of credit",
        [
            lines_panel(
                "Share of touches that are invalid, by reason",
                "Of all touches that were accepted. An alert fires at one half, or three times the day's share.",
                [promql("headwater:invalid_touches:ratio5m", "{{reason}}")],
                units.PercentUnit,
                span=10,
                height=9,
            ),
            table_panel(
                "By campaign",
                "Campaigns by how many of their touches in the period are invalid, and for which reasons.",
                [sql_rows(_BY_CAMPAIGN)],
                units.NoUnit,
                fields={"Invalid": count() | bar_in_cell(), "Touches": count(), "Share": share(1)},
                span=14,
                height=9,
            ),
        ],
    )


def _list() -> Layout:
    return Layout(
        "The latest dead letters",
        [
            table_panel(
                "Dead letters",
                "The latest hundred of the period: what was refused, why, where it lay, and its first bytes.",
                [sql_rows(_LATEST)],
                units.NoUnit,
                fields={
                    "Time": {"unit": units.DatetimeISO, "custom.width": 170},
                    "Reason": {"custom.width": 110},
                    "Topic": {"custom.width": 120},
                    "Partition": {"custom.width": 80},
                    "Offset": {"custom.width": 90},
                    "Payload": {"custom.inspect": True},
                },
                height=12,
            ),
        ],
    )
