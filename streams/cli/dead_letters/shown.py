"""Letters as a person sees them: a table, one letter in full, what a replay came to.

Rule: a letter's bytes are someone else's. Whatever could move the cursor, colour the terminal or turn the direction of
writing is shown as an escape, never sent.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from schemas.records import ReplayRecord
    from streams.cli.dead_letters.letters import Letter
    from streams.cli.dead_letters.plans import Plan
    from streams.cli.dead_letters.replay import Tally

WIDTH: Final = 160
SHOWN_BYTES: Final = 4096
_HARMFUL: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_ROW: Final = 16
_BEGINNING: Final = 120


def console() -> Console:
    """The terminal, or wide lines where it is none."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(width=WIDTH, highlight=False)


def harmless(text: str) -> str:
    """`text` with everything that is not to be seen, or acts on a terminal, as an escape."""
    return "".join(_escape(char) if unicodedata.category(char) in _HARMFUL else char for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def bytes_as_text(value: bytes) -> str:
    """Bytes as harmless text; what is not UTF-8 as escapes."""
    return harmless(value.decode("utf-8", "backslashreplace"))


def hex_lines(value: bytes) -> Iterator[str]:
    """`value` in hexadecimal, sixteen bytes a line with their ASCII."""
    for start in range(0, len(value), _ROW):
        row = value[start : start + _ROW]
        digits = f"{row[:8].hex(' ')}  {row[8:].hex(' ')}"
        plain = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{start:08x}  {digits:<48}  |{plain}|"


def moment(ms: int) -> str:
    """A time, in UTC."""
    try:
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return str(ms)


def letters_table(letters: Sequence[Letter], replays: Mapping[bytes, ReplayRecord]) -> Table:
    """Letters, one a row."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, expand=True)
    table.add_column("letter", no_wrap=True)
    table.add_column("received (UTC)", no_wrap=True)
    for name in ("reason", "topic"):
        table.add_column(name, no_wrap=True)
    table.add_column("detail", ratio=3, overflow="fold")
    table.add_column("begins", ratio=3, no_wrap=True, overflow="ellipsis")
    replayed = any(letter.mark in replays for letter in letters)
    if replayed:
        table.add_column("replayed", no_wrap=True)
    for letter in letters:
        begins = bytes_as_text(letter.value[:_BEGINNING])
        cells = [letter.id, moment(letter.time), letter.reason, letter.topic, letter.detail, begins]
        replay = replays.get(letter.mark)
        cells += [moment(replay["time"]) if replay else ""] if replayed else []
        table.add_row(*(Text(harmless(cell)) for cell in cells))
    return table


def print_letter(letter: Letter, replay: ReplayRecord | None, *, most: int = SHOWN_BYTES) -> None:
    """All there is to a letter; of its bytes `most`."""
    out = console()
    facts = [("letter", letter.id), ("reason", letter.reason), ("detail", letter.detail)]
    if letter.topic == "http":
        facts.append(("from", "http: the collector refused it"))
    else:
        facts.append(("from", f"{letter.topic}, partition {letter.partition}, offset {letter.offset}"))
    facts.append(("received", f"{moment(letter.time)} UTC"))
    facts.append(("key", "none" if letter.key is None else bytes_as_text(letter.key)))
    facts.append(("replayed", _replayed(replay)))
    facts.append(("size", f"{len(letter.value):,} bytes"))
    for name, value in facts:
        out.print(Text.assemble((f"{name:<10}", "bold"), harmless(value)), soft_wrap=True)
    for heading, lines in (
        ("as text", _text_lines(letter.value, most)),
        ("as bytes", list(hex_lines(letter.value[:most]))),
    ):
        out.print()
        out.print(Text(heading, style="bold"))
        for text in lines:
            out.print(Text(text), soft_wrap=True)
    if len(letter.value) > most:
        left = len(letter.value) - most
        out.print(Text(f"{left:,} more bytes; --all shows them, --raw writes them as they are", style="dim"))


def _text_lines(value: bytes, most: int) -> list[str]:
    if len(value) <= most:
        try:
            laid_out = orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            pass
        else:
            return [harmless(line) for line in laid_out.decode().split("\n")]
    return [bytes_as_text(line) for line in value[:most].split(b"\n")]


def _replayed(replay: ReplayRecord | None) -> str:
    if replay is None:
        return "no"
    became = ", ".join(f"{many:,} to {topic}" for topic, many in replay["records"].items())
    mended = ", mended" if replay["mended"] else ""
    return f"{moment(replay['time'])} UTC{mended}: {became} (run {replay['run']})"


def plans_table(plans: Sequence[Plan]) -> Table:
    """What would be sent where, one record a row."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, expand=True)
    for name in ("letter", "reason", "mended", "to"):
        table.add_column(name, no_wrap=True)
    table.add_column("key", overflow="fold")
    table.add_column("begins", ratio=1, no_wrap=True, overflow="ellipsis")
    for made in plans:
        for record in made.records:
            letter, to = made.letter, f"{record.topic}[{record.partition}]"
            key, begins = bytes_as_text(record.key or b""), bytes_as_text(record.value[:_BEGINNING])
            cells = (letter.id, letter.reason, "yes" if made.mended else "", to, key, begins)
            table.add_row(*(Text(harmless(cell)) for cell in cells))
    return table


def result(tally: Tally, *, dry_run: bool) -> str:
    """What a replay came to, in one line."""
    if not tally.meant:
        return "no letter is like that"
    parts = [f"{'would replay' if dry_run else 'replayed'} {_many(tally.replayed, 'letter')}"]
    if tally.records:
        parts[0] += ": " + ", ".join(
            f"{_many(many, 'record')} to {topic}" for topic, many in sorted(tally.records.items())
        )
    if tally.before:
        parts.append(f"{tally.before:,} replayed before")
    if tally.refused:
        reasons = ", ".join(f"{reason} {many:,}" for reason, many in tally.refused.most_common())
        parts.append(f"{tally.refused.total():,} would be refused again and stay: {reasons}")
    if dry_run:
        parts.append("nothing sent (--dry-run)")
    return "; ".join(parts)


def stays(tally: Tally, most: int = 20) -> Iterator[str]:
    """A line for each of the first letters that stay, and why."""
    for made in tally.stays[:most]:
        refusal = made.refused[0]
        yield harmless(f"{made.letter.id} stays: {refusal.reason}: {refusal.detail}")
    if tally.refused.total() > most:
        yield f"and {tally.refused.total() - most:,} more"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def count(waiting: Mapping[str, int], replayed: int, shown: int, *, all_: bool) -> str:
    """The line under a table: how many letters there are, by reason."""
    total = sum(waiting.values())
    reasons = ", ".join(f"{reason} {many:,}" for reason, many in sorted(waiting.items(), key=lambda entry: -entry[1]))
    parts = [f"{_many(total, 'letter')} waiting" + (f": {reasons}" if reasons else "")]
    if replayed:
        parts.append(f"{replayed:,} replayed" + ("" if all_ else " (--all shows them)"))
    there = total + (replayed if all_ else 0)
    if shown < there:
        parts.append(f"the latest {shown:,} are shown (--limit 0 shows all)")
    return "; ".join(parts)
