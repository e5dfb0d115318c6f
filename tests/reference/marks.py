"""Marks of visitors, which a restore makes wider: what must hold of them, and the state without them."""

from __future__ import annotations

import orjson

from streams.core.events import STATEMENTS
from streams.core.state import ALWAYS, mark_key, read_mark


def without_marks(entries):
    """The entries of a state, read, beside marks, each of which is found to say what it must, at least."""
    marks = {key: value for key, value in entries.items() if key[:1] == b"m"}
    wanted = {}
    for key, value in entries.items():
        if key[:1] == b"v":
            record = orjson.loads(value)
            until = record.get("conversion_time") or (ALWAYS if record["type"] in STATEMENTS else None)
            if until is not None:
                wanted[mark_key(key)] = max(until, wanted.get(mark_key(key), 0))
    assert marks.keys() == wanted.keys()
    for key, until in wanted.items():
        assert read_mark(marks[key]) >= until
    return {key: orjson.loads(value) for key, value in entries.items() if key not in marks}
