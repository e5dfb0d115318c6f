"""State keys: how the output records are indexed.

Rule: the state is the output topics and nothing else. Every state record bears its key in the header ``k``, so a
restore puts bytes under bytes and parses nothing. A record that makes its visitor worth a look at new touches (a
conversion, a consent, a verdict) bears ``m`` too and leaves a mark, which lies apart from its visitor's entries: marks
are asked for with each touch, and together they are small. What a mark says follows from those entries: a restored one
says that any touch counts, until somebody has looked.

    v VISITOR t EVENT       touch, consent or verdict       from `touches`
    v VISITOR c CONVERSION  attribution                     from `attributions`
    m VISITOR               mark: up to when a touch can change what is known; b'': any can
    u CONVERSION            attribution without a visitor   from `attributions`
    o CONVERSION            order with its facts            from `orders`
    s DAY GROUP STATEMENT   cost statement                  from `spend`
    p MINUTE KEY            pane                            from `panes`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from xxhash import xxh3_64_digest, xxh3_128_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FORMAT: Final = 4
"""Version of keys and values; a store of another version is rebuilt from the topics."""

VISITOR_PREFIX: Final = 17
"""Length of ``v`` and a visitor's hash."""
SPEND_PREFIX: Final = 13
"""Length of ``s``, a day and a group's hash."""
ALWAYS: Final = (1 << 63) - 1
"""Of a mark: no touch is too late to change what is known."""


class View(Protocol):
    """What the core may ask of the state."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of `keys`, in their order."""

    def scan(self, prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
        """All entries whose key starts with `prefix`."""


def visitor_key(visitor: bytes) -> bytes:
    """Prefix of all of a visitor's entries."""
    return b"v" + visitor


def mark_key(key: bytes) -> bytes:
    """The mark that belongs to an entry of a visitor, or to the prefix of all."""
    return b"m" + key[1:VISITOR_PREFIX]


def write_mark(until: int) -> bytes:
    """The value of a mark: touches up to `until` (ms) can change what is known of the visitor; b'' for `ALWAYS`."""
    return b"" if until == ALWAYS else until.to_bytes(8, "big")


def read_mark(value: bytes) -> int:
    """Up to when (ms) touches can change what is known of the visitor."""
    return int.from_bytes(value, "big") if value else ALWAYS


def attribution_key(visitor: bytes, conversion_id: str) -> bytes:
    """Key of a conversion's attribution; `visitor` is b'' where there is none."""
    conversion = bytes.fromhex(conversion_id)
    return b"v" + visitor + b"c" + conversion if visitor else b"u" + conversion


def order_key(conversion_id: str) -> bytes:
    """Key of an order."""
    return b"o" + bytes.fromhex(conversion_id)


def spend_prefix(day: int, group: bytes) -> bytes:
    """What the keys of a group's cost statements about a day begin with; days since the epoch."""
    return b"s" + day.to_bytes(4, "big") + xxh3_64_digest(group)


def spend_key(day: int, group: bytes, statement: bytes) -> bytes:
    """Key of a cost statement, by its day, its group and its Kafka key."""
    return spend_prefix(day, group) + xxh3_128_digest(statement)


def pane_key(minute: int, key: bytes) -> bytes:
    """Key of a pane: in order of minutes."""
    return b"p" + minute.to_bytes(4, "big") + key


class Ahead:
    """A view as it will be once `puts` are written."""

    def __init__(self, view: View, puts: Mapping[bytes, bytes]) -> None:
        self._view = view
        self._puts = puts

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of `keys`, in their order."""
        put = self._puts.get
        return [put(key, value) for key, value in zip(keys, self._view.get_many(keys), strict=True)]

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All entries whose key starts with `prefix`, in key order."""
        found = dict(self._view.scan(prefix))
        found.update((key, value) for key, value in self._puts.items() if key.startswith(prefix))
        return sorted(found.items())


class MemoryView:
    """State in memory: for files, tests and small data."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._by_visitor: dict[bytes, set[bytes]] = {}

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of `keys`, in their order."""
        return [self._entries.get(key) for key in keys]

    def scan(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All entries whose key starts with `prefix`, in key order."""
        if len(prefix) >= VISITOR_PREFIX and prefix[:1] == b"v":
            keys: Iterable[bytes] = self._by_visitor.get(prefix[:VISITOR_PREFIX], ())
        else:
            keys = self._entries
        return [(key, self._entries[key]) for key in sorted(keys) if key.startswith(prefix)]

    def delete(self, key: bytes) -> None:
        """Forget one entry, where it is there."""
        self._entries.pop(key, None)
        if key[:1] == b"v":
            self._by_visitor.get(key[:VISITOR_PREFIX], set()).discard(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set one entry."""
        self._entries[key] = value
        if key[:1] == b"v":
            self._by_visitor.setdefault(key[:VISITOR_PREFIX], set()).add(key)
