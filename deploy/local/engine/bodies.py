"""Request bodies in pieces: decoded, about a MiB each, without ever holding more than one of them.

Rule: decoding a large piece runs in a worker thread, so that no body keeps the event loop from the other clients.
Only a form (long parameters, or tables sent along with a query) is read as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import BodyPartReader

from deploy.local.engine.errors import BAD_ARGUMENTS, refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from typing import Any

    from aiohttp import StreamReader, web

    from deploy.local.engine.compression import Codec

PIECE_BYTES: Final = 1 << 20
_SMALL_BYTES: Final = 1 << 16


async def pieces(content: StreamReader, codec: Codec, submit: Callable[..., Any]) -> AsyncGenerator[bytes]:
    """A body's decoded pieces; raises `EngineError` where it is damaged."""
    gathered: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        gathered.append(chunk)
        size += len(chunk)
        if size >= PIECE_BYTES:
            yield await submit(codec.feed, b"".join(gathered))
            gathered, size = [], 0
    rest = b"".join(gathered)
    decoded = codec.feed(rest) if size <= _SMALL_BYTES else await submit(codec.feed, rest)
    yield decoded + codec.finish()


class Table(NamedTuple):
    """A table sent along with a query; ``structure`` is its columns as in CREATE TABLE."""

    name: str
    structure: str
    format: str
    data: bytes


async def read_form(request: web.Request, external: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[Table]]:
    """A multipart body: its plain fields and its tables.

    ``external`` holds the URL's ``NAME_structure`` or ``NAME_types`` and ``NAME_format`` for each table NAME; raises
    `EngineError` where a table has neither structure nor types.
    """
    fields: list[tuple[str, str]] = []
    tables: list[Table] = []
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise refused(BAD_ARGUMENTS, "A part of the form has no name")
        data = bytes(await part.read())
        if part.filename is None:
            fields.append((part.name, data.decode("utf-8", "surrogateescape")))
            continue
        structure = external.get(f"{part.name}_structure", "")
        if not structure:
            types = external.get(f"{part.name}_types", "")
            structure = ", ".join(f"_{at} {kind}" for at, kind in enumerate(types.split(","), 1) if kind)
        if not structure:
            raise refused(
                BAD_ARGUMENTS, f"Neither structure nor types have been provided for external table {part.name}"
            )
        tables.append(Table(part.name, structure, external.get(f"{part.name}_format", "TabSeparated"), data))
    return fields, tables
