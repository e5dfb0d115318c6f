"""`headwater simulate` and the demo's data directory."""

from __future__ import annotations

import fcntl

import pytest
import typer
import yaml
from typer.testing import CliRunner

from schemas.errors import ConfigurationError
from streams.cli.demo import MARK, empty_directory
from streams.cli.registry_file import read_registry_file
from streams.cli.simulate import simulate

app = typer.Typer()
app.command()(simulate)


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_a_file_has_as_many_lines_as_asked_for_and_is_the_same_again(tmp_path):
    """By seed and end time."""
    for name in ("a", "b"):
        result = run("--events", "300", "--end", "2026-11-18T11:06:40Z", "--to", str(tmp_path / name))
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes().count(b"\n") == 300
    assert (tmp_path / "a").read_bytes().count(b'"type":"cost"') == 3


def test_milliseconds_name_the_same_end(tmp_path):
    """As everywhere in headwater."""
    run("--events", "50", "--end", "2026-11-18T11:06:40Z", "--to", str(tmp_path / "a"))
    run("--events", "50", "--end", "1795000000000", "--to", str(tmp_path / "b"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_registry_file_is_one_that_campaigns_apply_reads(tmp_path):
    """Sites and campaigns, in force before the first event."""
    assert run("--events", "5", "--registry", str(tmp_path / "shop.yaml")).exit_code == 0
    kinds = [entry.kind for entry in read_registry_file(tmp_path / "shop.yaml")]
    assert kinds == ["site", *["campaign"] * (len(kinds) - 1)]
    assert len(yaml.safe_load((tmp_path / "shop.yaml").read_text())["campaigns"]) >= 4


@pytest.mark.parametrize("arguments", [(), ("--to", "x", "--url", "http://127.0.0.1:1")])
def test_events_go_to_one_place(arguments):
    """A file or a collector, not both and not neither."""
    assert isinstance(run(*arguments).exception, ConfigurationError)


def test_an_end_that_is_no_time_is_refused():
    """In one clear line."""
    failure = run("--to", "-", "--end", "yesterday").exception
    assert isinstance(failure, ConfigurationError)
    assert str(failure).startswith("--end: ")


def test_the_demo_empties_its_own_directory_only(tmp_path):
    """What it did not begin it leaves alone."""
    empty_directory(tmp_path / "mine")
    (tmp_path / "mine" / "kafka").mkdir()
    (tmp_path / "mine" / "kafka" / "log").write_text("old")
    empty_directory(tmp_path / "mine")
    assert {entry.name for entry in (tmp_path / "mine").iterdir()} <= {MARK, "lock"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "kept").write_text("precious")
    with pytest.raises(ConfigurationError, match="not the demo's"):
        empty_directory(tmp_path / "other")
    assert (tmp_path / "other" / "kept").read_text() == "precious"
    with pytest.raises(ConfigurationError, match="no directory"):
        empty_directory(tmp_path / "other" / "kept")


def test_the_demo_does_not_empty_a_directory_in_which_a_stack_runs(tmp_path, monkeypatch):
    """The stack's lock says so."""
    empty_directory(tmp_path / "d")
    (tmp_path / "d" / "kept").write_text("in use")
    with (tmp_path / "d" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("1")
        file.flush()
        with pytest.raises(ConfigurationError):
            empty_directory(tmp_path / "d")
    assert (tmp_path / "d" / "kept").is_file()
