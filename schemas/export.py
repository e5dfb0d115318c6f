"""JSON Schemas for other languages: ``python -m schemas.export`` writes ``schemas/json/NAME.json``.

Rule: exported from the definitions that the collector and the worker check by, never written by hand; a test says
whether the files are current. Input events are named by their type (`touch`: click, impression, landing), registry
entries by their kind, output records by their topic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from schemas.events import Adjustment, ConsentStatement, Conversion, Cost, Touch, Verdict
from schemas.records import OUTPUT_RECORDS
from schemas.registry import CampaignEntry, SiteEntry

FOLDER: Final = Path(__file__).parent / "json"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

EXPORTED: Final[dict[str, Any]] = {
    "touch": Touch,
    "consent": ConsentStatement,
    "verdict": Verdict,
    "conversion": Conversion,
    "adjustment": Adjustment,
    "cost": Cost,
    "site": SiteEntry,
    "campaign": CampaignEntry,
} | OUTPUT_RECORDS
"""File name without its ending -> definition."""


def json_schemas() -> dict[str, bytes]:
    """File name -> the file's content; the same whenever the definitions are."""
    files = {}
    for name, form in EXPORTED.items():
        schema = {"$schema": DIALECT} | TypeAdapter(form).json_schema()
        files[f"{name}.json"] = orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
    return files


def write(folder: Path = FOLDER) -> None:
    """Write all files into `folder`, and take away those of records that are no more."""
    folder.mkdir(exist_ok=True)
    files = json_schemas()
    for stale in folder.glob("*.json"):
        if stale.name not in files:
            stale.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    write()
