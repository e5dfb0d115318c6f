"""Bodies' encodings, without an engine."""

from __future__ import annotations

import gzip
import struct
import zlib

import lz4.block
import lz4.frame
import pytest

from deploy.local.engine.compression import ENCODINGS, BlockDecoder, BlockEncoder, accepted, decoder, encoder
from deploy.local.engine.errors import EngineError

PLAIN = bytes(range(256)) * 9000


@pytest.mark.parametrize("name", ENCODINGS)
def test_what_is_encoded_is_decoded(name: str) -> None:
    """In pieces of any size, and empty bodies too."""
    for plain in (PLAIN, b""):
        codec = encoder(name)
        packed = b"".join([codec.feed(plain[:70000]), codec.feed(b""), codec.feed(plain[70000:]), codec.finish()])
        back = decoder(name)
        out = [back.feed(packed[at : at + 10007]) for at in range(0, len(packed), 10007)]
        assert b"".join([*out, back.finish()]) == plain


def test_frames_follow_one_another() -> None:
    """clickhouse-connect sends a frame a block, gzip files may have members."""
    assert decoder("lz4").feed(lz4.frame.compress(b"one") + lz4.frame.compress(b"two")) == b"onetwo"
    assert decoder("gzip").feed(gzip.compress(b"one") + gzip.compress(b"two")) == b"onetwo"
    assert decoder("deflate").feed(zlib.compress(b"one")) == b"one"


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_damaged_body_is_refused(name: str) -> None:
    """Garbage and a body that ends too early: CANNOT_DECOMPRESS, nothing is made up."""
    with pytest.raises(EngineError) as failed:
        decoder(name).feed(b"no such thing, certainly not compressed")
    assert failed.value.code == 271
    codec = encoder(name)
    packed = codec.feed(PLAIN) + codec.finish()
    back = decoder(name)
    back.feed(packed[: len(packed) // 2])
    with pytest.raises(EngineError):
        back.finish()


def test_an_unknown_encoding_is_refused() -> None:
    """Code 89."""
    with pytest.raises(EngineError) as failed:
        decoder("snappy")
    assert failed.value.code == 89


def test_blocks_and_their_checksum() -> None:
    """ClickHouse's own block format both ways; one changed bit is CHECKSUM_DOESNT_MATCH."""
    packed = BlockEncoder().feed(PLAIN)
    back = BlockDecoder()
    assert b"".join(back.feed(packed[at : at + 999]) for at in range(0, len(packed), 999)) == PLAIN
    assert back.finish() == b""
    with pytest.raises(EngineError) as failed:
        BlockDecoder().feed(packed[:-1] + bytes([packed[-1] ^ 1]))
    assert failed.value.code == 40


def test_a_blocks_layout() -> None:
    """16 bytes of checksum, 0x82 for LZ4, compressed size with its 9 bytes of header, plain size."""
    packed = BlockEncoder().feed(b"x" * 1000)
    method, size, plain = struct.unpack_from("<BII", packed, 16)
    assert (method, size, plain) == (0x82, len(packed) - 16, 1000)
    assert lz4.block.decompress(packed[25:], uncompressed_size=1000) == b"x" * 1000


def test_accept_encoding() -> None:
    """The cheapest that the client names; none that it refuses."""
    assert accepted("gzip, deflate, zstd;q=0.5, lz4") == "lz4"
    assert accepted("gzip;q=0, deflate") == "deflate"
    assert accepted("br") == ""
