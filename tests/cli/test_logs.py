"""Logs: JSON lines of a fixed form, no secret, repeats counted; readable text on a terminal."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from schemas.errors import ConfigurationError
from schemas.settings import Settings
from streams.cli.library_logs import EVERY_S, MAX_LINES, LibraryLogs
from streams.cli.logs import SECRET_NAME, secrets_in, set_up_logs

SECRET = 'Gr"ün\\fb6a3f0c'
BEGIN = "import logging, structlog\nfrom streams.cli.logs import set_up_logs\nlog = structlog.get_logger()\n"


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program that logs, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict]:
    """What it logged; each line is one JSON object."""
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_is_an_object_that_begins_with_when_how_grave_who_and_what():
    """Facts are fields; they follow in the order of the call."""
    (line,) = lines(run("set_up_logs(role='worker')\nlog.warning('unit_failed', partition=3, error='gone')\n"))
    assert list(line) == ["timestamp", "level", "role", "event", "partition", "error"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["role"], line["event"], line["partition"]) == ("warning", "worker", "unit_failed", 3)


def test_an_exception_is_fields_on_the_same_line():
    """Of ours as of a library's; local variables, which hold what people sent, are left out."""
    first, second = lines(
        run(
            "set_up_logs(role='sink')\n"
            "def fail():\n    private = 'sent-by-a-person'\n    raise ValueError('no\\nnumber')\n"
            "try: fail()\n"
            "except ValueError as error:\n"
            "    log.exception('batch_failed', partition=1)\n"
            "    logging.getLogger('aiokafka.consumer').error('Failed %s', 'fetch', exc_info=error)\n"
        )
    )
    assert (first["event"], second["event"]) == ("batch_failed", "library_log")
    assert (second["logger"], second["message"]) == ("aiokafka.consumer", "Failed fetch")
    for line in (first, second):
        (trace,) = line["exception"]
        assert (trace["exc_type"], trace["exc_value"]) == ("ValueError", "no\nnumber")
        assert [frame["name"] for frame in trace["frames"]] == ["<module>", "fail"]
        assert "sent-by-a-person" not in json.dumps(line)


def test_no_secret_of_the_environment_is_written():
    """Neither in a text nor in an exception, as it is or as JSON has it; a key's id is none."""
    done = run(
        "import os\nset_up_logs(role='collector')\n"
        "secret = os.environ['HEADWATER_KAFKA_SASL_PASSWORD']\n"
        "log.info('collector_started', url=f'kafka://me:{secret}@host', password='x', sasl_password='y', api_key='z')\n"
        "try: raise OSError(f'cannot log in with {secret}')\n"
        "except OSError: log.exception('request_failed', text='k3y-of-clicks', id='one')\n"
        "logging.getLogger('aiokafka').error('sent %s', secret)\n",
        HEADWATER_KAFKA_SASL_PASSWORD=SECRET,
        HEADWATER_CLICK_ID_KEYS="one:k3y-of-clicks,two:other-key",
    )
    for hidden in (SECRET, json.dumps(SECRET)[1:-1], "fb6a3f0c", "k3y-of-clicks"):
        assert hidden not in done.stderr
    first, second, third = lines(done)
    assert first["url"] == "kafka://me:***@host"
    assert {first["password"], first["sasl_password"], first["api_key"]} == {"***"}
    assert second["exception"][0]["exc_value"] == "cannot log in with ***"
    assert second["id"] == "one"
    assert third["message"] == "sent ***"


def test_secret_settings_are_known_by_their_names():
    """All settings that are secret, and no others: logs must not wait for the settings to know them."""
    secret = {name for name, field in Settings.model_fields.items() if field.annotation is SecretStr}
    assert {name for name in Settings.model_fields if SECRET_NAME.search(name)} == secret
    environment = {f"HEADWATER_{name.upper()}": f"id:of-{name}" for name in secret} | {"OTHER_PASSWORD": "not-ours"}
    assert {f"of-{name}" for name in secret} <= set(secrets_in(environment))
    assert "not-ours" not in secrets_in(environment)


def test_whatever_is_logged_a_line_comes_of_it():
    """Numbers of any size, half characters, objects, keys that are no texts."""
    first, second, third = lines(
        run(
            "set_up_logs(role='page')\n"
            "log.info('page_started', number=10**30, half='\\ud800')\n"
            "log.info('page_started', thing=object(), raw=b'\\xff', nested={1: {2, 2}})\n"
            "log.info('page_stopped')\n"
        )
    )
    assert first["number"] == 10**30
    assert second["thing"].startswith("<object")
    assert second["nested"] == {"1": "{2}"}
    assert third["event"] == "page_stopped"


def test_levels():
    """What is less than the level is not told, by option or by environment; libraries speak from WARNING on."""
    program = "log.info('restoring')\nlog.error('records_lost')\nlogging.getLogger('x').info('chat')\n"
    assert [line["event"] for line in lines(run("set_up_logs('error')\n" + program))] == ["records_lost"]
    told = lines(run("set_up_logs()\n" + program, HEADWATER_LOG_LEVEL="ERROR"))
    assert [line["event"] for line in told] == ["records_lost"]
    assert len(lines(run("set_up_logs()\n" + program))) == 2
    with pytest.raises(ConfigurationError, match="'LOUD': one of DEBUG, INFO, WARNING, ERROR"):
        set_up_logs("LOUD")


def test_on_a_terminal_lines_are_for_people():
    """Text with the event first, tracebacks without local variables; colours unless NO_COLOR asks for none."""
    program = (
        "set_up_logs(role='worker')\nlog.warning('unit_failed', partition=3)\n"
        "def fail():\n    private = 'sent-by-a-person'\n    raise ValueError('no number')\n"
        "try: fail()\nexcept ValueError: log.exception('batch_failed')\n"
    )
    told = {}
    for no_color in ("", "1"):
        theirs, ours = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        with subprocess.Popen(
            [sys.executable, "-c", BEGIN + program],
            stderr=ours,
            env=environment | ({"NO_COLOR": "1"} if no_color else {}),
        ) as process:
            os.close(ours)
            text = b""
            while part := _read(theirs):
                text += part
            assert process.wait(60) == 0
        os.close(theirs)
        told[no_color] = text.decode()
    assert "unit_failed" in told["1"]
    assert "partition=3" in told["1"]
    assert "ValueError: no number" in told["1"]
    assert "{" not in told["1"].splitlines()[0]
    assert "sent-by-a-person'" not in told["1"].replace("private = 'sent-by-a-person'", "")
    assert "\x1b[" in told[""]
    assert "\x1b[" not in told["1"]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other end is closed
        return b""


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def record(message: str, *values: object, name: str = "aiokafka.client", level: int = logging.ERROR):
    """A line of a library."""
    return logging.LogRecord(name, level, __file__, 1, message, values, None)


def test_a_library_that_repeats_itself_is_told_every_ten_seconds():
    """130 lines a second for 25 s: at once, at 10 s, at 20 s, at the end; with the number of times."""
    clock = Clock()
    handler = LibraryLogs(clock=clock)
    with structlog.testing.capture_logs() as told:
        for number in range(25 * 130):
            clock.now = number / 130
            handler.handle(record("Unable connect to node with id %s: %s", number % 3, "refused"))
        handler.close()
        handler = LibraryLogs(clock=clock)
        for number in range(100):
            handler.handle(record(f"Unclosed <aiokafka.consumer.AIOKafkaConsumer object at 0x7f{number:04x}>"))
        assert len(told) == 5
    assert [line.get("repeated", 0) for line in told[:4]] == [0, 1299, 1300, 650]
    assert told[0]["message"] == "Unable connect to node with id 0: refused"
    assert {line["log_level"] for line in told} == {"error"}


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b"]), st.floats(0, 15)), max_size=60))
def test_every_line_of_a_library_is_told_or_counted_once(said: list[tuple[int, str, float]]):
    """Whatever is said when: lines told at once, and the numbers of the others, add up to all."""
    clock = Clock()
    handler = LibraryLogs(clock=clock)
    with structlog.testing.capture_logs() as told:
        for number, name, pause in said:
            clock.now += pause
            handler.handle(record(f"{'xyz!'[number]} failed", name=name))
        handler.close()
    assert sum(line.get("repeated", 1) for line in told) == len(said)
    for line in {(number, name) for number, name, _ in said}:
        mine = [entry for entry in told if (entry["message"][0], entry["logger"]) == ("xyz!"[line[0]], line[1])]
        assert "repeated" not in mine[0]


def test_what_differs_is_told_each_time_and_memory_is_bounded():
    """Other texts, loggers and levels are other lines; of very many the oldest are forgotten."""
    handler = LibraryLogs(clock=Clock())
    with structlog.testing.capture_logs() as told:
        for message in ("lost", "found"):
            for name in ("a", "b"):
                for level in (logging.WARNING, logging.ERROR):
                    handler.handle(record(message, name=name, level=level))
        assert len(told) == 8
        for number in range(4 * MAX_LINES):
            handler.handle(record("x" * number))
        assert len(handler._lines) == MAX_LINES


def test_clients_are_left_out_where_a_command_says_itself_what_came_of_it():
    """Of Kafka's and ClickHouse's clients; others still speak. A record that cannot be shown stops nobody."""
    handler = LibraryLogs(clients=False, clock=Clock())
    assert EVERY_S == 10
    with structlog.testing.capture_logs() as told:
        handler.handle(record("gone"))
        handler.handle(record("retrying", name="urllib3.connectionpool"))
        handler.handle(record("slow", name="asyncio", level=35))
    assert [(line["logger"], line["log_level"]) for line in told] == [("asyncio", "warning")]


def test_a_role_that_crashes_says_so_in_its_log():
    """A fault of ours is the last line, with its exception as fields; exit status 1."""
    done = run(
        "import sys, streams.cli.sink\nfrom streams.cli.main import main\n"
        "def sink() -> None:\n    raise RuntimeError('a fault')\n"
        "streams.cli.sink.sink = sink\nsys.argv = ['headwater', 'sink']\nmain()\n"
    )
    assert done.returncode == 1
    (line,) = lines(done)
    assert (line["event"], line["role"], line["level"]) == ("role_crashed", "sink", "critical")
    assert line["exception"][0]["exc_value"] == "a fault"
