"""The page of figures in the documentation: kept as JSON, generated as Markdown beside it.

Rule: a benchmark that is measured again replaces its own section, but for its `note` in the JSON, which is what a
person says about it (what bounds it, what would move it). Each says by which command, on which machine and on which
day.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from streams.cli.bench.figures import Figure, describe, machine, today
from streams.cli.bench.figures import lines as grouped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streams.cli.bench.figures import Result

ORDER: Final = ("worker", "collector", "sink", "restore", "latency", "peers: yahoo", "peers: deduplicate")
_HEAD: Final = """\
# Benchmarks

What `headwater bench` measured, generated from [{source}]({source}) (`make bench-page` measures anew). Each part is a
production process, watched from outside; the processor time of a part is its own, whatever else ran beside it, while
times and rates are those of the whole machine, load generator, Kafka and ClickHouse's engine included. A *floor* is
what the same records cost with as little work as can be, in the same run: Kafka's client that only counts them, orjson
that only parses them, the HTTP server that only answers.
"""


def add(file: Path, results: Sequence[Result], found: dict[str, Any] | None = None) -> None:
    """Put `results` into `file` (JSON), and write the page anew; `found` is the machine, this one by default."""
    kept: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    about = {"command": _command(), "date": today(), "machine": found or machine()}
    for result in results:
        summary = result.summary()
        kept[result.name] = {
            "conditions": result.conditions,
            "runs": len(result.runs),
            **about,
            "note": kept.get(result.name, {}).get("note", ""),
            "figures": [
                {
                    "name": figure.name,
                    "label": figure.label,
                    "digits": figure.digits,
                    "goal": figure.goal,
                    "more": figure.more,
                    "group": figure.group,
                    **summary[figure.name],
                }
                for figure in result.figures
                if figure.name in summary
            ],
        }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept, indent=1) + "\n")
    file.with_suffix(".md").write_text(render(kept, file.name))


def render(kept: dict[str, Any], source: str) -> str:
    """The page for what is kept in the file `source`."""
    parts = [_HEAD.format(source=source)]
    known = {name: place for place, name in enumerate(ORDER)}
    names = sorted(kept, key=lambda name: (known.get(name, len(ORDER)), name))
    parts += [_section(name, kept[name]) for name in names]
    return "\n".join(parts)


def _section(name: str, found: dict[str, Any]) -> str:
    several = found["runs"] > 1
    runs = f"; median of {found['runs']} runs" if several else "; one run"
    lines = [
        f"## {name}",
        "",
        f"{found['conditions'][0].upper()}{found['conditions'][1:]}{runs}.",
        f"{found['date']}, {describe(found['machine'])}.",
        f"`{found['command']}`",
        "",
    ]
    figures = [(_figure(one), one) for one in found["figures"]]
    if any(figure.group for figure, _ in figures):
        labels = list(dict.fromkeys(figure.label for figure, _ in figures))
        medians = {figure.name: one["median"] for figure, one in figures}
        lines += [_row("", *labels), _row("---", *("---:" for _ in labels))]
        lines += [_row(group, *texts) for group, texts in grouped([figure for figure, _ in figures], medians, labels)]
        return "\n".join([*lines, *_note(found), ""])
    lines += [
        "| figure | median | lowest | highest | goal |" if several else "| figure | value | goal |",
        "| --- | ---: | ---: | ---: | ---: |" if several else "| --- | ---: | ---: |",
    ]
    for figure, one in figures:
        keys = ("median", "low", "high") if several else ("median",)
        lines.append(_row(figure.label.strip(), *(figure.text(one[key]) for key in keys), figure.target()))
    return "\n".join([*lines, *_note(found), ""])


def _note(found: dict[str, Any]) -> list[str]:
    return ["", found["note"]] if found["note"] else []


def _figure(one: dict[str, Any]) -> Figure:
    return Figure(one["name"], one["label"], one["digits"], one["goal"], one["more"], one["group"])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _command() -> str:
    return " ".join(["headwater", *sys.argv[1:]])
