"""The command ``headwater``: registers the commands, and turns errors into one clear line.

Rule: commands import what they need when they run, so that ``headwater --help`` is quick.
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer

COMMANDS = {
    "demo": "demo",
    "up": "up",
    "collector": "collector",
    "worker": "worker",
    "sink": "sink",
    "topics": "topics",
    "migrate": "migrate",
    "campaigns": "campaigns",
    "simulate": "simulate",
    "attribute": "attribute",
    "sql": "sql",
    "bench": "bench",
    "config": "config",
}
"""Command -> its module in `streams.cli`, which holds a function, or a `typer.Typer` group, of the same name."""

ROLES = frozenset({"collector", "worker", "sink"})
"""Commands that run on and log; the others end with a result or one line of error."""

app = typer.Typer(
    name="headwater",
    help="Conversion tracking whose numbers are provably right: clicks and conversions in, credit by channel out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(
    context: typer.Context,
    log_level: Annotated[str, typer.Option(help="Least level logged: DEBUG, INFO, WARNING, ERROR.")] = "",
) -> None:
    from streams.cli.logs import set_up_logs

    set_up_logs(log_level, clients=context.invoked_subcommand in ROLES)


def register() -> None:
    """Add all commands to `app`."""
    for name, module in COMMANDS.items():
        command: Any = getattr(importlib.import_module(f"streams.cli.{module}"), module)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)


def main() -> None:
    """Run the command line; a `HeadwaterError` or a wrong setting ends as one line on stderr and exit status 1."""
    from schemas.errors import HeadwaterError

    register()
    try:
        app()
    except HeadwaterError as error:
        sys.exit(f"headwater: {error}")
    except ValueError as error:
        wrong = _wrong_setting(error)
        if not wrong:
            raise
        sys.exit(f"headwater: {wrong}")


def _wrong_setting(error: ValueError) -> str:
    """One line about a setting that does not validate; empty where `error` is about something else."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError) or error.title != "Settings":
        return ""
    first = error.errors(include_url=False, include_input=False)[0]
    name = "_".join(str(part) for part in first["loc"]).upper()
    return f"HEADWATER_{name}: {first['msg']}"


if __name__ == "__main__":
    main()
