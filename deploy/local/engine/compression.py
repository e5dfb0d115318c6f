"""Compression of HTTP bodies: Content-Encoding both ways, and ClickHouse's own block format (``compress=1``).

Rule: all of it streams, a piece in and what it yields out, so no body is held as a whole. Sizes are in bytes.
"""

from __future__ import annotations

import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import lz4.block
import lz4.frame
from clickhouse_cityhash.cityhash import CityHash128

from deploy.local.engine.errors import (
    CANNOT_DECOMPRESS,
    CHECKSUM_DOESNT_MATCH,
    UNKNOWN_COMPRESSION_METHOD,
    refused,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a response may be encoded with, the cheapest first.
ENCODINGS: Final = ("lz4", "zstd", "gzip", "deflate")
#: Blocks of at most 1 MiB, as ClickHouse's servers write them.
BLOCK_BYTES: Final = 1 << 20
_BLOCK_LIMIT: Final = 1 << 30
_CHECKSUM: Final = struct.Struct("<QQ")
_HEADER: Final = struct.Struct("<BII")
_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02


class Codec(Protocol):
    """One direction of one body; ``finish`` is called once, after the last ``feed``."""

    def feed(self, data: bytes) -> bytes:
        """A piece of the body in, what is ready of it out (maybe nothing yet)."""

    def finish(self) -> bytes:
        """The rest; raises `EngineError` if the body is not complete."""


class Identity:
    """A body as it is."""

    def feed(self, data: bytes) -> bytes:
        """Gives back what came."""
        return data

    def finish(self) -> bytes:
        """Nothing is left over."""
        return b""


class _Decoder:
    """A Content-Encoding of one or more frames behind one another (clickhouse-connect sends a frame a block)."""

    def __init__(self, name: str, frame: Callable[[], Any]) -> None:
        self._name = name
        self._frame = frame
        self._current: Any = None

    def feed(self, data: bytes) -> bytes:
        """Decodes a piece; raises `EngineError` CANNOT_DECOMPRESS where it is damaged."""
        out: list[bytes] = []
        try:
            while data:
                if self._current is None:
                    self._current = self._frame()
                out.append(self._current.decompress(data))
                data = b""
                if self._current.eof:
                    data = self._current.unused_data or b""
                    self._current = None
        except (RuntimeError, zlib.error, zstd.ZstdError, EOFError) as error:
            raise refused(CANNOT_DECOMPRESS, f"The body is no valid {self._name}: {error}") from error
        return b"".join(out)

    def finish(self) -> bytes:
        """Raises `EngineError` if the body ended inside a frame."""
        if self._current is not None:
            raise refused(CANNOT_DECOMPRESS, f"The {self._name} body ends too early")
        return b""


class BlockDecoder:
    """ClickHouse's blocks: 16 bytes of CityHash128, method, two sizes, data (``decompress=1``)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Decodes the blocks that are complete; raises `EngineError` on a wrong checksum or method."""
        self._rest = self._rest + data if self._rest else data
        out: list[bytes] = []
        at = 0
        while len(self._rest) - at >= _CHECKSUM.size + _HEADER.size:
            method, size, plain = _HEADER.unpack_from(self._rest, at + _CHECKSUM.size)
            if size < _HEADER.size or max(size, plain) > _BLOCK_LIMIT:
                raise refused(
                    CANNOT_DECOMPRESS, f"A compressed block of {size} bytes, {plain} decompressed, is not possible"
                )
            end = at + _CHECKSUM.size + size
            if len(self._rest) < end:
                break
            block = self._rest[at + _CHECKSUM.size : end]
            if _checksum(block) != self._rest[at : at + _CHECKSUM.size]:
                raise refused(CHECKSUM_DOESNT_MATCH, "Checksum doesn't match: corrupted data")
            out.append(_plain(method, block[_HEADER.size :], plain))
            at = end
        self._rest = self._rest[at:]
        return b"".join(out)

    def finish(self) -> bytes:
        """Raises `EngineError` if the body ended inside a block."""
        if self._rest:
            raise refused(CANNOT_DECOMPRESS, "The body ends inside a compressed block")
        return b""


class BlockEncoder:
    """Writes ClickHouse's blocks, compressed with LZ4 (``compress=1``)."""

    def feed(self, data: bytes) -> bytes:
        """One block for each MiB."""
        return b"".join(self._block(data[at : at + BLOCK_BYTES]) for at in range(0, len(data), BLOCK_BYTES))

    def finish(self) -> bytes:
        """Nothing is left over."""
        return b""

    @staticmethod
    def _block(data: bytes) -> bytes:
        packed = lz4.block.compress(data, store_size=False)
        block = _HEADER.pack(_LZ4, len(packed) + _HEADER.size, len(data)) + packed
        return _checksum(block) + bytes(block)


class _Lz4Encoder:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        head = b"" if self._begun else self._frame.begin()
        self._begun = True
        return bytes(head + self._frame.compress(data))

    def finish(self) -> bytes:
        return self.feed(b"") + bytes(self._frame.flush())


class _FlushEncoder:
    """zlib's and zstd's compressors, which differ in the call's name only."""

    def __init__(self, compressor: Any) -> None:
        self._compressor = compressor

    def feed(self, data: bytes) -> bytes:
        return bytes(self._compressor.compress(data))

    def finish(self) -> bytes:
        return bytes(self._compressor.flush())


def _checksum(block: bytes) -> bytes:
    whole = CityHash128(block)
    return _CHECKSUM.pack(whole >> 64, whole & 0xFFFF_FFFF_FFFF_FFFF)


def _plain(method: int, data: bytes, size: int) -> bytes:
    try:
        if method == _LZ4:
            return bytes(lz4.block.decompress(data, uncompressed_size=size))
        if method == _ZSTD:
            return bytes(zstd.decompress(data))
    except (lz4.block.LZ4BlockError, zstd.ZstdError) as error:
        raise refused(CANNOT_DECOMPRESS, f"A block cannot be decompressed: {error}") from error
    if method == _NONE:
        return data
    raise refused(UNKNOWN_COMPRESSION_METHOD, f"Unknown codec family code: {method}")


def decoder(encoding: str, *, blocks: bool = False) -> Codec:
    """For a request's body: ``encoding`` is its Content-Encoding, ``blocks`` its ``decompress=1``."""
    if blocks:
        return BlockDecoder()
    match encoding.strip().lower():
        case "" | "identity":
            return Identity()
        case "gzip" | "x-gzip":
            return _Decoder("gzip", lambda: zlib.decompressobj(31))
        case "deflate":
            return _Decoder("deflate", lambda: zlib.decompressobj(15))
        case "lz4":
            return _Decoder("lz4", lz4.frame.LZ4FrameDecompressor)
        case "zstd":
            return _Decoder("zstd", zstd.ZstdDecompressor)
    raise refused(UNKNOWN_COMPRESSION_METHOD, f"Unknown compression method: {encoding}")


def encoder(encoding: str) -> Codec:
    """For a response's body: one of `ENCODINGS`, or "" for none."""
    match encoding:
        case "lz4":
            return _Lz4Encoder()
        case "zstd":
            return _FlushEncoder(zstd.ZstdCompressor(level=1))
        case "gzip":
            return _FlushEncoder(zlib.compressobj(1, wbits=31))
        case "deflate":
            return _FlushEncoder(zlib.compressobj(1, wbits=15))
    return Identity()


def accepted(header: str) -> str:
    """The encoding to answer an Accept-Encoding header with, "" for none."""
    names = {part.split(";")[0].strip().lower() for part in header.split(",") if ";q=0" not in part.replace(" ", "")}
    return next((name for name in ENCODINGS if name in names), "")
