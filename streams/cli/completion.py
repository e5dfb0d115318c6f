"""Completion in the shell: ``headwater --install-completion``, as Typer does it, with its script for zsh mended."""

from __future__ import annotations

from typer import _completion_shared as shared

_FIRST_TIME = """
# zsh loads this file when TAB is pressed for the first time, and takes what it then does as the answer.
[[ $funcstack[1] == _%(prog_name)s ]] && %(complete_func)s "$@"
"""


def mend_zsh() -> None:
    """Let the first TAB of a shell complete too; without this only the second does."""
    script = shared._completion_scripts["zsh"]  # noqa: SLF001 - Typer has no other door
    if _FIRST_TIME not in script:
        shared._completion_scripts["zsh"] = script + _FIRST_TIME  # noqa: SLF001
