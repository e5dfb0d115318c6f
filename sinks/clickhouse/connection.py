"""Connections to ClickHouse for queries by people and reports: clickhouse-connect, from the settings.

Rule: every failure leaves as `Unavailable` (does not answer) or `QueryFailed` (answers with an error), in one clear line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from schemas.errors import HeadwaterError, Unavailable
from schemas.settings import Settings


class QueryFailed(HeadwaterError):
    """ClickHouse refused a statement; the text is its own message."""


@contextmanager
def connect(settings: Settings, database: str | None = None) -> Iterator[Client]:
    """A client on the settings' database (or `database`; "" for none), closed at the end.

    Raises `Unavailable` where ClickHouse does not answer, `QueryFailed` where it refuses; what is raised inside the
    block is mapped likewise.
    """
    address = f"{settings.clickhouse_host}:{settings.clickhouse_port}"
    try:
        client = clickhouse_connect.get_client(
            host=settings.clickhouse_host,
            port=settings.clickhouse_port,
            username=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            secure=settings.clickhouse_secure,
            ca_cert=settings.clickhouse_ca_cert or None,
            database=settings.clickhouse_database if database is None else database or "default",
            connect_timeout=5,
            autogenerate_session_id=False,
        )
        try:
            yield client
        finally:
            client.close()
    except (ClickHouseError, OSError) as error:
        raise mapped(error, address) from error


def mapped(error: Exception, address: str) -> HeadwaterError:
    """The error of ours that stands for one of the driver's."""
    line = one_line(error)
    if isinstance(error, DatabaseError) and not isinstance(error, OperationalError) and "Code:" in line:
        return QueryFailed(line)
    if isinstance(error, OSError | OperationalError) or "Code:" not in line:
        return Unavailable(f"ClickHouse at {address} does not answer: {line}")
    return QueryFailed(line)


def one_line(error: BaseException) -> str:
    """The message without the server's stack trace and the driver's own additions."""
    text = " ".join(str(error).split("Stack trace")[0].partition("(for url")[0].split())
    start = text.find("Code:")
    text = text[start:] if start > 0 else text
    return (text or type(error).__name__)[:600]
