"""What libraries log, through the standard library's logging: as the event ``library_log``, repeats only counted.

Rule: the same line of the same logger, numbers aside, is told at once and then every `EVERY_S` seconds, with the number
of times it was said in between (``repeated``). aiokafka says about 130 lines a second while Kafka is away.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Final

import structlog

CLIENTS: Final = ("aiokafka", "urllib3")
"""Loggers of the clients of Kafka and ClickHouse, which tell of every attempt."""
EVERY_S: Final = 10.0
MAX_LINES: Final = 256
"""Different lines remembered; the oldest is forgotten first."""

_NUMBERS: Final = re.compile(r"0x[0-9a-f]+|\d+")
"""What differs between two lines that say the same: numbers, and where in memory an object lies."""
_Line = tuple[str, int, str]


class _Repeats:
    """When a line was told last, what was kept back since then, and the last of that."""

    __slots__ = ("count", "record", "told")

    def __init__(self, told: float) -> None:
        self.told = told
        self.count = 0
        self.record: logging.LogRecord | None = None


class LibraryLogs(logging.Handler):
    """Hands records on to structlog, repeats held back; what is still held back is told at the end."""

    def __init__(self, *, clients: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clients = clients
        self._clock = clock
        self._lines: dict[_Line, _Repeats] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Tell `record`, or count it."""
        if not self._clients and record.name.startswith(CLIENTS):
            return
        try:
            now = self._clock()
            self._tell_counted(now)
            line = (record.name, record.levelno, _NUMBERS.sub("#", str(record.msg)))
            repeats = self._lines.get(line)
            if repeats is not None:
                repeats.count += 1
                repeats.record = record
                return
            if len(self._lines) >= MAX_LINES:
                del self._lines[next(iter(self._lines))]
            self._lines[line] = _Repeats(now)
            _tell(record, 0)
        except Exception:  # noqa: BLE001 - a log line never stops what it tells of
            self.handleError(record)

    def _tell_counted(self, now: float, every: float = EVERY_S) -> None:
        """Tell what was kept back for long enough, and forget the lines that were not said again."""
        for line, repeats in list(self._lines.items()):
            if now - repeats.told < every:
                continue
            del self._lines[line]
            if repeats.record is not None:
                self._lines[line] = _Repeats(now)
                _tell(repeats.record, repeats.count)

    def close(self) -> None:
        """Tell what is still kept back."""
        self.acquire()
        try:
            self._tell_counted(self._clock(), 0.0)
            self._lines.clear()
        finally:
            self.release()
        super().close()


def take_library_logs(level: int, *, clients: bool = True) -> None:
    """Make this the standard library's only handler, from `level` on; `clients` False leaves `CLIENTS` out."""
    root = logging.getLogger()
    root.handlers[:] = [LibraryLogs(clients=clients)]
    root.setLevel(level)


def _tell(record: logging.LogRecord, repeated: int) -> None:
    fields = {"repeated": repeated} if repeated else {}
    structlog.get_logger().log(
        # structlog knows only the standard levels
        min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL),
        "library_log",
        logger=record.name,
        message=record.getMessage(),
        exc_info=record.exc_info or None,
        **fields,
    )
