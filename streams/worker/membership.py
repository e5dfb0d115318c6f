"""Who a worker is to its group: an id that outlives the process, and that no two processes ever bear at once.

Rule: the id belongs to a place in the state directory, and a process holds that place by a lock that ends with it. So a
worker that was killed and is started again within its session has its partitions back at once, without a rebalance for
anybody (KIP-345); and workers that share a directory have places of their own. The id also names host and path, so that
a copied directory is somebody else. A worker that stops in order says goodbye, and its partitions go on elsewhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import socket
import uuid
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_PLACES: Final = 256
_ID_BYTES: Final = 32


class Membership:
    """A place in a state directory, held from `claim` until `release` or the process's end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: int | None = None
        self.id: str | None = None
        """What the group knows this worker by; None where the directory cannot be written, or has no place left."""

    def claim(self) -> str | None:
        """Take the first free place."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for number in range(_PLACES):
                if self._take(self._directory / f"member-{number}"):
                    break
        except OSError:
            self.release()
        return self.id

    def _take(self, path: Path) -> bool:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        own = os.pread(file, _ID_BYTES, 0)
        if len(own) < _ID_BYTES:
            own = uuid.uuid4().hex.encode()
            os.pwrite(file, own, 0)
        host = re.sub(r"[^a-zA-Z0-9._-]", "-", socket.gethostname())[:64]
        where = hashlib.blake2b(own + os.fsencode(path.resolve()), digest_size=8).hexdigest()
        self.id = f"{host}-{where}"
        return True

    def release(self) -> None:
        """Let go of the place."""
        self.id = None
        if self._file is not None:
            os.close(self._file)
            self._file = None
