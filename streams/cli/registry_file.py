"""Registry files: sites and campaigns in YAML, checked whole before anything is done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from pydantic import TypeAdapter, ValidationError

from schemas.errors import ConfigurationError
from schemas.registry import CampaignEntry, Entry, SiteEntry

if TYPE_CHECKING:
    from pathlib import Path

_ENTRY: TypeAdapter[SiteEntry | CampaignEntry] = TypeAdapter(Entry)


def read_registry_file(path: Path) -> list[SiteEntry | CampaignEntry]:
    """The entries of a YAML file with lists ``sites`` and ``campaigns``, or one list of entries with their ``kind``.

    Raises `ConfigurationError` naming the entry and field.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    found: list[SiteEntry | CampaignEntry] = []
    seen: set[str] = set()
    for place, item in _items(path, data):
        try:
            entry = _ENTRY.validate_python(item)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"][1:]) or "entry"
            raise ConfigurationError(f"{path}: {place}: {where}: {first['msg']}") from None
        if entry.key in seen:
            raise ConfigurationError(f"{path}: {place}: {entry.key} is there twice")
        seen.add(entry.key)
        found.append(entry)
    return found


def _items(path: Path, data: Any) -> list[tuple[str, Any]]:
    if isinstance(data, list):
        return [(f"entry {number}", item) for number, item in enumerate(data, 1)]
    if not isinstance(data, dict) or not data.keys() <= {"sites", "campaigns"}:
        raise ConfigurationError(f"{path}: expected the lists `sites` and `campaigns`")
    items = []
    for kind, name in (("site", "sites"), ("campaign", "campaigns")):
        entries = data.get(name) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ConfigurationError(f"{path}: {name}: expected a list of mappings")
        items += [(f"{kind} {number}", {"kind": kind} | entry) for number, entry in enumerate(entries, 1)]
    return items
