"""Checks of what is read from files: imports by the line, access logs, and the spool's own bytes."""

from __future__ import annotations

import itertools
import random

import orjson

from schemas.errors import Refused
from schemas.reasons import REASONS
from streams.cli.access_log import Reading, read_line
from streams.collector.eventlog import Record
from streams.collector.import_lines import Reader, Tally, take_lines
from streams.collector.intake import Origin, Unacceptable, take_event
from streams.collector.spool_frames import is_torn, read_frames, write_frames, write_record
from tests.hostile.core import check_refusal
from tests.hostile.drive import drive
from tests.hostile.mutations import CONVERSION, COST, NOW, break_bytes, odd_address, odd_object, odd_text

ORIGIN = Origin(NOW, "", None)
CELLS = (
    '"',
    '""',
    '"a',
    'a"b',
    "a,b",
    '"x\ny"',
    "\x00",
    "=1+1",
    "\t",
    "1e5",
    "'",
    "\ufeff",
    "-",
    "2026-09-20",
    "EUR",
    "",
)
LINE = (
    '203.0.113.7 - - [21/Sep/2026:13:33:20 +0000] "GET /?utm_source=a HTTP/1.1" 200 123 '
    '"https://www.google.com/" "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0" "hw_vid=abc"'
)
READING = Reading("shop", "https://shop.example", [("k", b"secret")], 1, "vid")
SEED = 0x5EED


def check_files(batch):
    """The same lines whether the file comes in one piece or in many; each by its number, the good ones kept."""
    for kind, good, form in (("cost", COST, "csv"), ("conversion", CONVERSION, "csv"), ("cost", COST, "jsonl")):
        header = [name for name in good if name != "type"]
        lines = [",".join(header).encode()] if form == "csv" else []
        for number, drawn in enumerate(batch):
            lines.append(_line(drawn, good, header, form).replace(b"\n", b" "))
            stated = {**good, "event_id": f"good-{number}", "order_id": f"good-{number}"}
            lines.append(_written(stated, header, form))
        data = b"\n".join(lines)
        whole = _read(kind, form, [data])
        chance = random.Random(len(data))
        cuts = sorted({0, len(data), *(chance.randint(0, len(data)) for _ in range(20))})
        assert _read(kind, form, [data[a:b] for a, b in itertools.pairwise(cuts)]) == whole
        records, dead, tally = whole
        assert sum(b'"good-' in value for value in records) >= len(batch)
        assert tally["accepted"] == len(records)
        assert tally["rejected_total"] == len(dead)
        assert {entry["reason"] for entry in tally["rejected"]} <= set(REASONS)
        places = [entry["line"] for entry in tally["rejected"]]
        assert places == sorted(set(places))


def _line(drawn, good, header, form):
    if isinstance(drawn, bytes):
        return drawn
    if isinstance(drawn, str):
        return drawn.encode()
    chance = random.Random(drawn)
    made = odd_object(chance, good)
    if form == "csv" and chance.random() < 0.5:
        made[chance.choice(header)] = chance.choice(CELLS)
    data = _written(made, header, form)
    return break_bytes(chance, data) if chance.random() < 0.3 else data


def _written(event, header, form):
    if form == "jsonl":
        return orjson.dumps(event)
    return ",".join(str(event.get(name, "")) for name in header).encode("utf-8", "replace")


def _read(kind, form, chunks):
    """Records, dead letters and tally of a file that comes in `chunks`."""
    reader, tally = Reader(kind, form, file="f", time=NOW), Tally()
    kept, dead = [], []

    async def pieces():
        for chunk in chunks:
            yield chunk

    async def keep(intake):
        kept.extend(record.value for record in intake.records)
        dead.extend(record.value for record in intake.dead_letters)

    try:
        drive(take_lines(reader, pieces(), keep, ORIGIN, b"secret", tally))
    except Unacceptable as error:
        check_refusal(error.refusal)
        raise
    return kept, dead, tally.answer()


def check_logs(batch):
    """What it tells of is an event, accepted or refused."""
    for drawn in batch:
        if isinstance(drawn, int):
            chance = random.Random(drawn)
            line = LINE.replace("/?utm_source=a", odd_address(drawn)) if drawn % 3 else LINE
            if drawn % 5 == 0:
                line = line.replace("21/Sep/2026:13:33:20 +0000", odd_text(chance)[:20])
            if chance.random() < 0.5:
                line = break_bytes(chance, line.encode("utf-8", "replace")).decode("utf-8", "replace")
        else:
            line = drawn
        touch = read_line(line, READING, lambda agent: "bot" not in agent)
        if isinstance(touch, str):
            assert touch in {"unreadable", "not_a_page", "bot"}
            continue
        try:
            take_event(touch, ORIGIN, b"secret")
        except Refused as refusal:
            check_refusal(refusal)


def check_spool(batch):
    """All of it is accounted for, and what lies whole between broken bytes is found."""
    good = write_frames([write_record(Record("clicks", "v", b"good", 1))], SEED)
    data = bytearray()
    for drawn in batch:
        if isinstance(drawn, int):
            chance = random.Random(drawn)
            data += break_bytes(chance, good * chance.randint(1, 3))
        else:
            data += drawn
        data += b"\x00" + good
    pieces = list(read_frames(bytes(data), SEED))
    assert [pieces[0].start, *[piece.end for piece in pieces]] == [*[piece.start for piece in pieces], len(data)]
    assert sum(piece.body is not None for piece in pieces) >= len(batch)
    is_torn(bytes(data), SEED)
