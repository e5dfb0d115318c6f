"""Figures: what a benchmark found, run by run, and how it is told: a table for people, JSON for programs.

Rule: a figure has a name that stays, a label, and a goal where one is set; what is told of several runs is the median,
and the lowest and highest beside it. Where it was measured (`machine`) goes with it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

Run = dict[str, float]
"""The figures of one run, by name."""
Ratios = dict[str, tuple[str, tuple[str, ...]]]
"""Ratio -> the figure it is of, and the figures whose sum it is divided by."""

_WIDTH: Final = 120
_CPU_INFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: `goal` is what the project has set itself; `more` says whether more is better.

    Figures of several things side by side have the thing in `group`, and its name before the dot of their own.
    """

    name: str
    label: str
    digits: int = 0
    goal: float | None = None
    more: bool = False
    group: str = ""

    def text(self, value: float) -> str:
        """`value` as people read it."""
        return f"{value:,.{self.digits}f}"

    def target(self) -> str:
        """The goal as people read it; empty where there is none."""
        return "" if self.goal is None else f"{'≥' if self.more else '≤'} {self.text(self.goal)}"


@dataclass(slots=True)
class Result:
    """All runs of one benchmark; `conditions` say on what they were measured, in words."""

    name: str
    figures: Sequence[Figure]
    conditions: str
    runs: list[Run] = field(default_factory=list)

    def medians(self) -> Run:
        """The median of each figure that any run has."""
        return {name: statistics.median(self.values(name)) for name in self.names()}

    def names(self) -> list[str]:
        """The names of all figures found, in the order of the first run that has them."""
        return list(dict.fromkeys(name for run in self.runs for name in run))

    def values(self, name: str) -> list[float]:
        """One figure in all runs that have it."""
        return [run[name] for run in self.runs if name in run]

    def summary(self) -> dict[str, dict[str, float]]:
        """Of each figure its median, its lowest and its highest value."""
        return {
            name: {"median": statistics.median(values), "low": min(values), "high": max(values)}
            for name, values in ((name, self.values(name)) for name in self.names())
        }


def machine() -> dict[str, Any]:
    """Where this runs: processor, cores, memory, systems, and how busy it was with other things."""
    import psutil

    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def today() -> str:
    """The date of a measurement (UTC)."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def _cpu() -> str:
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def describe(found: dict[str, Any]) -> str:
    """`machine` in one line."""
    return (
        f"{found['cores']} cores of {found['cpu']}, {found['memory_gb']} GB, {found['system']}, "
        f"Python {found['python']}; load average at the start {found['load_average']}"
    )


def matrix(result: Result) -> Table:
    """A table of grouped figures: a line a group, a column a figure, medians."""
    from rich.table import Table

    labels = list(dict.fromkeys(figure.label for figure in result.figures))
    shown = Table(box=None, header_style="bold", pad_edge=False)
    shown.add_column(result.name)
    for label in labels:
        shown.add_column(label, justify="right")
    for group, texts in lines(result.figures, result.medians(), labels):
        shown.add_row(group, *texts)
    return shown


def lines(figures: Sequence[Figure], values: Run, labels: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Of each group its name and its values as texts, in the order of `labels`; groups without any are left out."""
    found: dict[str, dict[str, str]] = {}
    for figure in figures:
        if figure.name in values:
            found.setdefault(figure.group, {})[figure.label] = figure.text(values[figure.name])
    return [(group, [texts.get(label, "") for label in labels]) for group, texts in found.items()]


def table(results: Sequence[Result], *, header: bool = True) -> Table:
    """One table of all figures that have a label: median, spread, goal."""
    from rich.table import Table

    shown = Table(box=None, header_style="bold", show_header=header, pad_edge=False)
    shown.add_column("" if len(results) > 1 else results[0].name)
    for title in ("median", "lowest", "highest", "goal"):
        shown.add_column(title, justify="right")
    for number, result in enumerate(results):
        if len(results) > 1:
            if number:
                shown.add_row()
            shown.add_row(f"[bold]{result.name}[/]")
        found = result.summary()
        for figure in result.figures:
            if figure.name not in found:
                continue
            value = found[figure.name]
            texts = [figure.text(value[key]) for key in ("median", "low", "high")]
            if len(result.runs) == 1:
                texts[1:] = ["", ""]
            shown.add_row(f"  {figure.label}" if len(results) > 1 else figure.label, *texts, figure.target())
    return shown


def tell_run(result: Result, run: Run, *, json_: bool) -> None:
    """Keep what a run found; as JSON it is a line, a person who looks on sees its first figures on stderr."""
    result.runs.append(run)
    if json_:
        print(json.dumps(run), flush=True)
    else:
        shown = [figure for figure in result.figures if figure.name in run][:3]
        progress(f"run {len(result.runs)}: " + ", ".join(f"{f.text(run[f.name])} {f.label}" for f in shown))


def tell(result: Result, *, json_: bool) -> None:
    """Print a benchmark's outcome, after its runs. As JSON: the medians, with their `spread`."""
    if json_:
        summary = result.summary()
        spread = {name: [found["low"], found["high"]] for name, found in summary.items()}
        print(json.dumps(result.medians() | {"spread": spread}))
        return
    console = wide_console()
    console.print(f"{result.conditions}; {_runs(len(result.runs))}", markup=False)
    console.print(matrix(result) if any(figure.group for figure in result.figures) else table([result]))


def wide_console() -> Console:
    """A console for tables; as wide as they need where the output is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=_WIDTH)


def progress(text: str) -> None:
    """Say on stderr what is going on, where a person looks on."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"
