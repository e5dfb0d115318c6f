"""The command ``headwater``: registers the commands, and turns errors into one clear line.

Rule: commands import what they need when they run, so that ``headwater --help`` is quick.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

COMMANDS = {
    "demo": "demo",
    "up": "up",
    "collector": "collector",
    "worker": "worker",
    "sink": "sink",
    "page": "page",
    "topics": "topics",
    "migrate": "migrate",
    "campaigns": "campaigns",
    "import": "imports",
    "simulate": "simulate",
    "attribute": "attribute",
    "dead-letters": "dead_letters",
    "sql": "sql",
    "report": "report",
    "explain": "explain",
    "bench": "bench",
    "config": "config",
    "doctor": "doctor",
}
"""Command -> its module in `streams.cli`, which holds a function, or a `typer.Typer` group, of the same name."""

ROLES = frozenset({"collector", "worker", "sink", "page"})
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

    command = context.invoked_subcommand or ""
    set_up_logs(log_level, role=command if command in ROLES else "")


def register() -> None:
    """Add all commands to `app`."""
    for name, module in COMMANDS.items():
        command: Any = getattr(importlib.import_module(f"streams.cli.{module}"), module)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(_logged(command) if name in ROLES else command)


def main() -> None:
    """Run the command line.

    A `HeadwaterError` or a wrong setting ends as one line on stderr and exit status 1, a mistyped command line as one
    line and status 2.
    """
    from schemas.errors import HeadwaterError
    from streams.cli import usage
    from streams.cli.completion import mend_zsh

    mend_zsh()
    register()
    try:
        status = app(prog_name="headwater", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except usage.ClickException as error:
        line = usage.line(error)
        print(line if isinstance(error, usage.NoArgsIsHelpError) else f"headwater: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit("headwater: aborted")
    except HeadwaterError as error:
        sys.exit(f"headwater: {error}")
    except Exception as error:
        if wrong := _wrong_setting(error):
            sys.exit(f"headwater: {wrong}")
        raise


def _logged(role: Callable[[], None]) -> Callable[[], None]:
    """`role`, a fault of which is its last line of log, like all that it logs, and no traceback on many lines."""

    @functools.wraps(role)
    def run() -> None:
        from schemas.errors import HeadwaterError

        try:
            role()
        except Exception as error:
            if isinstance(error, HeadwaterError) or _wrong_setting(error):
                raise
            import structlog

            structlog.get_logger().critical("role_crashed", exc_info=True)
            sys.exit(1)

    return run


def _wrong_setting(error: Exception) -> str:
    """One line about a setting that does not validate; empty where `error` is about something else."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError) or error.title != "Settings":
        return ""
    first = error.errors(include_url=False, include_input=False)[0]
    name = "_".join(str(part) for part in first["loc"]).upper()
    return f"HEADWATER_{name}: {first['msg']}"


if __name__ == "__main__":
    main()
