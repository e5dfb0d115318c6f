"""Registry files: sites and campaigns in YAML, checked whole before anything is done with them.

Rule: all that is wrong is told at once, each with its line. A key that stands twice in a mapping is wrong: YAML would
silently take the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from pydantic import TypeAdapter, ValidationError

from schemas.errors import ConfigurationError
from schemas.registry import CampaignEntry, Entry, SiteEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ENTRY: TypeAdapter[SiteEntry | CampaignEntry] = TypeAdapter(Entry)
_KINDS = {"sites": "site", "campaigns": "campaign"}
_MOST_TOLD = 50


class _Item(NamedTuple):
    """One entry of a file: how it is called, its place in the document, and what it says."""

    place: str
    path: tuple[str | int, ...]
    data: Any


def read_registry_file(path: Path) -> list[SiteEntry | CampaignEntry]:
    """The entries of a YAML file with lists ``sites`` and ``campaigns``, or one list of entries with their ``kind``.

    Raises `ConfigurationError` with a line for each thing that is wrong: file, line, entry, field and what.
    """
    node, data = _load(path)
    wrong = [(mark.line, f"{key!r} is there twice") for key, mark in _repeated(node)]
    found: list[SiteEntry | CampaignEntry] = []
    seen: dict[str, int] = {}
    for item in _items(path, data):
        line = _line(node, item.path)
        try:
            entry = _ENTRY.validate_python(item.data)
        except ValidationError as error:
            wrong += [_told(node, item, told) for told in error.errors(include_url=False, include_input=False)]
            continue
        if entry.key in seen:
            wrong.append((line, f"{item.place}: {_name(entry)} is there twice, see line {seen[entry.key] + 1}"))
        seen.setdefault(entry.key, line)
        found.append(entry)
    if wrong:
        raise ConfigurationError(_report(path, sorted(wrong)))
    return found


def _load(path: Path) -> tuple[yaml.Node | None, Any]:
    """The document's nodes, which know their lines, and its data."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            return node, loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def _items(path: Path, data: Any) -> Iterator[_Item]:
    if isinstance(data, list):
        for index, entry in enumerate(data):
            yield _Item(f"entry {index + 1}{_named(entry)}", (index,), entry)
        return
    if not isinstance(data, dict) or not data.keys() <= _KINDS.keys():
        raise ConfigurationError(f"{path}: expected the lists `sites` and `campaigns`")
    for name, kind in _KINDS.items():
        entries = data.get(name) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ConfigurationError(f"{path}: {name}: expected a list of mappings")
        for index, entry in enumerate(entries):
            yield _Item(f"{kind} {index + 1}{_named(entry)}", (name, index), {"kind": kind} | entry)


def _named(entry: object) -> str:
    if not isinstance(entry, dict):
        return ""
    name = entry.get("campaign") or entry.get("site")
    return f" ({str(name)[:60]})" if name else ""


def _name(entry: SiteEntry | CampaignEntry) -> str:
    if entry.kind == "site":
        return f"site {entry.site} with this valid_from"
    return f"campaign {entry.campaign} of {entry.site} with this valid_from"


def _told(node: yaml.Node | None, item: _Item, error: Any) -> tuple[int, str]:
    """A pydantic error as line (from 0) and text."""
    # The first part of a place is the kind by which the entry's form was chosen.
    inner = tuple(part for part in error["loc"][1:] if part != "[key]")
    where = ".".join(str(part) for part in inner)
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix(f"{inner[-1]}: " if inner else "")
    if error["type"] == "missing":
        message = "missing"
    elif error["type"] == "extra_forbidden":
        message = "there is no such field"
    return _line(node, (*item.path, *inner)), f"{item.place}: {where + ': ' if where else ''}{message}"


def _line(node: yaml.Node | None, path: Sequence[str | int]) -> int:
    """The line (from 0) of what lies at `path`, or of the innermost thing on the way that is there."""
    line = 0
    for part in (None, *path):
        if part is not None:
            node = _inside(node, part)
        if node is None:
            break
        line = node.start_mark.line
    return line


def _inside(node: yaml.Node | None, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]  # type: ignore[no-any-return]
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    return None


def _repeated(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Mark]]:
    """Keys that stand twice in one mapping."""
    if isinstance(node, yaml.SequenceNode):
        for inner in node.value:
            yield from _repeated(inner)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                yield name, key.start_mark
            seen.add(name)
            yield from _repeated(value)


def _report(path: Path, wrong: list[tuple[int, str]]) -> str:
    lines = [f"{path}:{line + 1}: {text}" for line, text in wrong]
    if len(lines) == 1:
        return lines[0]
    more = [f"and {len(lines) - _MOST_TOLD:,} more"] if len(lines) > _MOST_TOLD else []
    return "\n  ".join([f"{path}: {len(lines):,} things are wrong", *lines[:_MOST_TOLD], *more])
