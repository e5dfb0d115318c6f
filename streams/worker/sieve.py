"""Which marks a store may have, in memory: most visitors have none, and are asked for with each touch.

Rule: a bit that is not set says that the mark is not there, and the store need not be asked; one that is set says
nothing. Marks that are deleted leave their bits. The size is fixed: where most visitors have a mark, as where each
states a consent, all bits are set in the end and the store answers as if there were no sieve.

`streams.core._bulk` has these functions compiled; a test holds the two against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SIEVE_BYTES: Final = 1 << 20
"""Of a hundred thousand marks, one look-up in two thousand is made in vain; of a million, one in twenty."""
MARKS_AT_MOST: Final = 2_000_000
"""Of more, too many look-ups are made in vain to be worth reading them all at start."""
_MASK: Final = 8 * SIEVE_BYTES - 1
_MARK: Final = ord("m")
_SHORTEST: Final = 9
"""Bytes of a key with two numbers behind its kind; visitors are hashes, so these say as much as another hash would."""


def note(sieve: bytearray, keys: Iterable[bytes]) -> None:
    """Set the bits of all marks among `keys`."""
    for key in keys:
        if len(key) >= _SHORTEST and key[0] == _MARK:
            for bit in _bits(key):
                sieve[bit >> 3] |= 1 << (bit & 7)


def look_up(
    keys: list[bytes],
    get: Callable[[list[bytes]], list[bytes | None]],
    unpack: Callable[[bytes], bytes],
    sieve: bytearray,
) -> list[bytes | None]:
    """The unpacked values of `keys`, in their order; `get` is asked for those alone that may be there."""
    asked = [key for key in keys if _may_be(key, sieve)]
    found = dict(zip(asked, get(asked) if asked else (), strict=True))
    return [None if (value := found.get(key)) is None else unpack(value) for key in keys]


def _may_be(key: bytes, sieve: bytearray) -> bool:
    if len(key) < _SHORTEST or key[0] != _MARK:
        return True
    return all(sieve[bit >> 3] & 1 << (bit & 7) for bit in _bits(key))


def _bits(key: bytes) -> tuple[int, int]:
    return int.from_bytes(key[1:5], "big") & _MASK, int.from_bytes(key[5:9], "big") & _MASK
