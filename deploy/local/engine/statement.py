"""Reads as much of a SQL text as the HTTP protocol needs: its kind, its FORMAT, and where an INSERT's data begin.

Rule: chDB parses and judges the SQL; this module only finds words outside strings, comments and brackets, and never
touches an INSERT's data. A text that it cannot place is handed on as it is, so the error is the engine's own.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(
    rb"""(?P<blank>[\s\x00]+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<number>\d[\w.]*)
    |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_DATA_START: Final = re.compile(rb"[ \t\f]*\r?\n?")

_SELECTS: Final = frozenset({"SELECT", "WITH", "FROM", "("})
_READERS: Final = _SELECTS | {"SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS"}
_RESULTS: Final = _READERS | {"CHECK", "KILL", "UNION"}
_HARMLESS: Final = _READERS | {"CHECK", "SET", "USE"}
_AFTER_FORMAT: Final = frozenset({"", ";", "SETTINGS"})


class Statement(NamedTuple):
    """What the front must know of a statement before the engine runs it.

    ``kind`` is its first word in capitals ("(" for a bracketed SELECT, "" for an empty text); a WITH that ends in an
    INSERT has kind INSERT. ``format`` is the name in its FORMAT clause, "" if there is none.
    """

    kind: str
    format: str = ""
    totals: bool = False
    outfile: bool = False
    infile: bool = False
    many: bool = False

    @property
    def selects(self) -> bool:
        """A SELECT: chDB can stream it and it can be stopped without harm."""
        return self.kind in _SELECTS

    @property
    def returns_rows(self) -> bool:
        """The answer is a result set, even if an empty one."""
        return self.kind in _RESULTS

    @property
    def harmless(self) -> bool:
        """Certain to write nothing (`readonly = 2` would let it through)."""
        return self.kind in _HARMLESS


class Insert(NamedTuple):
    """An INSERT with data: ``target`` is the text before VALUES or FORMAT, ``data_at`` where the data begin."""

    target: bytes
    format: str
    data_at: int


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


def _tokens(sql: bytes) -> Iterator[_Token]:
    """Tokens outside brackets but blanks and comments, one by one; an opening bracket stands for its contents."""
    depth = 0
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or "other"
        if kind == "blank":
            continue
        text = match[0].decode("utf-8", "replace")
        if kind == "other" and text in ")]}":
            depth = max(0, depth - 1)
            continue
        if depth == 0:
            yield _Token(kind, text, match.start(), match.end())
        if kind == "other" and text in "([{":
            depth += 1


def read_statement(sql: bytes) -> Statement:
    """Describes a complete statement without INSERT data (see `read_insert` for those)."""
    tokens = list(_tokens(sql))
    if not tokens:
        return Statement("")
    words = [token.text.upper() if token.kind in ("word", "other") else "" for token in tokens]
    texts = [*words, "", ""]
    kind = words[0]
    if kind == "WITH" and "INSERT" in words:
        kind = "INSERT"
    name = ""
    for at, word in enumerate(words):
        if word == "FORMAT" and at + 1 < len(tokens) and tokens[at + 1].kind == "word":
            follows_clause = at > 0 and words[at - 1] not in ("BY", ",", ".", "AS", "SELECT")
            if follows_clause and texts[at + 2] in _AFTER_FORMAT and texts[at + 1] not in ("ASC", "DESC"):
                name = tokens[at + 1].text
    pairs = list(itertools.pairwise(words))
    ends = [at for at, word in enumerate(words) if word == ";"]
    return Statement(
        kind=kind,
        format=name,
        totals=("WITH", "TOTALS") in pairs or b"extremes" in sql,
        outfile=("INTO", "OUTFILE") in pairs,
        infile=kind == "INSERT" and ("FROM", "INFILE") in pairs,
        many=any(word != ";" for word in words[ends[0] :]) if ends else False,
    )


def read_insert(  # noqa: C901, PLR0911 - the grammar's cases, in their order
    head: bytes,
) -> Insert | Literal["incomplete"] | None:
    """Finds an INSERT's data in the beginning of a request's text.

    None: it is no INSERT with data (another statement, INSERT SELECT). "incomplete": ``head`` ends before that can be
    told; call again with more, or take the text as a whole if there is no more.
    """
    tokens = _tokens(head)
    first = next(tokens, None)
    if first is None:
        return "incomplete"
    if first.text.upper() != "INSERT":
        # "INS" may be the beginning of the word, if the text ends there.
        return "incomplete" if first.end == len(head) and "INSERT".startswith(first.text.upper()) else None
    name_next = True
    for token in tokens:
        word = token.text.upper()
        if word in ("'", '"', "`"):
            return "incomplete"  # a quoted name that goes on behind the end
        if name_next:
            name_next = word in ("INTO", "TABLE", "FUNCTION")
        elif word == ".":
            name_next = True
        elif token.kind == "word" and word in ("SELECT", "WITH", "WATCH", "INFILE"):
            return None
        elif token.kind == "word" and word == "VALUES":
            return Insert(head[: token.start], "Values", token.end) if token.end < len(head) else "incomplete"
        elif token.kind == "word" and word == "FORMAT":
            name = next(tokens, None)
            if name is None or name.end == len(head):
                return "incomplete"
            start = _DATA_START.match(head, name.end)
            return Insert(head[: token.start], name.text, start.end() if start else name.end)
    return "incomplete"


def whole_insert(text: bytes) -> Insert | None:
    """`read_insert` of a text that is complete: the data may be empty."""
    found = read_insert(text + b"\n")
    if not isinstance(found, Insert):
        return None
    return found._replace(data_at=min(found.data_at, len(text)))


def with_own_query_id(sql: bytes) -> bytes:
    """A KILL QUERY whose ``query_id`` means the id that the client gave (see `execution.tagged`)."""
    own = b"coalesce(nullIf(extract(query, '/\\\\* query_id=([^ ]*) \\\\*/$'), ''), query_id)"
    parts: list[bytes] = []
    at = 0
    for match in _TOKEN.finditer(sql):
        if match.lastgroup == "word" and match[0].lower() == b"query_id":
            parts += [sql[at : match.start()], own]
            at = match.end()
    return b"".join([*parts, sql[at:]])
