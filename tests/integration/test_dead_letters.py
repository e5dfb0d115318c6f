"""Dead letters on a real broker: sent again once and never twice, wherever a replay is killed or overtaken."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter

import orjson
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from typer.testing import CliRunner

from deploy.local.kafka import Node
from schemas.errors import CommitFailed, ConfigurationError
from schemas.settings import Settings
from streams.cli.dead_letters import dead_letters
from streams.cli.dead_letters.letters import Choice, Letter
from streams.cli.dead_letters.mended import describe, read_lines
from streams.cli.dead_letters.plans import Rules, plan
from streams.cli.dead_letters.replay import replay
from streams.cli.dead_letters.sending import Sender
from streams.cli.dead_letters.topic import letterbox
from streams.cli.topics import create_topics
from streams.core.ids import partition_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
PARTITIONS = 2
THEN = int(time.time() * 1000) - 3 * 86_400_000
PROGRAM = """
import asyncio, sys
from schemas.settings import current_settings
from streams.cli.dead_letters.letters import Choice
from streams.cli.dead_letters.plans import Rules
from streams.cli.dead_letters.replay import replay
asyncio.run(replay(current_settings(), Choice(reasons=(sys.argv[1],)), Rules(), letters=2))
"""
"""A replay of many small transactions."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(tmp_path_factory):
    """A broker with all topics, for this module."""
    async with Node(tmp_path_factory.mktemp("kafka"), heap_mb=512) as node:
        await create_topics(Settings(kafka=node.address, partitions=PARTITIONS))
        yield node.address


@pytest.fixture
def settings(broker):
    """With a group of replays of its own."""
    return Settings(kafka=broker, partitions=PARTITIONS, app=f"app-{time.monotonic_ns()}")


def click(name, **fields):
    """A click that was on time when it was received."""
    return {"event_id": name, "type": "click", "time": THEN, "site": "shop", "visitor_id": f"v-{name}", **fields}


async def put(settings, reason, *events, topic="clicks"):
    """Letters as the worker writes them."""
    said = {"reason": reason, "detail": "why", "topic": topic, "partition": "1", "offset": "7", "time": str(THEN)}
    headers = [(name, value.encode()) for name, value in said.items()]
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await producer.start()
    try:
        for number, event in enumerate(events):
            value = event if isinstance(event, bytes) else orjson.dumps(event)
            await producer.send("dead-letters", value, key=b"k", partition=number % PARTITIONS, headers=headers)
    finally:
        await producer.stop()


async def read(settings, topic):
    """All committed records of a topic; a transaction that is open is waited for, until it is undone."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        tps = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        found = []
        async with asyncio.timeout(60):
            for tp in tps:
                while await consumer.position(tp) < ends[tp]:
                    for records in (await consumer.getmany(tp, timeout_ms=200)).values():
                        found.extend(records)
        return found
    finally:
        await consumer.stop()


async def names(settings, prefix):
    """How often each event of that name lies on ``clicks``."""
    events = [orjson.loads(record.value) for record in await read(settings, "clicks")]
    return Counter(event["event_id"] for event in events if event["event_id"].startswith(prefix))


async def letters(settings, reason) -> list[Letter]:
    """The letters of a reason."""
    async with letterbox(settings) as box:
        return [letter async for letter in box.letters(Choice(reasons=(reason,)))]


def once(prefix, number):
    """Each of so many events once."""
    return Counter({f"{prefix}{index}": 1 for index in range(number)})


@pytest.mark.asyncio(loop_scope="module")
async def test_letters_are_sent_again_once(settings):
    """With the right key and partition, as old as they were; a second time they are passed over."""
    await put(settings, "malformed", *(click(f"once-{index}") for index in range(5)), click("old", time=1))
    dry = await replay(settings, Choice(reasons=("malformed",)), Rules(), dry_run=True)
    assert (dry.replayed, dry.refused) == (5, {"too_old": 1})
    assert not await names(settings, "once-")
    first = await replay(settings, Choice(reasons=("malformed",)), Rules(), letters=2)
    assert (first.replayed, first.records, first.refused) == (5, {"clicks": 5}, {"too_old": 1})
    second = await replay(settings, Choice(reasons=("malformed",)), Rules())
    assert (second.replayed, second.before, second.refused) == (0, 5, {"too_old": 1})
    records = [r for r in await read(settings, "clicks") if b'"once-' in r.value]
    assert await names(settings, "once-") == once("once-", 5)
    for record in records:
        event = orjson.loads(record.value)
        assert record.key == event["visitor_id"].encode()
        assert record.partition == partition_of(record.key, PARTITIONS)
        assert event["received_at"] == THEN
        assert record.timestamp > THEN
        assert dict(record.headers).keys() == {"dead_letter"}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_mended_file_is_replayed_by_the_command_line(settings, tmp_path, monkeypatch):
    """`list --json`, an editor, `replay FILE`; what is still wrong stays, and is mended the next time."""
    await put(settings, "schema", click("mend-0", site=1), click("mend-1", site=None), b"\xff\x1b[2J")
    for name, value in {"KAFKA": settings.kafka, "APP": settings.app, "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"HEADWATER_{name}", value)

    async def headwater(*arguments):
        ended = await asyncio.to_thread(CliRunner().invoke, dead_letters, arguments)
        return ended.exit_code, ended.stdout, ended.stderr

    status, listed, _ = await headwater("list", "--reason", "schema", "--last", "7d", "--json")
    lines = sorted((orjson.loads(line) for line in listed.splitlines()), key=lambda line: str(line.get("event")))
    assert (status, len(lines)) == (0, 3)
    hostile, zero, one = sorted(lines, key=lambda line: line.get("event", {}).get("event_id", ""))
    zero["event"]["site"] = "shop"
    file = tmp_path / "letters.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, (zero, one))))
    status, told, complaints = await headwater("replay", str(file))
    assert (status, told) == (0, "replayed 1 letter: 1 record to clicks; 1 would be refused again and stay: schema 1\n")
    assert complaints == f"{one['letter']} stays: schema: site: missing\n"
    status, told, _ = await headwater("replay", str(file), "--json")
    assert status == 1
    assert orjson.loads(told)["replayed_before"] == 1
    one["event"]["site"] = "shop"
    file.write_bytes(orjson.dumps(one))
    assert (await headwater("replay", str(file)))[:2] == (0, "replayed 1 letter: 1 record to clicks\n")
    assert await names(settings, "mend-") == once("mend-", 2)
    status, shown, _ = await headwater("show", hostile["letter"])
    assert status == 0
    assert "\x1b" not in shown
    assert "ff 1b 5b 32 4a" in shown
    status, table, _ = await headwater("list", "--reason", "schema", "--all")
    assert "1 letter waiting: schema 1; 2 replayed" in table
    with pytest.raises(ConfigurationError, match="no such letter: 0:99999"):
        await replay(settings, Choice(places={(0, 99999)}), Rules())


@pytest.mark.asyncio(loop_scope="module")
async def test_a_file_of_another_topic_is_refused(settings):
    """Offsets mean nothing there: the topic was made anew since, or it is another Kafka."""
    await put(settings, "too_large", click("other-0"))
    (letter,) = await letters(settings, "too_large")
    line = orjson.dumps(describe(letter, None) | {"topic_id": "0" * 32})
    lines = read_lines([line], "f")
    with pytest.raises(ConfigurationError, match="another topic"):
        await replay(settings, Choice(places=set(lines)), Rules(), lines=lines)
    assert not await names(settings, "other-")


@pytest.mark.asyncio(loop_scope="module")
async def test_what_was_sent_and_not_committed_is_undone(settings):
    """As if the replay had been killed just before its commit; it cannot commit any more, and says why."""
    await put(settings, "in_future", click("undone-0"), click("undone-1"))
    plans = [plan(letter, Rules(partitions=PARTITIONS)) for letter in await letters(settings, "in_future")]
    killed = Sender(settings)
    await killed.open()
    commit = killed._producer.commit_transaction

    async def never():
        raise TimeoutError

    killed._producer.commit_transaction = never
    with pytest.raises(CommitFailed, match="run it again"):
        await killed.send(plans)
    tally = await replay(settings, Choice(reasons=("in_future",)), Rules())
    assert tally.replayed == 2
    with pytest.raises(Exception, match=r"(?i)fenced|epoch|another producer"):
        await commit()
    await killed.close()
    assert await names(settings, "undone-") == once("undone-", 2)


@pytest.mark.faults
@pytest.mark.asyncio(loop_scope="module")
async def test_killed_at_any_point_each_letter_is_sent_once(settings, tmp_path):
    """`kill -9` in the midst of a row of transactions, again and again, until none is left."""
    number, killed = 150, 0
    await put(settings, "id_collision", *(b'{"event_id":"kill-%d"}' % index for index in range(number)))
    environment = {**os.environ, "HEADWATER_KAFKA": settings.kafka, "HEADWATER_APP": settings.app}
    program = PROGRAM.replace("Rules()", "Rules(anyway=True)")

    async def marked():
        async with letterbox(settings) as box:
            found = await box.replays()
            return sum([letter.mark in found async for letter in box.letters(Choice(reasons=("id_collision",)))])

    for share in (0.2, 0.6):
        command = (sys.executable, "-c", program, "id_collision")
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        async with asyncio.timeout(60):
            while process.returncode is None and await marked() < share * number:
                await asyncio.sleep(0.01)
        if process.returncode is None:
            process.kill()
        killed += await process.wait() == -signal.SIGKILL
    assert killed
    tally = await replay(settings, Choice(reasons=("id_collision",)), Rules(anyway=True))
    assert tally.replayed + tally.before == number
    assert await names(settings, "kill-") == once("kill-", number)


@pytest.mark.asyncio(loop_scope="module")
async def test_of_two_replays_at_once_the_later_goes_on(settings):
    """The earlier ends with one clear line, or was done; no letter is sent by both."""
    number = 40
    await put(settings, "too_old", *(click(f"two-{index}") for index in range(number)))
    runs = [replay(settings, Choice(reasons=("too_old",)), Rules(), letters=1) for _ in range(3)]
    ends = await asyncio.gather(*runs, return_exceptions=True)
    overtaken = [str(end) for end in ends if isinstance(end, CommitFailed)]
    assert len(overtaken) < len(ends), ends
    assert set(overtaken) <= {"another replay was begun meanwhile; it goes on, and this one has ended"}
    rest = await replay(settings, Choice(reasons=("too_old",)), Rules())
    assert rest.replayed + rest.before == number
    assert await names(settings, "two-") == once("two-", number)
