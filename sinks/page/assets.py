"""The page's files, read once: each with its type, a tag of its content, and compressed.

Rule: what is not in the directory does not exist; a request's path is looked up, never opened.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    compressed: bytes
    content_type: str
    tag: str


def read_assets(directory: Path = STATIC) -> dict[str, Asset]:
    """Path below `directory` -> file."""
    return {
        file.relative_to(directory).as_posix(): _read(file)
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.suffix in _TYPES
    }


def _read(file: Path) -> Asset:
    body = file.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:20]
    return Asset(body, gzip.compress(body, 9, mtime=0), _TYPES[file.suffix], f'"{tag}"')
