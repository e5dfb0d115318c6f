"""Logs: one JSON object a line with a stable event name, or readable text on a terminal; always to stderr.

Rule: every line of ours is an event of `schemas.log_events`, with facts as fields, never inside of the text. What the
libraries say is the event ``library_log``, repeats of it counted rather than told (`streams.cli.library_logs`). No
secret is ever written: fields are masked by name, and what the environment holds of secrets wherever it turns up.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import structlog

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from structlog.typing import EventDict, Processor

LEVELS: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
MASK: Final = "***"
SECRET_NAME: Final = re.compile(r"(password|secret|tokens?|authorization|_keys?)$", re.IGNORECASE)
"""Names of fields and of settings whose values are secret."""
_FIRST: Final = ("timestamp", "level", "role", "event")
"""The order in which a line begins."""


def set_up_logs(level: str = "", *, role: str = "") -> None:
    """Configure structlog and the standard library's logging; `level` empty: ``HEADWATER_LOG_LEVEL``, else INFO.

    A `role` is named in each line. Without one the clients of Kafka and ClickHouse are left out, which tell of every
    attempt: the other commands end with one line of error that says what came of it.

    Raises `ConfigurationError` where there is no such level.
    """
    from streams.cli.library_logs import take_library_logs

    number = _number(level or os.environ.get("HEADWATER_LOG_LEVEL") or "INFO")
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_processors(role, on_terminal=sys.stderr.isatty())],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # Plain writes: a line costs a system call, and no lock of `print`.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    take_library_logs(max(number, LEVELS["WARNING"]), clients=bool(role))


def _number(level: str) -> int:
    number = LEVELS.get(level.upper())
    if number is None:
        raise ConfigurationError(f"log level {level!r}: one of {', '.join(LEVELS)}")
    return number


def _processors(role: str, *, on_terminal: bool) -> list[Processor]:
    """From an event to its line."""

    def name_role(_logger: object, _method: str, event: EventDict) -> EventDict:
        if role:
            event["role"] = role
        return event

    mask = _mask_secrets(secrets_in(os.environ))
    common: list[Processor] = [structlog.processors.add_log_level, mask_fields]
    if on_terminal:
        colours = "NO_COLOR" not in os.environ
        rich = structlog.dev.RichTracebackFormatter(show_locals=False, max_frames=20)
        frames = rich if colours else structlog.dev.plain_traceback
        return [
            *common,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=frames),
            mask,
        ]
    # Local variables stay out of tracebacks: they hold what people sent.
    trace = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, use_rich=False, max_frames=20)
    return [
        *common,
        name_role,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(trace),
        _to_json,
        mask,
    ]


def mask_fields(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Mask the fields that are secret by their name."""
    for name, value in event.items():
        if value and SECRET_NAME.search(name):
            event[name] = MASK
    return event


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """What the settings in `environment` hold of secrets, the longest first; of ``id:secret,id2:secret2`` the secrets.

    By name and not by the settings' types, which take half a second to import.
    """
    found = set()
    for name, value in environment.items():
        if name.startswith("HEADWATER_") and SECRET_NAME.search(name):
            found |= {value, *(pair.partition(":")[2] for pair in value.split(","))}
    # What is shorter could be any word.
    return sorted((secret for secret in found if len(secret) >= 6), key=len, reverse=True)


def _mask_secrets(secrets: Iterable[str]) -> Processor:
    """Replaces secrets in a finished line, as they are and as they look inside of JSON."""
    texts = [
        text
        for secret in secrets
        for text in dict.fromkeys((secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]))
    ]

    def mask(_logger: object, _method: str, line: Any) -> Any:
        for text in texts:
            if text in line:
                line = line.replace(text, MASK)
        return line

    return mask


def _to_json(_logger: object, _method: str, event: EventDict) -> str:
    """The event as one line of JSON; what JSON does not know is shown as Python shows it."""
    import orjson

    ordered = {**{name: event.pop(name) for name in _FIRST if name in event}, **event}
    try:
        return orjson.dumps(ordered, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError):  # a number of more than 64 bits, half a character
        return json.dumps(ordered, default=repr)
