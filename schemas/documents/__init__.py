"""The documents that are generated: ``python -m schemas.documents`` (`make docs`) writes them into ``docs/``.

Rule: each comes from the definitions that the programs themselves work by, never from a text of its own that could
differ; tests say whether the files are current.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from schemas.documents import asyncapi, logs, openapi, settings

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs"


def documents() -> dict[str, str]:
    """File name -> the file's content; the same whenever the definitions are."""
    return {
        "asyncapi.yaml": asyncapi.text(),
        "openapi.yaml": openapi.text(),
        "settings.md": settings.text(),
        "logs.md": logs.text(ROOT),
    }


def write(folder: Path = FOLDER) -> None:
    """Write all documents into `folder`."""
    folder.mkdir(exist_ok=True)
    for name, content in documents().items():
        (folder / name).write_text(content, encoding="utf-8")
