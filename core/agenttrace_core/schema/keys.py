"""Ids as numbers: what rows are sorted, found and compared by, in columns."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import xxhash

from agenttrace_core.schema.arrays import UInt64s, whole

_Number = TypeVar("_Number", bound=np.generic)

_HEX_OF_BYTE = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
_NIBBLE_OF_DIGIT = np.zeros(256, np.uint8)
_NIBBLE_OF_DIGIT[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def hex_strings(
    flat: np.ndarray[Any, np.dtype[np.uint8]], size: int, nulls: np.ndarray[Any, np.dtype[np.bool_]] | None = None
) -> pa.StringArray:
    """Return ids of ``size`` bytes, laid end to end in ``flat``, as lowercase hex; null where ``nulls`` says."""
    count = len(flat) // size
    digits = _HEX_OF_BYTE[flat]
    offsets = np.arange(count + 1, dtype=np.int32) * (2 * size)
    validity = None if nulls is None else pa.array(~nulls).buffers()[1]
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(digits), validity)


def words_of_hex(ids: pa.StringArray, size: int) -> UInt64s:
    """Return hex ids of ``size`` bytes (8 or 16) as big-endian numbers: shape ``(len, size // 8)``.

    Nulls are not allowed. The inverse of ``hex_strings``.
    """
    # In an array that was read from a file, nulls before a slice take no room: only its offsets say where it begins.
    first = int(numbers_of(ids.buffers()[1], np.int32)[ids.offset]) if len(ids) else 0
    digits = numbers_of(ids.buffers()[2], np.uint8)[first : first + 2 * size * len(ids)]
    nibbles = _NIBBLE_OF_DIGIT[digits]
    flat = (nibbles[0::2] << 4) | nibbles[1::2]
    words: UInt64s = flat.view(">u8").astype(np.uint64).reshape(len(ids), size // 8)
    return words


def trace_words(trace_id: str) -> tuple[np.uint64, np.uint64]:
    """Return one trace id, in hex, as ``(trace_hi, trace_lo)``."""
    return np.uint64(int(trace_id[:16], 16)), np.uint64(int(trace_id[16:], 16))


def trace_id_of(hi: int, lo: int) -> str:
    """Return the hex of a trace id given as two numbers. The inverse of ``trace_words``."""
    return f"{hi:016x}{lo:016x}"


def identity_hashes(rows: pa.Table) -> UInt64s:
    """Return a 64-bit hash of each row's identity: project, trace id, span id, kind, service and start.

    ``rows`` has those columns of ``LIGHT``. Equal identities have equal hashes; the reverse is
    likely, and for the caller to verify. The mixing is that of splitmix64 (Steele et al., 2014).
    """
    trace = words_of_hex(whole(rows["trace_id"]), 16)
    span = words_of_hex(whole(rows["span_id"]), 8)[:, 0]
    start = whole(rows["start_ns"]).fill_null(0).to_numpy().view(np.uint64)
    hashes = mixed(trace[:, 0] ^ mixed(trace[:, 1] ^ mixed(span ^ mixed(start))))
    for name in ("project", "service", "kind"):
        hashes = mixed(hashes ^ text_hashes(rows[name]))
    return hashes


_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_INVERSES = tuple(np.uint64(pow(int(factor), -1, 1 << 64)) for factor in _FACTORS)


def mixed(x: UInt64s) -> UInt64s:
    """Scramble numbers one to one: the finaliser of splitmix64."""
    x = x + _STEP
    x = (x ^ (x >> np.uint64(30))) * _FACTORS[0]
    x = (x ^ (x >> np.uint64(27))) * _FACTORS[1]
    scrambled: UInt64s = x ^ (x >> np.uint64(31))
    return scrambled


def unmixed(x: UInt64s) -> UInt64s:
    """The inverse of ``mixed``."""
    x = x ^ (x >> np.uint64(31)) ^ (x >> np.uint64(62))
    x = x * _INVERSES[1]
    x = x ^ (x >> np.uint64(27)) ^ (x >> np.uint64(54))
    x = x * _INVERSES[0]
    x = x ^ (x >> np.uint64(30)) ^ (x >> np.uint64(60))
    plain: UInt64s = x - _STEP
    return plain


def text_hashes(column: pa.ChunkedArray | pa.Array) -> UInt64s:
    """Return a 64-bit hash of each text; null has one, too."""
    encoded = whole(column).dictionary_encode(null_encoding="encode")
    hashes = [xxhash.xxh3_64_intdigest(text or b"\0") for text in encoded.dictionary.cast(pa.binary()).to_pylist()]
    hashed: UInt64s = np.array(hashes, np.uint64)[encoded.indices.to_numpy()]
    return hashed


def numbers_of(buffer: pa.Buffer | None, dtype: type[_Number]) -> np.ndarray[Any, np.dtype[_Number]]:
    """Return an Arrow buffer as numbers, without a copy; none where Arrow left the buffer out."""
    return np.zeros(0, dtype) if buffer is None else np.frombuffer(memoryview(buffer), dtype)


def offsets_of(values: pa.BinaryArray) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The ``len + 1`` offsets of a binary array's values, as numpy sees them without a copy."""
    offsets = numbers_of(values.buffers()[1], np.int32)
    return offsets[values.offset : values.offset + len(values) + 1] if len(offsets) else np.zeros(1, np.int32)
