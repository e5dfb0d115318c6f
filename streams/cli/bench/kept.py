"""What speed is kept: processor time against the floor, measured in the same run, so that the machine drops out.

Rule: of several runs the lowest time counts, of the part and of its floor, since whatever else the machine does can
only raise it. A ratio that is a fifth worse than the one kept with the code fails (``make bench-check``); one that is
better is kept by hand (``make bench-keep``).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from schemas.errors import ConfigurationError, HeadwaterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from streams.cli.bench.figures import Ratios, Result

WORSE: Final = 1.2


class Slower(HeadwaterError):  # noqa: N818 - says what happened
    """A part needs more processor time than what is kept allows."""


def ratios(results: Sequence[Result], wanted: Mapping[str, Ratios]) -> dict[str, float]:
    """``benchmark.ratio`` -> its value, of the ratios that are `wanted` of a benchmark."""
    return {
        f"{result.name}.{name}": round(
            min(result.values(figure)) / sum(min(result.values(floor)) for floor in floors), 2
        )
        for result in results
        for name, (figure, floors) in wanted.get(result.name, {}).items()
    }


def keep(file: Path, found: Mapping[str, float]) -> None:
    """Write `found` into `file`, beside what it holds of other benchmarks."""
    kept = _read(file) if file.is_file() else {}
    file.write_text(json.dumps(dict(sorted({**kept, **found}.items())), indent=2) + "\n")


def check(file: Path, found: Mapping[str, float]) -> list[str]:
    """A line for each ratio. Raises `Slower` where one is a fifth worse than in `file`, or is not in it."""
    kept = _read(file)
    missing = sorted(found.keys() - kept.keys())
    if missing:
        raise ConfigurationError(f"{file} keeps nothing for {', '.join(missing)}: `make bench-keep` measures it")
    worse = [name for name, value in found.items() if value > WORSE * kept[name]]
    if worse:
        told = "; ".join(f"{name} {found[name]:.2f}, kept {kept[name]:.2f}" for name in worse)
        raise Slower(f"more than a fifth slower against the floor: {told}")
    return [f"{name}: {value:.2f}, kept {kept[name]:.2f}" for name, value in found.items()]


def _read(file: Path) -> dict[str, float]:
    try:
        kept: dict[str, float] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file}: {error}") from None
    return kept
