"""Names of log events: what each means to whoever operates headwater, and what to do about it.

Rule: a name does not change once it is released, and every call of a logger uses one that stands here; a test compares.
``docs/logs.md`` shows them with levels and fields, which are read from the calls.
"""

from __future__ import annotations

from typing import Final

LOG_EVENTS: Final[dict[str, str]] = {
    # every role
    "library_log": "A library that we use says something. Worth a look where it goes on.",
    "role_crashed": "A fault of headwater ended the process; its supervisor starts it again. Please report it.",
    "kafka_unreachable": "Kafka does not answer; it is tried again. Senders, or the log, keep the events.",
    "registry_unreachable": "The topic `campaigns` cannot be read now; what was read stays in force.",
    # collector
    "collector_started": "The collector listens.",
    "collector_stopping": "The collector takes no more connections, and answers what it has.",
    "collector_stopped": "The collector has answered and flushed all, and ends.",
    "kafka_connected": "The collector is connected to Kafka, for the first time or again.",
    "registry_read": "All sites and campaigns are known; redirects work from now on.",
    "registry_remembered": "Until Kafka is there, what this collector knew last of sites and campaigns is in force.",
    "registry_copy_failed": "Sites and campaigns could not be written beside the spool. Look at the disk.",
    "registry_record_ignored": "A record in `campaigns` is no valid entry: `headwater campaigns apply` it again.",
    "produce_failed": "Kafka did not take some events; they go to the spool, or their senders were answered 503.",
    "producer_stop_failed": "The connection to Kafka could not be closed in order. Harmless.",
    "spooling_began": "Kafka does not take events in time: they go to the collector's disk. Bring Kafka back.",
    "spooling_ended": "Kafka takes events again; what waits on the disk is handed on beside new ones.",
    "spool_found": "Events from before wait on the disk; they are handed on to Kafka now.",
    "spool_delivered": "Kafka has all that waited on the disk.",
    "spool_full": "The spool has its size, and Kafka is away: senders are answered 503. Bring Kafka back.",
    "spool_failed": "The disk does not take events: without Kafka, senders are answered 503. Look at the disk.",
    "spool_recovered": "The disk takes events again.",
    "spool_damaged": "Bytes in a segment are no event any more; the file `kept` has them. Look at the disk.",
    "spool_torn": "A crash cut off the last write of a segment; nothing of it had been acknowledged. Harmless.",
    "spool_unreadable": "The disk cannot read a segment, which stays and is tried again at the next start.",
    "spool_record_refused": "Kafka never takes this event, by its size; it is in the file `kept`.",
    "spool_aside_failed": "Damaged bytes could not be written to a file of their own.",
    "spool_crashed": "A fault of headwater stopped the spool's work; it goes on. Please report it.",
    "proxy_not_listed": "An address forwards for others, and one rate limit, or none, holds for all of them. Where it "
    "is your proxy, list it in HEADWATER_TRUSTED_PROXIES.",
    "request_failed": "A fault of headwater: a request was answered 500. Please report it.",
    "click_id_keys_unset": "Click ids are signed with a key that ends with the process: set HEADWATER_CLICK_ID_KEYS.",
    # worker
    "worker_started": "The worker has joined its group; partitions follow.",
    "worker_not_ready": "The worker cannot do its work, for this reason; it goes on by itself when that is gone.",
    "worker_ready": "The worker does its work again.",
    "kafka_answers": "Kafka answers the worker again.",
    "worker_stopped": "The worker has finished the batch in hand, and ends.",
    "stop_cut_short": "Kafka did not let go in time, so the worker ended at once. Nothing is lost.",
    "rebalanced": "The group has shared out its partitions anew, which took so many seconds from the work.",
    "partitions_assigned": "The group gave these partitions to this worker; the units of `kept` ones stayed open.",
    "partitions_incomplete": "Partitions came without some of their inputs, and wait; a topic may have been deleted.",
    "unit_open": "A partition is restored and at work; `restored` records were read from Kafka for it.",
    "restoring": "A partition is being restored; `left` records are still to be read.",
    "unit_failed": "A transaction or a connection failed; the partition is opened again. Look where it repeats.",
    "unit_crashed": "A fault of headwater stopped a batch; the partition is opened again. Please report it.",
    "windows_failed": "A partition's rolling windows are shown no more until it opens again. Please report it.",
    "state_swept": "What nothing can need any more is forgotten; what is needed for longer was written again.",
    "registry_applied": "Entries of the registry came late; all that a partition knows has been looked at again.",
    "batch_failed": "A batch as a whole raised a fault of headwater; its records are now taken one by one.",
    "record_refused": "One record raised a fault of headwater and is in `dead-letters`; its neighbours count.",
    "position_restored": "What was fetched is not what comes next; reading goes on at the right place.",
    "state_wiped": "Saved state did not fit the topics; it is rebuilt from Kafka. Normal after an upgrade.",
    "records_lost": "Kafka deleted records before they were read. Lengthen `retention.ms`, and find out what was slow.",
    "log_replaced": "A topic ends before where it was read to: it was made anew, and is read from its start.",
    "registry_entry_refused": "A record in `campaigns` is no valid entry: write it again, `headwater campaigns apply`.",
    # sink
    "sink_metrics": "The sink serves metrics and health here.",
    "sink_started": "The sink reads these topics as this group.",
    "sink_assigned": "The group gave so many partitions to this sink.",
    "sink_stopped": "The sink has inserted and committed what it held, and ends.",
    "sink_kafka_unavailable": "Kafka does not answer the sink; it is tried again.",
    "sink_insert_failed": "ClickHouse does not take rows; the same rows are tried again until it does.",
    "sink_insert_recovered": "ClickHouse takes rows again.",
    "sink_commit_failed": "Rows are in ClickHouse, but Kafka does not know; they are inserted again: harmless.",
    "sink_batch_abandoned": "A partition went to another sink before its rows were in; that one reads them again.",
    "sink_record_undecodable": "Records that this version does not know; kept in `sink_rejects`. Upgrade the sink.",
    "sink_rewound": "ClickHouse held less than Kafka's offsets say (put back from a backup, another database, or the "
    "first start of a version that keeps positions): what it lacks is read again.",
    "sink_records_gone": "ClickHouse lacks these, and Kafka keeps them no more: put back a newer backup, if you can.",
    "sink_topic_missing": "A topic is not there: run `headwater topics`.",
    "sink_topic_recreated": "A topic was deleted and made anew; it is read from its start, and the newer rows hold.",
    # live page
    "page_started": "The live page listens.",
    "page_stopped": "The live page has closed its connections, and ends.",
    "page_answer_failed": "ClickHouse did not answer the page; it shows the last figures, and says so.",
    "page_answers_again": "ClickHouse answers the page again.",
    "page_health_failed": "A fault of headwater: the page's look at the roles failed. Please report it.",
    # local stack
    "service_died": "A service of the local stack ended by itself; it is started again.",
    "service_cannot_start": "A service of the local stack cannot be started.",
    "engine_connection_dropped": "The local ClickHouse engine dropped a connection that had failed.",
}
"""Event -> one line; grouped by who logs it."""
