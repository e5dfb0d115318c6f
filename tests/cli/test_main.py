"""The command line as a whole: help, errors, secrets; each command has a test of its own elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from schemas import errors
from streams.cli import main
from streams.cli.main import COMMANDS

PROGRAM = (sys.executable, "-m", "streams.cli.main")
HEAVY = {
    "aiohttp",
    "aiokafka",
    "chdb",
    "clickhouse_connect",
    "faust",
    "granian",
    "pydantic",
    "pydantic_core",
    "rocksdict",
}
SECRET = "fb6a3f0c2f5e"

FAILURES = {
    "configuration": errors.ConfigurationError("the file is no registry"),
    "refused": errors.Refused("schema", "type: missing"),
    "state": errors.StateError("written in another format"),
    "restore": errors.RestoreError("the end was not reached"),
    "commit": errors.CommitFailed("the outcome is unknown"),
    "unavailable": errors.Unavailable("Kafka does not answer"),
}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        env={**os.environ, "HEADWATER_DATA_DIR": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_command_has_help(capsys, monkeypatch):
    """`headwater COMMAND --help` says what the command does, and exits 0; all are registered."""
    # It would log to the stderr of this test for all later ones.
    monkeypatch.setattr("streams.cli.logs.set_up_logs", lambda *_, **__: None)
    main.register()
    for arguments in ([], *([name] for name in COMMANDS)):
        with pytest.raises(SystemExit) as ended:
            main.app([*arguments, "--help"])
        assert ended.value.code == 0, arguments
        told = capsys.readouterr().out
        assert told.startswith("Usage: ")
        assert all(argument in told for argument in arguments)
        assert len(told.splitlines()) > 3


def test_help_imports_nothing_heavy():
    """Commands import what they need when they run, so that help, and a wrong option, come at once."""
    program = (
        "import sys; from streams.cli import main\n"
        "try: main.main()\n"
        "finally: print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert not HEAVY & set(done.stderr.split())


def test_all_kinds_of_error_are_tried_here():
    """A new class in the error tree needs its line below."""
    tree = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.HeadwaterError)
    }
    assert {type(error) for error in FAILURES.values()} == tree - {errors.HeadwaterError}


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
def test_an_error_is_one_line_and_status_1(error: errors.HeadwaterError, monkeypatch, capsys):
    """Whatever of our own errors a command ends with, a person reads one line on stderr."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "register", lambda: None)
    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(SystemExit) as ended:
        main.main()
    # A text as the exit status: Python prints it on stderr and exits with 1.
    assert ended.value.code == f"headwater: {error}"
    assert "\n" not in ended.value.code
    assert capsys.readouterr().out == ""


def test_an_error_of_a_real_command():
    """The same from outside, where nothing answers."""
    done = run("sql", "SELECT 1", HEADWATER_CLICKHOUSE_PORT="1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("headwater: ")


def test_a_wrong_setting_is_named():
    """By its environment variable, in one line."""
    done = run("config", HEADWATER_PARTITIONS="many")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("headwater: HEADWATER_PARTITIONS: ")


@pytest.mark.parametrize("arguments", [("config",), ("config", "--json")], ids=["text", "json"])
def test_config_masks_secrets(arguments: tuple[str, ...]):
    """A secret is shown as set, never as what it is; other settings are shown as they are in force."""
    done = run(
        *arguments,
        HEADWATER_KAFKA="kafka.internal:9093",
        HEADWATER_KAFKA_SASL_PASSWORD=SECRET,
        HEADWATER_CLICKHOUSE_PASSWORD=SECRET,
        HEADWATER_CLICK_ID_KEYS=f"one:{SECRET}",
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "kafka.internal:9093" in done.stdout
    assert done.stdout.count("*****") >= 3
    if "--json" in arguments:
        assert json.loads(done.stdout)["kafka"] == "kafka.internal:9093"
