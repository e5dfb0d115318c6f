"""The health dashboard's rows about the worker: what becomes of the records, what waits, and partition by partition.

Rule: totals first, then the partition that spoils them.
"""

from __future__ import annotations

from grafana_foundation_sdk.models import units

from deploy.grafana.layout import Layout
from deploy.grafana.panels import GREEN, ORANGE, RED, coloured, lines_panel, merged, table_panel
from deploy.grafana.sources import promql, promql_now


def worker() -> Layout:
    """What becomes of the records, and what waits."""
    return Layout(
        "Worker: what becomes of it",
        [
            lines_panel(
                "Records by outcome",
                "What became of the records read: accepted, duplicate, dead_letter, or moved to the right partition.",
                [promql("sum by (outcome) (rate(headwater_events_total[$__rate_interval]))", "{{outcome}}")],
                units.RecordsPerSecond,
                stacked=True,
                fields={
                    "accepted": {"color": {"mode": "fixed", "fixedColor": GREEN}},
                    "dead_letter": {"color": {"mode": "fixed", "fixedColor": RED}},
                },
            ),
            lines_panel(
                "Attributions by cause",
                "Conversions credited for the first time, and again because something came late: a touch, an "
                "adjustment, a verdict or consent, another visitor.",
                [promql("sum by (cause) (rate(headwater_attributions_total[$__rate_interval]))", "{{cause}}")],
                units.OpsPerSecond,
                stacked=True,
            ),
            lines_panel(
                "Work that waits",
                "Records that wait, in seconds of work at the pace of the last five minutes, by reader and topic.",
                [promql("headwater:consumer_lag:seconds", "{{job}} {{topic}}")],
                units.Seconds,
                span=8,
                steps=((60, ORANGE), (600, RED)),
            ),
            lines_panel(
                "Time to catch up",
                "Until nothing waits, new arrivals included; a day stands for never. 0 where no more than ten seconds' "
                "work waits.",
                [promql("headwater:consumer_lag:catch_up_seconds", "{{job}} {{topic}}")],
                units.Seconds,
                span=8,
            ),
            lines_panel(
                "Batches: time",
                "To compute and commit a batch, and Kafka's transaction in it.",
                [
                    promql(
                        "histogram_quantile(0.99, sum by (le) "
                        "(rate(headwater_batch_seconds_bucket[$__rate_interval])))",
                        "batch, 99 %",
                    ),
                    promql(
                        "histogram_quantile(0.5, sum by (le) (rate(headwater_batch_seconds_bucket[$__rate_interval])))",
                        "batch, median",
                    ),
                    promql(
                        "histogram_quantile(0.99, "
                        "sum by (le) (rate(headwater_transaction_seconds_bucket[$__rate_interval])))",
                        "transaction, 99 %",
                    ),
                ],
                units.Seconds,
                span=8,
            ),
            lines_panel(
                "Batches: size",
                "Records in a batch, on average. Small ones while little waits are normal: nobody may wait.",
                [
                    promql(
                        "sum(rate(headwater_batch_events_sum[$__rate_interval])) "
                        "/ sum(rate(headwater_batch_events_count[$__rate_interval]))",
                        "records a batch",
                    )
                ],
                units.Short,
                span=12,
                height=6,
            ),
            lines_panel(
                "State",
                "Bytes of the workers' state on disk, all partitions. It grows with the visitors of the last months.",
                [promql("headwater_state_bytes", "{{instance}}")],
                units.BytesIEC,
                span=12,
                height=6,
                stacked=True,
            ),
        ],
    )


def partitions() -> Layout:
    """Which worker has which partition, and how each of them does."""
    by = "by (partition, instance)"
    return Layout(
        "Worker: partition by partition",
        [
            table_panel(
                "Partitions",
                "One line a partition: which worker has it, how much waits, for how long it has not committed although "
                "something waits, for how long it has not been open, and the size of its state. Normal: ages of 0.",
                [
                    promql_now(f'sum {by} (headwater_consumer_lag{{job="headwater-worker"}})', rows=True),
                    promql_now(f"max {by} (headwater_commit_age_seconds)", rows=True),
                    promql_now(f"max {by} (headwater_unit_opening_seconds)", rows=True),
                    promql_now(f"max {by} (headwater_partition_state_bytes)", rows=True),
                ],
                units.Short,
                transformations=merged(
                    {
                        "partition": "Partition",
                        "instance": "Worker",
                        "Value #A": "Records waiting",
                        "Value #B": "Commit age",
                        "Value #C": "Opening for",
                        "Value #D": "State",
                    },
                    numbers=("partition",),
                ),
                fields={
                    "Partition": {"unit": units.NoUnit, "custom.width": 90, "custom.align": "left"},
                    "Commit age": {"unit": units.Seconds, **coloured((10, ORANGE), (60, RED))},
                    "Opening for": {"unit": units.Seconds, **coloured((60, ORANGE), (300, RED))},
                    "State": {"unit": units.BytesIEC},
                },
                sort=("Partition", False),
                span=12,
            ),
            lines_panel(
                "Records waiting, by partition",
                "Of all input topics. One line far above the others: one worker is stuck, or one key has all the "
                "traffic.",
                [
                    promql(
                        'sum by (partition) (headwater_consumer_lag{job="headwater-worker"})',
                        "{{partition}}",
                    )
                ],
                units.Short,
                span=12,
                height=9,
            ),
            lines_panel(
                "Commit age",
                "Time since a partition's last commit while something waits in it. Normal: 0, a few seconds under "
                "load.",
                [promql("max by (partition) (headwater_commit_age_seconds)", "{{partition}}")],
                units.Seconds,
                span=8,
                steps=((60, RED),),
            ),
            lines_panel(
                "Not open for",
                "How long a partition has been waiting to be restored and taken over. Normal: 0.",
                [promql("max by (partition) (headwater_unit_opening_seconds)", "{{partition}}")],
                units.Seconds,
                span=8,
                steps=((300, RED),),
            ),
            lines_panel(
                "Failures and openings",
                "Partitions that failed and were opened again, and openings, per hour. Normal: none but when workers "
                "come and go.",
                [
                    promql("sum(rate(headwater_unit_failures_total[$__rate_interval])) * 3600", "failures"),
                    promql("sum(rate(headwater_restore_seconds_count[$__rate_interval])) * 3600", "openings"),
                ],
                units.Short,
                span=8,
            ),
            lines_panel(
                "Restores",
                "Records of a partition's state that are still to be read from Kafka. Normal: 0 but for moments; from "
                "an empty disk some seconds a million.",
                [promql("max by (partition) (headwater_restore_left_records)", "{{partition}}")],
                units.Short,
                span=8,
            ),
            lines_panel(
                "Restores: time left",
                "At the pace since each began.",
                [promql("max by (partition) (headwater_restore_eta_seconds)", "{{partition}}")],
                units.Seconds,
                span=8,
            ),
            lines_panel(
                "Rebalances",
                "How often workers paused because one came or went, and the seconds that they lost by it, per hour. "
                "Normal: none but then, and below three seconds each.",
                [
                    promql("sum(rate(headwater_rebalance_seconds_sum[$__rate_interval])) * 3600", "seconds lost"),
                    promql("sum(rate(headwater_rebalance_seconds_count[$__rate_interval])) * 3600", "pauses"),
                ],
                units.Short,
                span=8,
            ),
        ],
    )
