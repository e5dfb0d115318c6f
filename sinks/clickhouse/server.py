"""ClickHouse over HTTP for the sink: inserts of ready bytes, small queries; every call can be cancelled.

Rule: one request a call, no retries here (the `writer` decides), and every failure is `Unavailable` with one clear
line, since to the sink all of them mean: later. Analysts' queries go through `connection` instead.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson

from schemas.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from schemas.settings import Settings

QUERY_SECONDS: Final = 10.0
"""Longest that a small statement may take; an insert of rows may take longer."""
_PIECE_BYTES = 1 << 20


class Server:
    """A pool of connections to one ClickHouse; close it when done.

    `timeout` bounds a whole request, in seconds: an insert that takes longer is repeated, which is harmless.
    """

    def __init__(self, settings: Settings, timeout: float = 60.0) -> None:
        scheme = "https" if settings.clickhouse_secure else "http"
        host = settings.clickhouse_host
        self.address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.clickhouse_port}"
        self._database = settings.clickhouse_database
        self._headers = {"X-ClickHouse-User": settings.clickhouse_user}
        if password := settings.clickhouse_password.get_secret_value():
            self._headers["X-ClickHouse-Key"] = password
        self._ssl: ssl.SSLContext | None = None
        if settings.clickhouse_secure:
            self._ssl = ssl.create_default_context(cafile=settings.clickhouse_ca_cert or None)
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=5.0)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def insert(self, table: str, columns: Sequence[str], bodies: Sequence[bytes]) -> None:
        """Insert blocks in Native format; raises `Unavailable`, also where the outcome is unknown."""
        names = ", ".join(f"`{name}`" for name in columns)
        await self._post(f"INSERT INTO {table} ({names}) FORMAT Native", {}, _pieces(bodies))

    async def query(self, statement: str, *, seconds: float = 0, **parameters: str | int) -> list[dict[str, Any]]:
        """The rows of a small query with ``{name:Type}`` parameters, within `seconds`; raises `Unavailable`."""
        found = await self._post(f"{statement} FORMAT JSONEachRow", parameters, None, seconds)
        return [orjson.loads(line) for line in found.splitlines()]

    async def command(self, statement: str, *, seconds: float = 0, **parameters: str | int) -> None:
        """Run a statement without rows, within `seconds`; raises `Unavailable`."""
        await self._post(statement, parameters, None, seconds)

    async def _post(
        self,
        statement: str,
        parameters: dict[str, str | int],
        body: AsyncIterator[bytes] | None,
        seconds: float = 0,
    ) -> bytes:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._ssl if self._ssl is not None else True, limit=16)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=self._headers)
        # A failure in the midst of an answer must show in the status, hence wait_end_of_query.
        url: dict[str, str] = {"database": self._database, "wait_end_of_query": "1"}
        url |= {f"param_{name}": str(value) for name, value in parameters.items()}
        data: Any = statement.encode()
        if body is not None:
            url["query"], data = statement, body
        timeout = aiohttp.ClientTimeout(total=seconds, connect=5.0) if seconds else self._timeout
        try:
            async with self._session.post(f"{self.address}/", params=url, data=data, timeout=timeout) as response:
                answer = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"ClickHouse at {self.address} {_cause(error)}") from error
        if response.status != 200:
            raise Unavailable(f"ClickHouse at {self.address}: {_line(answer.decode('utf-8', 'replace'))}")
        return answer


async def _pieces(bodies: Sequence[bytes]) -> AsyncIterator[bytes]:
    for body in bodies:
        for start in range(0, len(body), _PIECE_BYTES):
            yield body[start : start + _PIECE_BYTES]


def _cause(error: Exception) -> str:
    """Why there is no answer, in a few words."""
    if isinstance(error, TimeoutError):
        return "does not answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"does not answer: {os.strerror(number) if number else _line(str(error.os_error))}"
    return f"does not answer: {_line(str(error) or type(error).__name__)}"


def _line(text: str) -> str:
    """A server's message on one line of bounded length."""
    return " ".join(text.split())[:400]
