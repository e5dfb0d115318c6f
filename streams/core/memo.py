"""Remembered results of pure functions, bounded."""

from __future__ import annotations

from typing import Generic, TypeVar

_Value = TypeVar("_Value")
_Key = TypeVar("_Key")


class Memo(dict[_Key, _Value], Generic[_Key, _Value]):
    """Remembered results of a pure function, at most `limit`: when full it forgets all and fills again."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def keep(self, key: _Key, value: _Value) -> _Value:
        """Remember `value` for `key` and return it."""
        if len(self) >= self.limit:
            self.clear()
        self[key] = value
        return value
