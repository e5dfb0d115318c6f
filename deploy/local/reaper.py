"""Reaper: ends what a supervisor left behind.

Rule: a process group that was announced and not taken back is ended when the announcer is gone, however it went:
SIGTERM first, SIGKILL after a while. It holds the data directory's lock until then, as it inherits the descriptor.

It runs as a process of its own, in its own session, and reads lines from its standard input: `+PGID` announces, `-PGID`
takes back, the end of input means that the supervisor is gone. This file is run by path and imports nothing of ours.
Usage: `python reaper.py [FILE]...`; each FILE is removed at the end where groups were left.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

GRACE_S = 5.0
"""Time between SIGTERM and SIGKILL."""
LAST_S = 2.0
"""Time to wait for killed groups to be gone."""


def _signalled(group: int, number: int) -> bool:
    """Send `number` to `group`; False where no process is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so for a group of zombies
        return False
    return True


def end(groups: set[int], grace_s: float = GRACE_S) -> None:
    """End all of `groups`: SIGTERM, and SIGKILL for what is still there after `grace_s` seconds."""
    left = {group for group in groups if _signalled(group, signal.SIGTERM)}
    for number, seconds in ((0, grace_s), (signal.SIGKILL, LAST_S)):
        left = {group for group in left if _signalled(group, number)}
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = {group for group in left if _signalled(group, 0)}


def main() -> None:
    """Follow the announcements on standard input to their end, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    if groups:
        end(groups)
        for name in sys.argv[1:]:
            Path(name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
