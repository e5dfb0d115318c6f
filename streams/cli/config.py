"""``headwater config``: the settings in force, secrets masked."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def config(*, json_: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Print every setting in force, secrets masked."""
    from schemas.settings import current_settings

    values = current_settings().model_dump(mode="json")
    if json_:
        typer.echo(json.dumps(values))
        return
    for name, value in values.items():
        typer.echo(f"HEADWATER_{name.upper()}={'' if value is None else value}")
