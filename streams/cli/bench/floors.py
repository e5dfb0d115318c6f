"""Floors: what the same records cost with as little work as can be, measured in the same run as what stands on them.

Rule: a floor does nothing that could be left out. `read`: Kafka's client alone takes every record of some topics
(``read_committed``) and counts it; `parse`: orjson alone parses the same values; `serve`: the collector's HTTP server
answers without looking. Run as programs of their own: ``python -m streams.cli.bench.floors read KAFKA TOPIC...``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import Any, Final

import orjson

_FETCH_BYTES: Final = 4 << 20
_CHUNK: Final = 1_000
"""Records taken at once: so few stay in the processor's cache."""
_PARSED: Final = 200_000
"""Most values that are kept in memory to be parsed."""


async def read(kafka: str, topics: list[str]) -> dict[str, Any]:
    """Take every record of `topics`: how many of each, and microseconds of CPU a record for taking and for parsing."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    await consumer.start()
    try:
        tps = [
            TopicPartition(topic, number) for topic in topics for number in sorted(await _partitions(consumer, topic))
        ]
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        for tp, start in (await consumer.beginning_offsets(tps)).items():
            consumer.seek(tp, start)
        counted = dict.fromkeys(topics, 0)
        values: list[bytes] = []
        began, used = time.perf_counter(), time.process_time()
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, records in (await consumer.getmany(timeout_ms=100, max_records=_CHUNK)).items():
                counted[tp.topic] += len(records)
                if len(values) < _PARSED:
                    values += [record.value for record in records if record.value is not None]
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
    finally:
        await consumer.stop()
    records = max(1, sum(counted.values()))
    return {
        "records": counted,
        "records_per_s": round(records / seconds),
        "read_us": round(cpu / records * 1e6, 3),
        "parse_us": round(parse(values), 3),
    }


async def _partitions(consumer: Any, topic: str) -> set[int]:
    await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 - `partitions_for_topic` knows subscribed ones only
    found: set[int] = consumer.partitions_for_topic(topic)
    return found


def parse(values: list[bytes]) -> float:
    """Microseconds of CPU that orjson needs a value."""
    loads = orjson.loads
    used = time.process_time()
    for value in values:
        loads(value)
    return (time.process_time() - used) / max(1, len(values)) * 1e6


async def serve(port: int) -> None:
    """Answer every request as the collector would, without looking at it, until SIGTERM."""
    import signal

    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    answer = b'{"accepted":1,"rejected":[]}'
    headers = [("content-type", "application/json")]

    async def application(scope: Any, protocol: Any) -> None:
        await protocol()
        protocol.response_bytes(202 if scope.method == "POST" else 200, headers, answer)

    server = Server(
        application,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


def main(arguments: list[str]) -> None:
    """`read KAFKA TOPIC...` prints its figures as JSON; `serve PORT` runs until SIGTERM."""
    import uvloop

    gc.disable()
    if arguments[0] == "read":
        print(json.dumps(uvloop.run(read(arguments[1], arguments[2:]))))
    else:
        uvloop.run(serve(int(arguments[1])))


if __name__ == "__main__":
    main(sys.argv[1:])
