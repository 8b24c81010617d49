"""Content encodings: whatever was packed comes out, and nothing that was cut off passes for whole."""

from __future__ import annotations

import gzip
import random
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from agenttrace_core.errors import InvalidInputError, PayloadTooLargeError, UnsupportedMediaError
from agenttrace_server.ingestion.decompress import decompress

_LIMIT = 1 << 20


def _zstd_stream(data: bytes) -> bytes:
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    return packer.compress(data) + packer.flush()


_PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("zstd", _zstd_stream),
]


@given(data=st.binary(max_size=3000), packer=st.sampled_from(_PACKERS), cut=st.floats(0, 1, exclude_max=True))
def test_what_was_packed_comes_out_and_a_cut_never_passes(
    data: bytes, packer: tuple[str, Callable[[bytes], bytes]], cut: float
) -> None:
    """A connection that breaks must not turn half a request into an acknowledged one."""
    encoding, pack = packer
    packed = pack(data)
    assert decompress(encoding, packed, _LIMIT) == data
    part = packed[: int(len(packed) * cut)]
    if part:
        with pytest.raises(InvalidInputError):
            decompress(encoding, part, _LIMIT)


@given(parts=st.lists(st.binary(max_size=200), min_size=1, max_size=6), encoding=st.sampled_from(["gzip", "zstd"]))
def test_parts_packed_one_after_the_other_come_out_as_one(parts: list[bytes], encoding: str) -> None:
    """Both formats allow it, and parallel compressors write it."""
    pack = gzip.compress if encoding == "gzip" else zstandard.ZstdCompressor().compress
    assert decompress(encoding, b"".join(map(pack, parts)), _LIMIT) == b"".join(parts)


@given(data=st.binary(max_size=300), encoding=st.sampled_from(["gzip", "deflate", "zstd"]))
def test_rubbish_is_told(data: bytes, encoding: str) -> None:
    """No input may raise anything that the door does not know how to answer."""
    with suppress(InvalidInputError):
        assert len(decompress(encoding, data, _LIMIT)) <= _LIMIT


@pytest.mark.parametrize(("encoding", "pack"), _PACKERS)
def test_the_limit_holds_to_the_byte(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """Documented limits are what people size their batches by."""
    data = random.Random(1).randbytes(50_000)
    assert decompress(encoding, pack(data), len(data)) == data
    with pytest.raises(PayloadTooLargeError, match="49999"):
        decompress(encoding, pack(data), len(data) - 1)


@pytest.mark.parametrize(
    ("encoding", "hostile"),
    [
        ("gzip", gzip.compress(b"") * 200_000),
        ("zstd", b"\x28\xb5\x2f\xfd\x00\x88" + b"\x00\x00\x00" * 1_000_000),
        ("zstd", zstandard.ZstdCompressor().compress(b"") * 200_000),
        ("deflate", zlib.compress(b"") + bytes(4_000_000)),
    ],
)
def test_input_made_to_cost_time_does_not(encoding: str, hostile: bytes) -> None:
    """A body within the limits must not keep a core busy for minutes."""
    began = time.monotonic()
    with suppress(InvalidInputError):
        decompress(encoding, hostile, 20 << 20)
    assert time.monotonic() - began < 5


def test_an_unknown_encoding_is_named_with_those_that_are_known() -> None:
    """The sender's operator can act on that."""
    with pytest.raises(UnsupportedMediaError, match=r"'br'.*gzip.*deflate.*zstd.*identity"):
        decompress("br", b"", _LIMIT)
