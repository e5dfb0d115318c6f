"""``headwater doctor``: looks at everything headwater needs, and says how to mend what is not well.

Rule: it changes nothing, waits for nothing longer than a few seconds, and shows no secret.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.doctor.findings import ROLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from schemas.settings import Settings
    from streams.cli.doctor.findings import Finding, Role

SIGNS = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "problem": ("PROBLEM", "bold red"),
    "skipped": ("-", "dim"),
}


def doctor(
    role: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE",
            help="Only what this role needs: collector, worker, sink or page; may be repeated.",
            autocompletion=lambda: list(ROLES),
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Check connections, topics, clocks, versions, rights and room; exit status 1 where there is a problem."""
    import asyncio
    import sys

    import orjson
    from rich.console import Console

    from schemas.settings import current_settings

    if unknown := set(role or ()) - set(ROLES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: one of {', '.join(ROLES)}", param_hint="--role")
    roles = [name for name in ROLES if not role or name in role]
    findings = asyncio.run(examine(current_settings(), roles))
    counts: Counter[str] = Counter(finding.state for finding in findings)
    if json:
        rows = [
            {"area": f.area, "subject": f.subject, "state": f.state, "text": f.text, "mend": f.mend} for f in findings
        ]
        typer.echo(orjson.dumps({"ok": not counts["problem"], "counts": counts, "findings": rows}))
    else:
        show(Console(highlight=False, soft_wrap=True), findings)
    if counts["problem"]:
        sys.exit(1)


async def examine(settings: Settings, roles: Sequence[Role]) -> list[Finding]:
    """All findings, area by area; the areas are looked at at the same time."""
    import asyncio

    from streams.cli.doctor import clickhouse, kafka, machine
    from streams.cli.doctor import roles as answering

    nothing: list[Finding] = []

    async def none() -> list[Finding]:
        return nothing

    areas = await asyncio.gather(
        asyncio.to_thread(machine.look, settings, roles),
        kafka.look(settings, roles) if {"collector", "worker", "sink"} & set(roles) else none(),
        asyncio.to_thread(clickhouse.look, settings, roles) if {"sink", "page"} & set(roles) else none(),
        answering.look(settings, roles),
    )
    return [finding for area in areas for finding in area]


def show(console: Console, findings: Sequence[Finding]) -> None:
    """Print findings under the headings of their areas, and what they come to."""
    from rich.text import Text

    counts: Counter[str] = Counter(finding.state for finding in findings)
    width = max(len(finding.subject) for finding in findings)
    for area in dict.fromkeys(finding.area for finding in findings):
        console.print(Text(area[:1].upper() + area[1:], style="bold"))
        for finding in (finding for finding in findings if finding.area == area):
            sign, style = SIGNS[finding.state]
            line = Text.assemble(
                ("  " + sign.ljust(9), style),
                (finding.subject.ljust(width), "dim" if finding.state == "skipped" else ""),
                "  ",
                (finding.text, "dim" if finding.state == "skipped" else ""),
            )
            console.print(line)
            if finding.mend:
                console.print(Text(" " * (width + 13) + "→ " + finding.mend, style="cyan"))
        console.print()
    looked = len(findings) - counts["skipped"]
    parts = [f"{looked} things looked at"]
    for state, plural in (("problem", "problems"), ("warning", "warnings")):
        number = counts[state]
        parts.append(f"{number or 'no'} {state if number == 1 else plural}")
    console.print(", ".join(parts), style="bold red" if counts["problem"] else "bold")
