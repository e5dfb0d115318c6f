"""A container's health check: asks ``/readyz`` of the role it runs. ``health.py [ROLE]``; without one, of process 1.

Rule: standard library alone, since it runs every few seconds; exit status 0 is well, 1 is not, and says why.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

PORTS = {
    "collector": ("HEADWATER_COLLECTOR_PORT", 8080),
    "worker": ("HEADWATER_WORKER_METRICS_PORT", 9101),
    "sink": ("HEADWATER_SINK_METRICS_PORT", 9102),
    "page": ("HEADWATER_PAGE_PORT", 8088),
}
"""Role -> the variable that names its port, and the port where it is not set."""
TIMEOUT_S = 4.0


def role_of(command: str) -> str:
    """The role in a command line whose words end with a null; '' where it is none."""
    return next((word for word in command.split("\0") if word in PORTS), "")


def check(role: str, environment: dict[str, str]) -> str:
    """What is wrong with the role that runs here; '' where nothing is."""
    variable, usual = PORTS[role]
    address = f"http://127.0.0.1:{environment.get(variable) or usual}/readyz"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read(300).decode(errors='replace').strip()}"
    except OSError as error:
        return f"{address}: {error}"


def main(arguments: list[str]) -> int:
    """Exit status."""
    role = arguments[0] if arguments else ""
    if not role:
        # With an init process, process 1 is that, and its command line still names what it runs.
        role = role_of(Path("/proc/1/cmdline").read_text(encoding="utf-8", errors="replace"))
    if not role:
        return 0
    wrong = check(role, dict(os.environ)) if role in PORTS else f"{role!r} is no role: one of {', '.join(PORTS)}"
    if wrong:
        sys.stdout.write(f"{wrong}\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
