"""The dashboard for whoever keeps it running: is tracking healthy, and if not, what lags, where, and since when.

Rule: the first row answers the question without scrolling, green where all is well; each row below is one role, in the
order in which an event passes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import units

from deploy.grafana.health_worker import partitions, worker
from deploy.grafana.layout import Layout, build, choice_of_many
from deploy.grafana.panels import (
    GREEN,
    ORANGE,
    RED,
    coloured,
    dashed,
    lines_panel,
    merged,
    stat_panel,
    table_panel,
)
from deploy.grafana.sources import PROMETHEUS, promql, promql_now, sql_rows

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

UID: Final = "headwater-health"
_AT_ALL: Final = ((1.0, RED),)

_FIRING: Final = """
    count by (alertname, severity) (ALERTS{alertname=~"Headwater.+", alertstate="firing"})
    or on () label_replace(vector(0), "alertname", "none", "", "")
"""

_UNSOUND: Final = """
    SELECT count() AS "do not add up"
    FROM
    (
        SELECT site, conversion_id, model, sum(weight) AS weights, sum(value) AS credited
        FROM credits
        WHERE $__timeFilter(conversion_time)
        GROUP BY site, conversion_id, model
    ) AS c
    INNER JOIN conversions AS v USING (site, conversion_id)
    WHERE c.weights != 1 OR c.credited != v.value
"""


def health() -> Dashboard:
    """The dashboard *headwater: tracking health*."""
    role = choice_of_many(
        "role", "Role", "Which processes the last row shows.", 'label_values(up{job=~"headwater-.+"}, job)', PROMETHEUS
    )
    return build(
        UID,
        "headwater: tracking health",
        "Is tracking healthy, and if not, what lags, where, and since when. Alerts and what to do: docs/runbook.md.",
        [role],
        [_summary(), _arrival(), worker(), partitions(), _sink(), _processes()],
        since="now-1h",
        refresh="10s",
        marks={"alerts": 'ALERTS{alertname=~"Headwater.+", alertstate="firing"}'},
    )


def _summary() -> Layout:
    return Layout(
        "Is tracking healthy?",
        [
            stat_panel(
                "Alerts firing",
                "Alerts of headwater that fire now. Normal: 0. What each means and what to do is in the runbook.",
                [promql_now('count(ALERTS{alertname=~"Headwater.+", alertstate="firing"}) or vector(0)')],
                units.NoUnit,
                steps=_AT_ALL,
            ),
            stat_panel(
                "Processes down",
                "Processes that do not answer Prometheus. Normal: 0.",
                [promql_now('count(up{job=~"headwater-.+"} == 0) or vector(0)')],
                units.NoUnit,
                steps=_AT_ALL,
            ),
            stat_panel(
                "Not ready",
                "Processes that run but do not work, for want of Kafka, ClickHouse or a partition. Normal: 0.",
                [promql_now("count(headwater_ready == 0) or vector(0)")],
                units.NoUnit,
                steps=_AT_ALL,
            ),
            stat_panel(
                "Events",
                "Events that arrive: clicks, impressions, landings, conversions, costs.",
                [promql("sum(headwater:arrived:rate5m)")],
                units.EventsPerSecond,
                graph=True,
            ),
            stat_panel(
                "Of normal",
                "Events that arrive, against the same time a week ago, else yesterday, else the last six hours.",
                [promql_now("sum(headwater:arrived:rate5m) / clamp_min(sum(headwater:arrived:normal), 1e-9)")],
                units.PercentUnit,
                steps=((0.25, ORANGE), (0.5, GREEN)),
                below=RED,
                decimals=0,
            ),
            stat_panel(
                "Refused",
                "Share of events that go to dead-letters, for whatever reason. Normal: under 1 %.",
                [promql("sum(headwater:dead_letters:ratio5m)")],
                units.PercentUnit,
                steps=((0.01, ORANGE), (0.05, RED)),
                decimals=2,
                graph=True,
            ),
            stat_panel(
                "Work that waits",
                "The longest backlog, in seconds of work at the present pace. Normal: under a second.",
                [promql("max(headwater:consumer_lag:seconds)")],
                units.Seconds,
                steps=((60, ORANGE), (600, RED)),
                graph=True,
            ),
            stat_panel(
                "ClickHouse behind",
                "Age of the oldest result that is not in ClickHouse yet. Normal: under two seconds.",
                [promql("max(headwater_sink_lag_seconds)")],
                units.Seconds,
                steps=((10, ORANGE), (60, RED)),
                graph=True,
            ),
            stat_panel(
                "Records unaccounted for",
                "Records read that are neither accepted, duplicate, dead letter nor moved, and dead letters without a "
                "reason. Always 0, or there is a bug.",
                [promql_now("sum(abs(headwater:conservation:gap)) or vector(0)")],
                units.NoUnit,
                steps=_AT_ALL,
                span=4,
            ),
            stat_panel(
                "Credits that do not add up",
                "Conversions of the period whose credits, under some model, do not sum to the value, or whose weights "
                "do not sum to 1. Always 0.",
                [sql_rows(_UNSOUND)],
                units.NoUnit,
                steps=_AT_ALL,
                span=4,
            ),
            stat_panel(
                "Records lost",
                "Records that Kafka deleted before they were read, in the period. Normal: 0.",
                [promql_now("sum(increase(headwater_lost_records_total[$__range]))")],
                units.NoUnit,
                steps=_AT_ALL,
                decimals=0,
                span=4,
            ),
            stat_panel(
                "Results not readable",
                "Output records that the sink could not read, in the period; they are in sink_rejects. Normal: 0.",
                [promql_now("sum(increase(headwater_sink_undecodable_total[$__range]))")],
                units.NoUnit,
                steps=_AT_ALL,
                decimals=0,
                span=4,
            ),
            table_panel(
                "Alerts that fire",
                "By name; none is normal. Each is a heading in docs/runbook.md.",
                [promql_now(_FIRING, rows=True)],
                units.NoUnit,
                transformations=merged({"alertname": "Alert", "severity": "Severity", "Value": "Number"}),
                fields={"Number": coloured((1, RED)) | {"custom.width": 80}, "Severity": {"custom.width": 90}},
                span=8,
                height=4,
            ),
        ],
    )


def _arrival() -> Layout:
    asked = 'route!~"/healthz|/readyz|/metrics"'
    return Layout(
        "Collector: what arrives",
        [
            lines_panel(
                "Events that arrive",
                "By input topic, seen by the collector or the worker, with what is normal at this time.",
                [
                    promql("headwater:arrived:rate5m", "{{topic}}"),
                    promql("headwater:arrived:normal", "{{topic}}, normal"),
                ],
                units.EventsPerSecond,
                fields={"/, normal/": dashed()},
            ),
            lines_panel(
                "Requests",
                "By route and status. 503: neither Kafka nor the disk takes events. 500: a bug.",
                [
                    promql(
                        "sum by (route, status) "
                        f"(rate(headwater_collector_requests_total{{{asked}}}[$__rate_interval]))",
                        "{{route}} {{status}}",
                    )
                ],
                units.RequestsPerSecond,
                stacked=True,
            ),
            lines_panel(
                "Duration of requests",
                "From a request's head to its answer: 99th percentile by route, and the median of all. Kafka's "
                "acknowledgement is most of it.",
                [
                    promql("headwater:collector_latency:p99_5m", "{{route}}, 99 %"),
                    promql(
                        "histogram_quantile(0.5, sum by (le) "
                        f"(rate(headwater_collector_request_seconds_bucket{{{asked}}}[$__rate_interval])))",
                        "all, median",
                    ),
                ],
                units.Seconds,
                span=8,
                steps=((0.5, ORANGE),),
            ),
            lines_panel(
                "Failed requests",
                "Share of requests that were answered by 5xx. Normal: 0.",
                [promql("headwater:collector_errors:ratio5m", "5xx")],
                units.PercentUnit,
                span=8,
                steps=((0.01, RED),),
            ),
            lines_panel(
                "Events on the collector's disk",
                "What Kafka has not taken yet, and how old the oldest of them is. Normal: 0.",
                [
                    promql("headwater_collector_spooled_events", "{{instance}}, events"),
                    promql("headwater_collector_spool_oldest_seconds", "{{instance}}, oldest"),
                ],
                units.Short,
                fields={"/, oldest/": {"unit": units.Seconds, "custom.axisPlacement": "right"}},
                span=8,
            ),
            lines_panel(
                "Room that the spool takes",
                "Share of HEADWATER_SPOOL_BYTES. Where it is full, and Kafka away, events are refused. Normal: 0.",
                [promql("headwater_collector_spool_bytes / headwater_collector_spool_limit_bytes", "{{instance}}")],
                units.PercentUnit,
                steps=((0.5, ORANGE), (0.8, RED)),
            ),
            lines_panel(
                "The spool's disk",
                "Writes that it did not take in five minutes, and stretches that are no event any more. Normal: 0.",
                [
                    promql("increase(headwater_collector_spool_failures_total[5m])", "{{instance}}, not taken"),
                    promql("headwater_collector_spool_damages_total", "{{instance}}, damaged"),
                ],
                units.Short,
                steps=((1, RED),),
            ),
        ],
    )


def _sink() -> Layout:
    return Layout(
        "Sink: into ClickHouse",
        [
            lines_panel(
                "Rows inserted",
                "Into each table of ClickHouse; nothing where nothing new is committed.",
                [promql("sum by (table) (rate(headwater_sink_rows_total[$__rate_interval]))", "{{table}}")],
                units.RowsPerSecond,
                stacked=True,
                span=8,
            ),
            lines_panel(
                "Inserts: time and failures",
                "99th percentile of an insert that went through, by table, and failed attempts a second. Normal: no "
                "failures.",
                [
                    promql(
                        "histogram_quantile(0.99, "
                        "sum by (table, le) (rate(headwater_sink_insert_seconds_bucket[$__rate_interval])))",
                        "{{table}}",
                    ),
                    promql("sum(rate(headwater_sink_insert_failures_total[$__rate_interval]))", "failures a second"),
                ],
                units.Seconds,
                span=8,
                fields={"failures a second": {"unit": units.OpsPerSecond, "custom.axisPlacement": "right"}},
            ),
            lines_panel(
                "ClickHouse behind",
                "Age of the oldest record that was read and is not in ClickHouse yet.",
                [promql("headwater_sink_lag_seconds", "{{instance}}")],
                units.Seconds,
                span=8,
                steps=((60, RED),),
            ),
        ],
    )


def _processes() -> Layout:
    return Layout(
        "Processes: $role",
        [
            lines_panel(
                "CPU",
                "Cores in use. A Python process uses one at most for its own work.",
                [promql('rate(process_cpu_seconds_total{job=~"$role"}[$__rate_interval])', "{{job}} {{instance}}")],
                units.Short,
                span=8,
            ),
            lines_panel(
                "Memory",
                "Resident memory. It may grow for hours, not for days.",
                [promql('process_resident_memory_bytes{job=~"$role"}', "{{job}} {{instance}}")],
                units.BytesIEC,
                span=8,
            ),
            lines_panel(
                "Open files",
                "Share of the files and connections that the process may have open.",
                [promql('process_open_fds{job=~"$role"} / process_max_fds{job=~"$role"}', "{{job}} {{instance}}")],
                units.PercentUnit,
                span=8,
                steps=((0.8, RED),),
            ),
            table_panel(
                "Versions",
                "Which version runs since when. Normal: one version.",
                [
                    promql_now(
                        'max by (job, instance, version) (headwater_build_info{job=~"$role"})',
                        rows=True,
                    ),
                    promql_now('time() - max by (job, instance) (process_start_time_seconds{job=~"$role"})', rows=True),
                    promql_now('max by (job, instance) (headwater_ready{job=~"$role"})', rows=True),
                ],
                units.NoUnit,
                transformations=merged(
                    {
                        "job": "Role",
                        "instance": "Process",
                        "version": "Version",
                        "Value #B": "Runs for",
                        "Value #C": "Ready",
                    },
                    hidden=("Time", "Value #A"),
                ),
                fields={
                    "Runs for": {"unit": units.Seconds, "decimals": 0},
                    "Ready": {
                        "mappings": [
                            {
                                "type": "value",
                                "options": {
                                    "0": {"text": "no", "color": RED, "index": 0},
                                    "1": {"text": "yes", "color": GREEN, "index": 1},
                                },
                            }
                        ],
                        "custom.cellOptions": {"type": "color-text"},
                    },
                },
                sort=("Role", False),
                height=7,
            ),
        ],
    )
