"""A mistyped command line, told in one line: what is wrong, what was probably meant, where the help is."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

# Typer carries its own copy of click, and names these nowhere else.
from typer._click.exceptions import ClickException, NoArgsIsHelpError, NoSuchOption, UsageError

__all__ = ["ClickException", "NoArgsIsHelpError", "line"]


def line(error: ClickException) -> str:
    """One line for a person; for `NoArgsIsHelpError` the help itself."""
    if isinstance(error, NoArgsIsHelpError):
        return error.format_message()
    said = " ".join(error.format_message().split())
    context = error.ctx if isinstance(error, UsageError) else None
    if isinstance(error, NoSuchOption):
        root = context.find_root() if context is not None else None
        if root is not None and root is not context and error.option_name in _options(root.command):
            said = f"{error.option_name} goes before the command"
        else:
            close = get_close_matches(error.option_name, error.possibilities or (), n=1, cutoff=0)
            said = f"No such option: {error.option_name}" + (f". Did you mean '{close[0]}'?" if close else "")
    help_ = f"{context.command_path} --help" if context is not None else "headwater --help"
    said = said.rstrip(".")
    return f"{said[:1].lower()}{said[1:]}{'' if said.endswith('?') else '.'} ({help_})"


def _options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}
