"""Content encodings, decoded within a bound: a bomb costs its limit in memory, and no more."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable
from io import BytesIO

import zstandard

from agenttrace_core.errors import InvalidInputError, PayloadTooLargeError, UnsupportedMediaError

_STEP = 1 << 18
_FEED = 1 << 15
_MAX_GZIP_MEMBERS = 4096
_GZIP_WBITS = 31
_ZLIB_WBITS = 15
_RAW_WBITS = -15
# What `zstd --long` writes at most (RFC 8878 asks for 8 MiB at least): only what is decoded is ever
# touched of it, so that memory is bounded by the limit on the output.
_MAX_ZSTD_WINDOW = 1 << 27


def decompress(encoding: str, body: bytes, limit: int) -> bytes:
    """Decode ``body`` from a content encoding, in lower case; ``identity`` and nothing leave it as it is.

    Raises:
        UnsupportedMediaError: the encoding is not known; the message lists those that are.
        PayloadTooLargeError: it decodes to more than ``limit`` bytes.
        InvalidInputError: it is damaged, or ends early.
    """
    if encoding in {"", "identity"}:
        return body
    decode = _DECODERS.get(encoding)
    if decode is None:
        known = ", ".join([*_DECODERS, "identity"])
        raise UnsupportedMediaError(f"content-encoding {encoding[:40]!r} is not known here; send one of {known}")
    try:
        return decode(body, limit)
    except (zlib.error, zstandard.ZstdError) as error:
        raise InvalidInputError(f"the body is not valid {encoding}: {error}") from error


def _gunzip(body: bytes, limit: int) -> bytes:
    # A gzip body may have several members (RFC 1952, section 2.2), and zeros as padding at its end.
    # Members are bounded because each costs time, however little it holds.
    out = bytearray()
    at = 0
    for _ in range(_MAX_GZIP_MEMBERS):
        at = _inflate(_GZIP_WBITS, body, at, limit, out)
        if not body[at : at + 1].strip(b"\0"):
            return bytes(out)
    raise InvalidInputError(f"the gzip body has more than {_MAX_GZIP_MEMBERS} members")


def _undeflate(body: bytes, limit: int) -> bytes:
    # "deflate" means zlib's format (RFC 9110, section 8.4.1.2), but some send the bare stream.
    is_zlib = len(body) >= 2 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
    out = bytearray()
    if _inflate(_ZLIB_WBITS if is_zlib else _RAW_WBITS, body, 0, limit, out) != len(body):
        raise InvalidInputError("the body is not valid deflate: there are bytes after its end")
    return bytes(out)


def _inflate(wbits: int, body: bytes, at: int, limit: int, out: bytearray) -> int:
    """Decode the stream that begins at ``at`` onto ``out``; return where it ends.

    The body is fed in small pieces, because zlib copies what it has not used of a piece.
    """
    decoder = zlib.decompressobj(wbits)
    while not decoder.eof:
        pending = body[at : at + _FEED]
        at += len(pending)
        if not pending:
            raise InvalidInputError("the compressed body ends early")
        # Once all of a piece is taken, a step's bound may still have left output inside.
        while not decoder.eof:
            out += (decoded := decoder.decompress(pending, _STEP))
            pending = decoder.unconsumed_tail
            _check_size(len(out), limit)
            if not pending and len(decoded) < _STEP:
                break
    return at - len(decoder.unused_data)


def _unzstd(body: bytes, limit: int) -> bytes:
    # The reader does not tell a frame that is cut off from a whole one. A frame of random bytes put
    # after the body is decoded as such only if what came before it was whole. They are repeated, so
    # that the frame itself, copied by an uncompressed block that is cut off, is not what it holds.
    seal = secrets.token_bytes(16) * 4
    source = BytesIO(body + zstandard.ZstdCompressor().compress(seal))
    decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
    out = bytearray()
    with decoder.stream_reader(source, read_across_frames=True) as reader:
        while piece := reader.read(_STEP):
            out += piece
            _check_size(len(out) - len(seal), limit)
    if not out.endswith(seal):
        raise InvalidInputError("the compressed body ends early")
    return bytes(out[: -len(seal)])


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise PayloadTooLargeError(f"the body exceeds {limit} bytes once decompressed")


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip, "x-gzip": _gunzip, "deflate": _undeflate, "zstd": _unzstd,
}  # fmt: skip
ENCODINGS = ("gzip", "deflate", "zstd")
"""The encodings to name in ``Accept-Encoding``."""
