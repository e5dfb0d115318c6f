r"""The collector: events come in over HTTP and are acknowledged once Kafka, or the disk while it is away, has them.

    granian (server) -> Collector.handle (app) -> intake: check, complete, choose topic and key -> EventLog -> Kafka
                                              |                                          spool: disk -/
                                              \-> redirects: destination of an ad click, from the followed registry

Rule: an event is never acknowledged before it is kept, and what is refused is kept too, in ``dead-letters``. The
handlers know neither server nor Kafka: they take a `Request`, an `EventLog` and a clock.
"""

from __future__ import annotations

from streams.collector.app import Collector
from streams.collector.eventlog import EventLog, Record
from streams.collector.kafkalog import KafkaLog
from streams.collector.messages import Request, Response

__all__ = ["Collector", "EventLog", "KafkaLog", "Record", "Request", "Response"]
