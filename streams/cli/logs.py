"""Logs: JSON lines with stable event names, or readable text on a terminal; always to stderr."""

from __future__ import annotations

import logging
import os
import sys

import structlog

CLIENTS = ("aiokafka", "urllib3")
"""Loggers of the clients of Kafka and ClickHouse, which tell of every attempt."""


def set_up_logs(level: str = "", *, clients: bool = True) -> None:
    """Configure structlog and the standard library's logging; `level` empty: ``HEADWATER_LOG_LEVEL``, else INFO.

    `clients` False leaves out what `CLIENTS` log: for commands whose one line of error says what came of it.
    """
    name = (level or os.environ.get("HEADWATER_LOG_LEVEL") or "INFO").upper()
    number = logging.getLevelNamesMapping().get(name, logging.INFO)
    on_terminal = sys.stderr.isatty()
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_tidy, renderer]))
    if not clients:
        handler.addFilter(lambda record: not record.name.startswith(CLIENTS))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def _tidy(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event
