"""What the HTTP protocol knows of ClickHouse's output formats: content types, and which may be sent in pieces.

Source: src/Processors/Formats of ClickHouse; names are compared without regard to case, as the server does.
"""

from __future__ import annotations

from typing import Final

DEFAULT_FORMAT: Final = "TabSeparated"

# chDB's streams encode each block as if it were a document of its own, so only formats without head and foot add up.
_PIECEWISE: Final = frozenset(
    {
        "native",
        "tabseparated",
        "tsv",
        "tabseparatedraw",
        "tsvraw",
        "raw",
        "csv",
        "rowbinary",
        "jsoneachrow",
        "jsonlines",
        "ndjson",
        "jsoncompacteachrow",
        "jsoncompactstringseachrow",
        "jsonstringseachrow",
        "tskv",
        "lineasstring",
    }
)

_JSON_LINES: Final = ("jsoneachrow", "jsonlines", "ndjson", "jsonstringseachrow")


def piecewise(name: str) -> bool:
    """Whether blocks of this format can be sent one behind the other."""
    return name.lower() in _PIECEWISE


def content_type(name: str) -> str:  # noqa: PLR0911 - a table, told as cases
    """The Content-Type a ClickHouse server answers this format with."""
    lower = name.lower()
    if lower.startswith(("tabseparated", "tsv", "tskv")):
        return "text/tab-separated-values; charset=UTF-8"
    if lower.startswith("csv"):
        header = "present" if "withnames" in lower else "absent"
        return f"text/csv; charset=UTF-8; header={header}"
    if lower in _JSON_LINES or (lower.startswith("json") and "eachrow" in lower):
        return "application/x-ndjson; charset=UTF-8"
    if lower.startswith("json"):
        return "application/json; charset=UTF-8"
    if lower == "xml":
        return "application/xml; charset=UTF-8"
    if lower == "markdown":
        return "text/markdown; charset=UTF-8"
    if lower.startswith(
        ("native", "rowbinary", "parquet", "arrow", "orc", "avro", "protobuf", "msgpack", "npy", "bson")
    ):
        return "application/octet-stream"
    return "text/plain; charset=UTF-8"
