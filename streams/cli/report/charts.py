"""Geometry of a page's charts: numbers in, coordinates out; the template draws them.

Rule: nothing here knows of colours or words. Lines are drawn in a box of 1000 by 100 that stretches to its place, so
one drawing serves a phone and a desk; lengths of bars and places of dots are per cent of their track.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDE: Final = 1000
HIGH: Final = 100


@dataclass(frozen=True, slots=True)
class Line:
    """A line over equal steps: SVG points of it, of the ground below it, and its last point."""

    points: str
    area: str
    end: tuple[float, float]


def line(values: Sequence[float], most: float, *, steps: int | None = None) -> Line | None:
    """A line through `values`, `most` being the top; `steps`: over how many places it is spread (default: its own)."""
    if not values:
        return None
    count = max(steps or len(values), 2)
    top = most or 1
    found = [(WIDE * place / (count - 1), HIGH - HIGH * value / top) for place, value in enumerate(values)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in found)
    area = f"{found[0][0]:.1f},{HIGH} {points} {found[-1][0]:.1f},{HIGH}"
    return Line(points, area, found[-1])


def ceiling(most: float) -> float:
    """A round number not below `most`: a few steps to each power of ten."""
    if most <= 0:
        return 1.0
    power = 10.0 ** floor(log10(most))
    return next(step * power for step in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= most * 0.999999)


def ticks(labels: Sequence[str], most: int = 4) -> list[tuple[float, str]]:
    """At most so many of `labels` with their places in per cent, the first and the last among them."""
    last = len(labels) - 1
    if last <= 0:
        return [(0.0, label) for label in labels]
    step = max(1, ceil(last / (most - 1)))
    chosen = list(range(0, last + 1, step))
    if last - chosen[-1] >= step / 2:
        chosen.append(last)
    else:
        chosen[-1] = last
    return [(100 * place / last, labels[place]) for place in chosen]


def part(value: float, most: float) -> float:
    """A length in per cent of the longest; nothing is shorter than nothing."""
    return round(100 * max(value, 0) / most, 2) if most > 0 else 0.0
