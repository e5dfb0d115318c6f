"""The command line as a whole: help, errors, secrets; each command has a test of its own elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

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

    def fail(**_: object) -> None:
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


def test_config_tells_the_version_of_the_channel_rules():
    """As the data file states it; in the text it is a comment, so that the lines can be sourced."""
    rules = tomllib.loads(resources.files("streams.core.data").joinpath("channel_rules.toml").read_text("utf-8"))
    assert json.loads(run("config", "--json").stdout)["channel_rules_version"] == rules["version"]
    assert run("config").stdout.splitlines()[0] == f"# channel rules: version {rules['version']}"


MISTYPED = {
    ("sq", "SELECT 1"): "no such command 'sq'. Did you mean 'sql'? (headwater --help)",
    ("xyzzy",): "no such command 'xyzzy'. (headwater --help)",
    ("sql", "--jsn", "SELECT 1"): "no such option: --jsn. Did you mean '--json'? (headwater sql --help)",
    ("sql", "-x"): "no such option: -x. (headwater sql --help)",
    ("sql",): "missing argument 'statement'. (headwater sql --help)",
    ("sql", "SELECT 1", "--log-level", "INFO"): "--log-level goes before the command. (headwater sql --help)",
    ("campaigns", "aply"): "no such command 'aply'. Did you mean 'apply'? (headwater campaigns --help)",
    ("up", "--workers", "0"): "invalid value for '--workers': Input should be greater than or equal to 1. "
    "(headwater up --help)",
    ("doctor", "--role", "snk"): "invalid value for --role: snk: one of collector, worker, sink, page. "
    "(headwater doctor --help)",
}


@pytest.mark.parametrize(("arguments", "told"), MISTYPED.items(), ids=[" ".join(words) for words in MISTYPED])
def test_a_mistyped_command_line_is_told_in_one_line(arguments, told, monkeypatch, capsys):
    """What is wrong, what was probably meant, where the help is; on stderr, with exit status 2."""
    monkeypatch.setattr("streams.cli.logs.set_up_logs", lambda *_, **__: None)
    monkeypatch.setattr("sys.argv", ["headwater", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"headwater: {told}\n")


def test_without_a_command_there_is_help():
    """On stderr, since it is not what was asked for; exit status 2."""
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: headwater ")
    assert "doctor" in done.stderr


def complete(home: Path, line: str) -> list[str]:
    """What bash offers at the end of `line`, by the completion that is installed in `home`."""
    program = (
        "source ~/.bashrc; "
        'read -ra COMP_WORDS <<< "$1"; [[ $1 == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); '
        "_headwater_completion headwater; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", program, "bash", line],
        env={"HOME": str(home), "PATH": search},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_completion_is_installed_for_bash_and_completes(tmp_path: Path):
    """Commands, options, and the values of an option; installed into the home directory by one command."""
    chosen = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    installed = run("--install-completion", "bash", **chosen)
    assert installed.returncode == 0, installed.stderr
    assert complete(tmp_path, "headwater doc") == ["doctor"]
    assert set(complete(tmp_path, "headwater ")) >= set(COMMANDS)
    assert complete(tmp_path, "headwater doctor --js") == ["--json"]
    assert complete(tmp_path, "headwater doctor --role wor") == ["worker"]


def test_completion_is_installed_for_zsh(tmp_path: Path):
    """What zsh loads answers at the first TAB, too."""
    chosen = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    installed = run("--install-completion", "zsh", **chosen)
    assert installed.returncode == 0, installed.stderr
    script = (tmp_path / ".zfunc" / "_headwater").read_text()
    assert script.strip().startswith("#compdef headwater")
    assert script.strip().endswith('[[ $funcstack[1] == _headwater ]] && _headwater_completion "$@"')
    assert "compinit" in (tmp_path / ".zshrc").read_text()
    asked = run(_HEADWATER_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="headwater doctor --role wor")
    assert asked.stdout.strip() == "_arguments '*: :((\"worker\"))'"
