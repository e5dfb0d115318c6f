"""What differs between what should be and what is: lost, there twice, or wrong, each as a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 6
"""Examples told of each kind of difference."""


@dataclass
class Verdict:
    """Events lost and doubled, and every other difference, each as a line."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def add(self, other: Verdict) -> None:
        """Take over what another found and this one did not yet."""
        for mine, theirs in ((self.lost, other.lost), (self.doubled, other.doubled), (self.wrong, other.wrong)):
            mine += [line for line in theirs if line not in mine]

    def lines(self) -> list[str]:
        """What to print: the first of each kind."""
        found = []
        for name, lines in (("lost", self.lost), ("doubled", self.doubled), ("differs", self.wrong)):
            found += [f"{name}: {line}" for line in lines[:SHOWN]]
            if len(lines) > SHOWN:
                found.append(f"{name}: ... and {len(lines) - SHOWN} more")
        return found


def summed(tables: Iterable[dict]) -> dict:
    """Tables of figures added up, without rows and figures of zero."""
    total: dict[tuple, Counter] = {}
    for table in tables:
        for key, row in table.items():
            mine = total.setdefault(key, Counter())
            for name, number in row.items():
                mine[name] += number
    told = {key: {name: n for name, n in row.items() if n} for key, row in total.items()}
    return {key: row for key, row in told.items() if row}


def compare(verdict: Verdict, what: str, expected: dict, found: dict) -> None:
    """What is missing is lost, what should not be there is counted twice; a row that says something else is wrong."""
    both = expected.keys() & found.keys()
    less = {key for key in both if isinstance(found[key], int) and found[key] < expected[key]}
    more = {key for key in both if isinstance(found[key], int) and found[key] > expected[key]}
    for lines, keys in (
        (verdict.lost, (expected.keys() - both) | less),
        (verdict.doubled, (found.keys() - both) | more),
        (verdict.wrong, both - less - more),
    ):
        shown = ({key: rows[key] for key in keys if key in rows} for rows in (expected, found))
        lines.extend(differences(what, *shown))


def differences(what: str, expected: dict, found: dict) -> list[str]:
    """A line for each key under which not the same is."""
    lines = []
    for key in sorted(expected.keys() | found.keys(), key=str):
        wanted, there = expected.get(key), found.get(key)
        if wanted != there:
            lines.append(f"{what} {key}: {_told(wanted, there)}")
    return lines


def _told(wanted: object, there: object) -> str:
    if isinstance(wanted, dict) and isinstance(there, dict):
        names = [name for name in {**wanted, **there} if wanted.get(name) != there.get(name)]
        return ", ".join(f"{name} is {there.get(name)!r}, not {wanted.get(name)!r}" for name in names)[:600]
    return f"is {'missing' if there is None else there!r}, not {'there' if wanted is None else wanted!r}"[:600]
