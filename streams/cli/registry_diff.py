"""What applying a registry file would change, entry by entry and field by field.

Rule: pure. A new period of a name is compared with the one in force before it, an entry of a moment that is there with
what is there; fields that are as before are not told.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from schemas.registry import CampaignEntry, SiteEntry

_NAMES = frozenset({"kind", "site", "campaign", "valid_from"})


class Change(NamedTuple):
    """What becomes of one entry; `fields`: name -> before and after, None where it was not there."""

    what: Literal["new", "changed", "same"]
    entry: SiteEntry | CampaignEntry
    fields: dict[str, tuple[Any, Any]]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "change": self.what,
            "key": self.entry.key,
            **titles(self.entry),
            "valid_from": moment(self.entry.valid_from),
            "fields": {name: {"before": before, "after": after} for name, (before, after) in self.fields.items()},
        }


def compare(
    wanted: Iterable[SiteEntry | CampaignEntry], there: Mapping[str, SiteEntry | CampaignEntry]
) -> list[Change]:
    """What writing `wanted` changes where `there` is what the registry has, by key."""
    known = dict(there)
    periods: dict[tuple[str, ...], list[SiteEntry | CampaignEntry]] = {}
    for entry in there.values():
        periods.setdefault(name_of(entry), []).append(entry)
    changes = []
    for entry in sorted(wanted, key=lambda entry: (entry.kind != "site", entry.valid_from)):
        old = known.get(entry.key)
        if old == entry:
            changes.append(Change("same", entry, {}))
        else:
            base = old or _before(entry, periods.get(name_of(entry), ()))
            changes.append(Change("changed" if old else "new", entry, _fields(base, entry)))
            periods.setdefault(name_of(entry), []).append(entry)
        known[entry.key] = entry
    return changes


def describe(change: Change) -> list[str]:
    """The lines that tell a person of a change."""
    entry = change.entry
    mark = {"new": "+", "changed": "~", "same": "="}[change.what]
    name = entry.site if entry.kind == "site" else f"{entry.campaign} (site {entry.site})"
    since = f"from {moment(entry.valid_from)}" if entry.valid_from else "from the beginning"
    lines = [f"{mark} {entry.kind} {name}, {since}"]
    for field, (before, after) in change.fields.items():
        if _is_table(before) or _is_table(after):
            lines.append(f"    {field}:")
            lines += [f"      - {_shown(row)}" for row in before or () if row not in after]
            lines += [f"      {'=' if row in (before or ()) else '+'} {_shown(row)}" for row in after]
            continue
        was = "" if before is None else f"{_shown(before)} -> "
        lines.append(f"    {field}: {was}{_shown(after)}")
    return lines


def titles(entry: SiteEntry | CampaignEntry) -> dict[str, str]:
    """Kind and names of an entry."""
    if entry.kind == "site":
        return {"kind": "site", "site": entry.site}
    return {"kind": "campaign", "campaign": entry.campaign, "site": entry.site}


def name_of(entry: SiteEntry | CampaignEntry) -> tuple[str, ...]:
    """What the periods of one site or campaign have in common."""
    return (entry.kind, entry.site) if entry.kind == "site" else (entry.kind, entry.campaign, entry.site)


def moment(time_ms: int) -> str | None:
    """A moment as a person and `read_time` read it; None for the beginning of time."""
    if not time_ms:
        return None
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace(".000+", "+").replace("+00:00", "Z")


def stated(entry: SiteEntry | CampaignEntry) -> dict[str, Any]:
    """What an entry says beyond the defaults, as a registry file would state it."""
    said = entry.model_dump(mode="json", exclude_defaults=True)
    said.pop("kind", None)
    for destination in said.get("destinations", ()):
        destination |= {name: _whole(value) for name, value in destination.items()}
    if entry.valid_from:
        said["valid_from"] = moment(entry.valid_from)
    return {name: said[name] for name in sorted(said, key=lambda name: (name not in _NAMES, name == "valid_from"))}


def _before(
    entry: SiteEntry | CampaignEntry, entries: Iterable[SiteEntry | CampaignEntry]
) -> SiteEntry | CampaignEntry | None:
    """Of the periods of its name the one that is in force until `entry` is."""
    earlier = [other for other in entries if other.valid_from < entry.valid_from]
    return max(earlier, key=lambda other: other.valid_from, default=None)


def _fields(old: SiteEntry | CampaignEntry | None, new: SiteEntry | CampaignEntry) -> dict[str, tuple[Any, Any]]:
    after = new.model_dump(mode="json")
    if old is None:
        return {name: (None, value) for name, value in stated(new).items() if name not in _NAMES}
    before = old.model_dump(mode="json")
    return {
        name: (before[name], value) for name, value in after.items() if name not in _NAMES and before[name] != value
    }


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(row, dict) for row in value)


def _shown(value: Any) -> str:
    import json

    if isinstance(value, dict):
        value = {name: _whole(inner) for name, inner in value.items() if inner not in (None, [], {}, "")}
    return json.dumps(_whole(value), ensure_ascii=False)


def _whole(value: Any) -> Any:
    """A number without decimals where it has none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
