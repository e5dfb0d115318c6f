"""What `headwater doctor` finds: one line a thing looked at, with how to mend it where it is not well.

Rule: a problem is what makes headwater lose, miscount or stand still, now or when the next thing fails; a warning is
what is worth a person's look; neither text nor mend ever shows a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

State = Literal["ok", "warning", "problem", "skipped"]
Role = Literal["collector", "worker", "sink", "page"]
ROLES: Final[tuple[Role, ...]] = ("collector", "worker", "sink", "page")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `area` is its heading, `subject` what was looked at, `text` what was found, `mend` what to do."""

    area: str
    subject: str
    state: State
    text: str
    mend: str = ""


def ok(area: str, subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(area, subject, "ok", text)


def warning(area: str, subject: str, text: str, mend: str) -> Finding:
    """Worth a look."""
    return Finding(area, subject, "warning", text, mend)


def problem(area: str, subject: str, text: str, mend: str) -> Finding:
    """Must be mended."""
    return Finding(area, subject, "problem", text, mend)


def skipped(area: str, subject: str, text: str) -> Finding:
    """Not looked at, and why."""
    return Finding(area, subject, "skipped", text)


def skew(area: str, server: str, ahead_ms: float, spread_ms: float) -> Finding:
    """What another machine's clock says: it is ahead of ours by `ahead_ms`, give or take `spread_ms`."""
    seconds = abs(ahead_ms) / 1000
    way = "ahead of" if ahead_ms > 0 else "behind"
    said = f"{server}'s clock is {seconds:,.1f} s {way} this machine's"
    mend = "let NTP (chrony, systemd-timesyncd) set the clocks of both machines"
    if abs(ahead_ms) - spread_ms > 60_000:
        return problem(area, "clock", f"{said}; events are judged by the time they are received", mend)
    if abs(ahead_ms) - spread_ms > 1_000:
        return warning(area, "clock", said, mend)
    return ok(area, "clock", f"agrees with {server}'s, to {max(abs(ahead_ms), spread_ms, 1):.0f} ms")
