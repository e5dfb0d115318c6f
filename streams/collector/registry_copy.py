"""The registry as a collector knew it last, in a file: for a start while Kafka is away.

Rule: what Kafka says goes before it, as soon as Kafka says anything; a copy that is not whole is none. It lies in the
spool's directory, which is one collector's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
import structlog
import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = structlog.get_logger()

FILE: Final = "registry"


def write_copy(path: Path, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Put (key, value) pairs into the file, all or none of them; where the disk fails, the file is as it was."""
    body = b"\n".join(orjson.dumps([key.decode("latin-1"), value.decode()]) for key, value in records)
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(xxhash.xxh3_64_hexdigest(body).encode() + b"\n" + body)
        fresh.chmod(0o600)
        fresh.replace(path)
    except OSError as error:
        log.warning("registry_copy_failed", file=str(path), error=error.strerror)


def read_copy(path: Path) -> list[tuple[bytes, bytes]] | None:
    """The (key, value) pairs in the file; None where it is not there, or not whole."""
    try:
        checksum, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if xxhash.xxh3_64_hexdigest(body).encode() != checksum:
        return None
    pairs = (orjson.loads(line) for line in body.splitlines())
    return [(key.encode("latin-1"), value.encode()) for key, value in pairs]
