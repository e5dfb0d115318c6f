"""Writes the dashboards' JSON: ``python -m deploy.grafana.generate``, or ``make dashboards``.

Rule: the files are what Grafana reads, and exactly what this module writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.business import business
from deploy.grafana.health import health
from deploy.grafana.refusals import refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from grafana_foundation_sdk.builders.dashboard import Dashboard

DIRECTORY: Final = Path(__file__).with_name("dashboards")
DASHBOARDS: Final[dict[str, Callable[[], Dashboard]]] = {
    "business": business,
    "health": health,
    "refusals": refusals,
}
"""File's name, without its ending -> the dashboard."""


def render(name: str) -> str:
    """A dashboard's JSON."""
    return json.dumps(DASHBOARDS[name]().build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them, and say which changed."""
    for name in DASHBOARDS:
        file = DIRECTORY / f"{name}.json"
        text = render(name)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {file}\n")


if __name__ == "__main__":
    main()
