"""Letters as JSON lines: what `list --json` writes, a person edits, and `replay FILE` reads.

Rule: a line names its letter and holds what was refused once, as `event` (an object), `events` (an array of objects),
`text` or `base64`; what is edited there is sent instead of the letter's own bytes. All other fields are for the reader,
and a line that is as it was stands for the letter's own bytes. One wrong line, and nothing of the file is used.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from schemas.errors import ConfigurationError
from streams.cli.dead_letters.letters import Letter, Place, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.records import ReplayRecord

_FORMS: Final = ("event", "events", "text", "base64")


class Line(NamedTuple):
    """A line of an edited file: its number, the letter's place, and what it says in place of the letter's bytes."""

    number: int
    place: Place
    topic_id: str
    content: dict[str, Any]


def describe(letter: Letter, replay: ReplayRecord | None) -> dict[str, Any]:
    """A letter as one JSON object; `replayed` is when it was sent again, in ms, or null."""
    key, name = letter.key, "key"
    try:
        shown = None if key is None else key.decode()
    except UnicodeDecodeError:
        shown, name = base64.b64encode(key or b"").decode(), "key_base64"
    return {
        "letter": letter.id,
        "topic_id": letter.topic_id,
        "time": letter.time,
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "replayed": None if replay is None else replay["time"],
        name: shown,
        **content(letter.value),
    }


def content(value: bytes) -> dict[str, Any]:
    """The bytes of a letter in the form that is easiest to edit."""
    try:
        data = orjson.loads(value)
    except orjson.JSONDecodeError:
        data = None
    if isinstance(data, dict):
        return {"event": data}
    if isinstance(data, list) and data and all(isinstance(item, dict) for item in data):
        return {"events": data}
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def read_lines(lines: Iterable[bytes], name: str) -> dict[Place, Line]:
    """The lines of an edited file by their letters; `name` is the file's. Raises `ConfigurationError`."""
    found: dict[Place, Line] = {}
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        line = _line(number, raw, f"{name}:{number}")
        if (before := found.get(line.place)) is not None:
            raise ConfigurationError(f"{name}:{number}: the letter stands in line {before.number} already")
        found[line.place] = line
    return found


def _line(number: int, raw: bytes, where: str) -> Line:
    try:
        said = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    if not isinstance(said, dict):
        raise ConfigurationError(f"{where}: not an object: one letter a line, as `list --json` writes it")
    place = place_of(str(said.get("letter", "")))
    if place is None or not isinstance(said.get("topic_id"), str):
        raise ConfigurationError(f"{where}: `letter` and `topic_id` must be as `list --json` wrote them")
    forms = [form for form in _FORMS if form in said]
    if len(forms) != 1:
        raise ConfigurationError(f"{where}: exactly one of {', '.join(_FORMS)}")
    _values(said, where)
    return Line(number, place, said["topic_id"], {forms[0]: said[forms[0]]})


def mended_values(line: Line, letter: Letter) -> list[bytes] | None:
    """What `line` says instead of the letter's bytes; None where it says the same."""
    if content(letter.value) == line.content:
        return None
    return _values(line.content, "")


def _values(said: dict[str, Any], where: str) -> list[bytes]:
    match said:
        case {"event": dict(event)}:
            return [orjson.dumps(event)]
        case {"events": list(events)} if events and all(isinstance(event, dict) for event in events):
            return [orjson.dumps(event) for event in events]
        case {"text": str(text)}:
            return [text.encode()]
        case {"base64": str(text)}:
            try:
                return [base64.b64decode(text, validate=True)]
            except (binascii.Error, ValueError):
                raise ConfigurationError(f"{where}: base64: not valid") from None
    raise ConfigurationError(f"{where}: event: an object; events: objects, at least one; text and base64: text")
