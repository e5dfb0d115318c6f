"""Bodies: read whole or piece by piece, within their limits of size and time.

Rule: a client that takes too long is cut, one that sends too much is told so where it can be, and what broke off is
never taken for a whole. However many send at once, what is held of large bodies is bounded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from schemas.errors import Unavailable
from streams.collector.messages import BodyTooLarge, BodyTooSlow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BODY_S: Final = 15.0
"""Longest that a body may take."""
SMALL_BYTES: Final = 64 * 1024
"""A body up to here is read in one piece."""
MAX_HELD_BYTES: Final = 128 * 1024 * 1024
"""Most that the large bodies being read may take together; beyond it they are answered 503."""
MAX_DROPPED_BYTES: Final = 64 * 1024 * 1024
"""Most that is read of a body that is too large, to be able to answer; then the connection is cut."""
LEAST_BYTES_PER_S: Final = 1024
"""Slower than this a file may not come, taken over all of it."""


class Bodies:
    """Reads bodies, and cuts clients that take longer than `limit_s` for one, or for a piece of a file.

    One look at all open reads every second, since a timer for each costs a tenth of a request.
    """

    def __init__(self, limit_s: float = BODY_S) -> None:
        self._limit = limit_s
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._held = 0

    async def read(self, protocol: Any, headers: Any, limit: int) -> bytes:
        """The body, of at most `limit` bytes.

        Raises `BodyTooLarge`, `BodyTooSlow`, and `Unavailable` where too many large bodies are being read at once.
        """
        length = headers.get("content-length")
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._reading[task] = asyncio.get_running_loop().time()
        try:
            # A body in chunks has the length that its chunks have, whatever is stated beside them.
            if length is not None and int(length) <= SMALL_BYTES and headers.get("transfer-encoding") is None:
                return cast("bytes", await protocol())
            return await self._read_large(protocol, limit)
        except asyncio.CancelledError:
            if task in self._reading:
                raise
            task.uncancel()
            raise BodyTooSlow from None
        except RuntimeError as error:  # what granian raises where the client is gone
            raise BodyTooSlow from error
        finally:
            self._reading.pop(task, None)

    async def _read_large(self, protocol: Any, limit: int) -> bytes:
        """Piece by piece. Past `limit` the rest is read and dropped: a client that is cut off sees no answer."""
        body = bytearray()
        held = total = 0
        ended = False
        try:
            async for chunk in protocol:
                ended = _check_end(chunk, ended=ended)
                total += len(chunk)
                if total > MAX_DROPPED_BYTES:
                    break
                if total <= limit:
                    body += chunk
                    held += len(chunk)
                    self._held += len(chunk)
                    if self._held > MAX_HELD_BYTES:
                        raise Unavailable("too many large requests at once")
                elif len(body) > SMALL_BYTES:
                    del body[SMALL_BYTES:]
        finally:
            self._held -= held
        if total > limit:
            raise BodyTooLarge(bytes(body))
        return bytes(body)

    async def stream(self, protocol: Any) -> AsyncIterator[bytes]:
        """A body of any size, piece by piece; while a piece is worked on, the client waits for us and not we for it.

        Raises `BodyTooSlow` where a piece does not come in time, or all of them come at a trickle.
        """
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        pieces = aiter(protocol)
        waited, total, ended = 0.0, 0, False
        while True:
            began = self._reading[task] = loop.time()
            try:
                # Without a default: with one, Python 3.11 crashes on what granian lets it wait for.
                piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if task in self._reading:
                    raise
                task.uncancel()
                raise BodyTooSlow from None
            except RuntimeError as error:
                raise BodyTooSlow from error
            finally:
                self._reading.pop(task, None)
            waited += loop.time() - began
            total += len(piece)
            ended = _check_end(piece, ended=ended)
            if waited > self._limit and total < waited * LEAST_BYTES_PER_S:
                raise BodyTooSlow
            if piece:
                yield piece

    async def cut_slow(self) -> None:
        """Cut clients that take too long, until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._limit))
            before = asyncio.get_running_loop().time() - self._limit
            for task in [task for task, began in self._reading.items() if began < before]:
                del self._reading[task]
                task.cancel()


def _check_end(piece: bytes, *, ended: bool) -> bool:
    """Whether a body has ended with `piece`; raises `BodyTooSlow` where it broke off.

    granian gives one empty piece at the end, and another one before it where the connection failed: what came until
    then looks whole, and its last line need not be.
    """
    if not piece and ended:
        raise BodyTooSlow
    return not piece
