"""Connections to ClickHouse for queries by people and reports: clickhouse-connect, from the settings.

Rule: every failure leaves as `Unavailable` (does not answer) or `QueryFailed` (answers with an error), in one line.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.errors import HeadwaterError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clickhouse_connect.driver.client import Client

    from schemas.settings import Settings

# The driver logs what it also raises.
logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)

_CAUSE = re.compile(r"\[Errno -?\d+\] ([^\"')]+)")


class QueryFailed(HeadwaterError):  # noqa: N818  # named as the rest of the tree
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
    if "Code:" in line:
        return QueryFailed(line)
    cause = _CAUSE.search(line)
    return Unavailable(f"ClickHouse at {address} does not answer: {cause[1] if cause else line}")


def one_line(error: BaseException) -> str:
    """The message without the server's stack trace and the driver's own additions."""
    text = " ".join(str(error).split("Stack trace")[0].partition("(for url")[0].split())
    start = text.find("Code:")
    text = text[start:] if start > 0 else text
    return (text or type(error).__name__)[:600]
