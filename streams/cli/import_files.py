"""Files to be imported, piece by piece with a bar that shows how far it is, and Kafka to put them into.

Rule: the bar goes to stderr and only to a terminal, so that what is printed can be read by programs.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
import time
import zlib
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from schemas.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from schemas.settings import Settings
    from streams.collector.eventlog import EventLog

PIECE: Final = 256 * 1024
_CONNECT_S: Final = 20.0
_GZIP: Final = b"\x1f\x8b"


@contextmanager
def progress(path: Path) -> Iterator[Callable[[int], None]]:
    """A bar for a file; what is returned is told how many bytes of it have been read so far."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(path.name, total=path.stat().st_size)
        yield lambda done: bar.update(task, completed=done)


def pieces(path: Path, told: Callable[[int], None]) -> Iterator[bytes]:
    """The content of a file, uncompressed where it is gzipped. Raises `ConfigurationError`."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            content = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file
            while piece := content.read(PIECE):
                told(file.tell())
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


async def stream(path: Path, told: Callable[[int], None]) -> AsyncIterator[bytes]:
    """As `pieces`, for those who wait for Kafka or the collector in between."""
    for piece in pieces(path, told):
        yield piece


def check(path: Path) -> None:
    """Raise `ConfigurationError` where `path` is no file."""
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file")


@asynccontextmanager
async def kafka(settings: Settings) -> AsyncIterator[EventLog]:
    """Kafka, as the collector writes to it. Raises `Unavailable` where it is not there."""
    import structlog

    from schemas.settings import kafka_client_options
    from streams.collector.kafkalog import KafkaLog

    # Its news are for a role's log; a command ends with one line.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    log = KafkaLog(kafka_client_options(settings))
    await log.open()
    try:
        deadline = time.monotonic() + _CONNECT_S
        while not log.ready:
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka at {settings.kafka} does not answer, or lacks topics (`headwater topics`)")
            await asyncio.sleep(0.02)
        yield log
    finally:
        await log.close()


def print_json(value: Any) -> None:
    """One line of JSON."""
    import orjson

    print(orjson.dumps(value).decode())
