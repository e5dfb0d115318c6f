"""``headwater config``: the settings in force, secrets masked, and the version of the channel rules."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def config(*, json_: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Print every setting in force, secrets masked, and which version of the channel rules is shipped."""
    from schemas.settings import current_settings
    from streams.core.data import RULES

    values = current_settings().model_dump(mode="json")
    if json_:
        typer.echo(json.dumps(values | {"channel_rules_version": RULES.version}))
        return
    typer.echo(f"# channel rules: version {RULES.version}")
    for name, value in values.items():
        typer.echo(f"HEADWATER_{name.upper()}={'' if value is None else value}")
