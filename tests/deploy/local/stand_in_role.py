"""Stands in for the command line: `topics` and `migrate` end at once, other roles answer on their port.

Usage: `stand_in_role.py ROLE`; its environment is written to HEADWATER_DATA_DIR/seen/ROLE.json, where the port is a
role's own, ROLE-PORT.json.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

PORTS = {
    "collector": "COLLECTOR_PORT",
    "worker": "WORKER_METRICS_PORT",
    "sink": "SINK_METRICS_PORT",
    "page": "PAGE_PORT",
}


def main() -> None:
    role = sys.argv[1]
    port = os.environ[f"HEADWATER_{PORTS[role]}"] if role in PORTS else ""
    seen = Path(os.environ["HEADWATER_DATA_DIR"]) / "seen"
    seen.mkdir(exist_ok=True)
    found = {name: value for name, value in os.environ.items() if name.startswith("HEADWATER_")}
    (seen / f"{role}-{port}.json".replace("-.", ".")).write_text(json.dumps(found))
    if port:
        sys.argv[1:] = [port]
        runpy.run_path(str(Path(__file__).with_name("stand_in.py")), run_name="__main__")


if __name__ == "__main__":
    main()
