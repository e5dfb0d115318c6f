"""Files of costs or conversions, as CSV or JSON lines, read as they arrive and turned into events line by line.

Rule: a line is an event, and stands alone: one that is wrong is named by its number (from 1, the header included) and
costs its neighbours nothing. Where a line states no ``event_id`` it gets one that is a pure function of the file's
name, the line's number and what it says, so that a file sent twice counts once. CSV: the fields' names (contract,
section 2) as header, UTF-8, comma, dot; a record is one line. It serves the collector and the command line alike.
"""

from __future__ import annotations

import csv
import hashlib
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import orjson

from schemas.errors import Refused
from streams.collector.intake import (
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    Intake,
    Rejection,
    Unacceptable,
    dead_letter,
    is_deeper,
    refused_value,
    take_event,
    typed_parameters,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from streams.collector.intake import Origin

Kind = Literal["cost", "conversion"]
Form = Literal["csv", "jsonl"]
BATCH: Final = 500
"""Most lines that are kept together."""
BATCH_BYTES: Final = 1_000_000
"""As many bytes are enough, since long lines are held too."""
MAX_LISTED: Final = 1_000
"""Refused lines that are told one by one; all of them are counted."""
MAX_COLUMNS: Final = 200
_BOM: Final = b"\xef\xbb\xbf"
_NEEDED: Final[dict[Kind, tuple[str, ...]]] = {"cost": ("site", "campaign", "cost"), "conversion": ("site", "time")}
"""Columns without which every line would be refused."""


class Line(NamedTuple):
    """One line: its number, its bytes, and the event that it states, or why it states none."""

    number: int
    raw: bytes
    data: dict[str, Any]
    refusal: Refused | None


class Tally:
    """What became of a file: how many lines were accepted and refused, and the first of those that were refused."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused = 0
        self.listed: list[dict[str, Any]] = []

    def add(self, intake: Intake) -> None:
        """Count what was kept."""
        self.accepted += len(intake.records)
        self.refused += len(intake.rejected)
        for refused in intake.rejected[: MAX_LISTED - len(self.listed)]:
            self.listed.append({"line": refused["index"], "reason": refused["reason"], "detail": refused["detail"]})

    def answer(self) -> dict[str, Any]:
        """As the collector answers it."""
        return {"accepted": self.accepted, "rejected_total": self.refused, "rejected": self.listed}


class Reader:
    """Turns the bytes of one file into lines.

    `form` is told by the first byte where it is not stated; `file` is the file's name, as far as one is known;
    `time` (milliseconds) is when the file was written: the time of statements of cost that state none.
    """

    def __init__(self, kind: Kind, form: Form | None = None, *, file: str = "", time: int | None = None) -> None:
        self._kind = kind
        self._form = form
        self._file = file
        self._time = time
        self._rest = b""
        self._number = 0
        self._dropping = False
        self._header: list[str] | None = None
        self.first = b""
        """The first line, as it came."""

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The lines that `chunk` completes. Raises `Unacceptable` where the header is wrong."""
        parts = (self._rest + chunk).split(b"\n")
        self._rest = parts.pop()
        for part in parts:
            yield from self._line(part)
        if len(self._rest) > MAX_EVENT_BYTES:
            # The rest of a line that is too long need not be held, only passed over.
            if not self._dropping:
                yield from self._line(self._rest)
                self._number -= 1
            self._rest, self._dropping = b"", True

    def end(self) -> Iterator[Line]:
        """The last line, where no line feed ends it. Raises `Unacceptable`."""
        rest, self._rest = self._rest, b""
        if rest or self._dropping:
            yield from self._line(rest)

    def _line(self, raw: bytes) -> Iterator[Line]:
        self._number += 1
        if self._dropping:
            self._dropping = False
            return
        if self._number == 1:
            raw = raw.removeprefix(_BOM)
        raw = raw.strip()
        if not raw:
            return
        self.first = self.first or raw
        if self._form is None:
            self._form = "jsonl" if raw[:1] == b"{" else "csv"
        try:
            _check_size(raw)
            if self._form == "jsonl":
                data = _object(raw)
            elif self._header is None:
                self._header = _header(raw, self._kind)
                return
            else:
                data = _row(raw, self._header)
        except Refused as refusal:
            if self._form == "csv" and self._header is None:
                raise Unacceptable(400, Refused(refusal.reason, f"header: {refusal.detail}")) from None
            yield Line(self._number, raw, {}, refusal)
            return
        yield Line(self._number, raw, data, self._complete(data))

    def _complete(self, data: dict[str, Any]) -> Refused | None:
        """State of a line's event what goes without saying in its file; returns what is wrong with it as a whole."""
        kinds = ("cost",) if self._kind == "cost" else ("conversion", "adjustment")
        kind = data.setdefault("type", "adjustment" if self._kind != "cost" and data.get("adjustment") else self._kind)
        if kind not in kinds:
            return Refused("schema", f"type: {str(kind)[:40]!r} does not belong in a file of {self._kind}s")
        if not data.get("time"):
            if self._kind != "cost" or self._time is None:
                hint = " (or state `time` for the whole file)" if self._kind == "cost" else ""
                return Refused("schema", f"time: missing{hint}")
            data["time"] = self._time
        if not data.get("event_id"):
            identity = [self._kind, self._file, self._number, data]
            digest = hashlib.blake2b(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS), digest_size=16)
            data["event_id"] = f"i-{digest.hexdigest()}"
        return None


async def take_lines(
    reader: Reader,
    chunks: AsyncIterator[bytes],
    keep: Callable[[Intake], Awaitable[None]],
    origin: Origin,
    secret: bytes,
    tally: Tally,
) -> None:
    """Have `keep` keep the events of a file, some hundred lines at a time; `tally` counts what was kept.

    Raises `Unacceptable` where the header is wrong, and what `keep` and `chunks` raise.
    """
    intake, size = Intake([], [], [], []), 0
    async for chunk in chunks:
        for line in reader.feed(chunk):
            _take(intake, line, origin, secret)
            size += len(line.raw)
            if len(intake.records) + len(intake.dead_letters) >= BATCH or size >= BATCH_BYTES:
                await keep(intake)
                tally.add(intake)
                intake, size = Intake([], [], [], []), 0
    for line in reader.end():
        _take(intake, line, origin, secret)
    if intake.records or intake.dead_letters:
        await keep(intake)
        tally.add(intake)


def form_of(content_type: str | None) -> Form | None:
    """The form that a content type names."""
    name = (content_type or "").partition(";")[0].strip().lower()
    if name == "text/csv":
        return "csv"
    return "jsonl" if name.endswith(("json", "jsonl", "ndjson", "json-seq")) and "/" in name else None


def _take(intake: Intake, line: Line, origin: Origin, secret: bytes) -> None:
    refusal = line.refusal
    stated = orjson.dumps(line.data) if line.data and refusal is None else line.raw
    if refusal is None:
        try:
            intake.records.append(take_event(line.data, origin, secret))
        except Refused as error:
            refusal = error
    if refusal is not None:
        intake.rejected.append(Rejection(index=line.number, reason=refusal.reason, detail=refusal.detail))
        intake.dead_letters.append(dead_letter(refused_value(stated, line.data, origin, secret), refusal, origin))


def _check_size(raw: bytes) -> None:
    if len(raw) > MAX_EVENT_BYTES:
        raise Refused("too_large", f"more than {MAX_EVENT_BYTES:,} bytes")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused("malformed", str(error)) from None
    if type(data) is not dict:
        raise Refused("malformed", "not an object: one JSON object a line")
    if is_deeper(data, MAX_DEPTH):
        raise Refused("schema", f"nested more than {MAX_DEPTH} deep")
    return data


def _cells(raw: bytes) -> list[str]:
    try:
        cells = next(csv.reader([raw.decode()], strict=True))
    except UnicodeDecodeError:
        raise Refused("malformed", "not UTF-8") from None
    except csv.Error as error:
        raise Refused("malformed", f"not CSV: {error} (a record is one line)") from None
    return [cell.strip() for cell in cells]


def _header(raw: bytes, kind: Kind) -> list[str]:
    names = [name.lower() for name in _cells(raw)]
    if len(names) > MAX_COLUMNS:
        raise Refused("schema", f"more than {MAX_COLUMNS} columns")
    if len(set(names)) < len(names):
        raise Refused("schema", "a name is there twice")
    missing = [name for name in _NEEDED[kind] if name not in names]
    if missing:
        separators = " (columns are separated by commas)" if len(names) == 1 else ""
        raise Refused("schema", f"lacks {', '.join(missing)}{separators}")
    return names


def _row(raw: bytes, header: list[str]) -> dict[str, Any]:
    cells = _cells(raw)
    if len(cells) != len(header):
        raise Refused("malformed", f"{len(cells)} cells where the header has {len(header)}")
    return typed_parameters({name: cell for name, cell in zip(header, cells, strict=True) if cell and name})
