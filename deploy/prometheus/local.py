"""Prometheus over the local stack: ``python -m deploy.prometheus.local``, or ``make prometheus``.

Rule: the same rules as in production; targets are the ports in ``DATA_DIR/stack.json``, scraped often, since someone is
watching. Prometheus itself is the one that is installed (Debian: package ``prometheus``).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from deploy.local.ports import HOST, free_port
from schemas.errors import ConfigurationError, HeadwaterError
from schemas.settings import STACK_FILE, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

RULES: Final = Path(__file__).with_name("rules")
NOT_SCRAPED: Final = frozenset({"clickhouse", "kafka"})
"""Services of the local stack that are no processes of ours."""


def configuration(ports: Mapping[str, int], *, every: str = "2s") -> dict[str, Any]:
    """Prometheus' configuration for the services at `ports` of this machine (`worker-1` belongs to the job worker).

    `every` is how often to scrape and to evaluate the rules.
    """
    jobs: dict[str, list[str]] = {}
    for name, port in sorted(ports.items()):
        if name not in NOT_SCRAPED:
            jobs.setdefault(name.split("-")[0], []).append(f"{HOST}:{port}")
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(RULES / "*.yml")],
        "scrape_configs": [
            {"job_name": f"headwater-{role}", "static_configs": [{"targets": targets}]}
            for role, targets in jobs.items()
        ],
    }


def read_ports(data_dir: Path) -> dict[str, int]:
    """The ports of the local stack that runs in `data_dir`; raises `ConfigurationError`."""
    file = data_dir / STACK_FILE
    if not file.is_file():
        raise ConfigurationError(f"no local stack runs in {data_dir}: start one by `headwater up`")
    ports: dict[str, int] = json.loads(file.read_text(encoding="utf-8"))["ports"]
    return ports


def command(directory: Path, port: int) -> list[str]:
    """How to run Prometheus with the configuration and the data in `directory`; raises `ConfigurationError`."""
    program = shutil.which("prometheus")
    if program is None:
        raise ConfigurationError("there is no prometheus here: install it (Debian: apt install prometheus)")
    return [
        program,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]


def main() -> None:
    """Write the configuration below the stack's directory, and become Prometheus."""
    try:
        settings = Settings()
        directory = settings.data_dir.resolve() / "prometheus"
        ports = read_ports(settings.data_dir)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "prometheus.yml").write_text(
            yaml.safe_dump(configuration(ports), sort_keys=False), encoding="utf-8"
        )
        port = free_port()
        argv = command(directory, port)
    except HeadwaterError as error:
        sys.exit(f"prometheus: {error}")
    print(f"prometheus http://{HOST}:{port}", flush=True)  # noqa: T201  # its only line
    os.execv(argv[0], argv)  # noqa: S606  # Prometheus takes this process's place


if __name__ == "__main__":
    main()
