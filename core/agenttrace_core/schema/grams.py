"""Which runs of four bytes the texts of some rows have: what a search for a text need not look at.

Free text is sought in names, status messages, previews and attributes. For each *block* of rows, a file that is the
result of a merge tells the runs of four bytes that these have, as bits of their hashes. Where a run of
the text sought is missing, no row of the block holds it. Where none is, rows are asked: bits say what may be.

Bytes are compared with bit 5 set, which makes letters of either case the same; so does it with others, which
may be. Letters outside of ASCII whose lower case is in it stand for that. Of a text sought, only what is in ASCII
is looked for, because the case of all else is not known by its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from agenttrace_core.schema.arrays import Bools, Int64s, whole
from agenttrace_core.schema.keys import numbers_of
from agenttrace_core.schema.tables import SEARCHED

BITS = 19
"""Of a block: two to the power of so many, 64 KiB."""

BLOCK_ROWS = 8_192
LEAST_ROWS = 4_096
"""A block of fewer is put to that before it; a file of fewer has none."""

_GRAM = 4
_FACTOR = np.uint32(0x9E3779B1)
_CASE = np.uint8(0x20)
_ASCII = re.compile(r"[\x00-\x7f]{4,}")
_LOWER_IN_ASCII = (("\u0130".encode(), b"i"), ("\u212a".encode(), b"k"))
_MOST_ASKED = 64
_AT_ONCE = 1 << 16
"""Hashes in the processor's cache: of all at once each step would wait for memory."""

_Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class GramsBuilder:
    """Makes the blocks of a file whose rows come in pieces, in the file's order.

    Args:
        bits: see ``BITS``.
        block_rows: see ``BLOCK_ROWS``.
        least_rows: see ``LEAST_ROWS``.
    """

    def __init__(self, bits: int = BITS, block_rows: int = BLOCK_ROWS, least_rows: int = LEAST_ROWS) -> None:
        self._bits, self._block_rows, self._least_rows = bits, block_rows, least_rows
        self._rows = 0
        self._ends: list[int] = []
        self._blocks: list[bytes] = []

    def add(self, light: pa.Table) -> None:
        """Add the next rows (columns of ``LIGHT``)."""
        columns = [whole(light[name]) for name in SEARCHED]
        attributes = whole(light["attributes"])
        for first, end in _cut(len(light), self._block_rows, self._least_rows):
            has = np.zeros(1 << self._bits, np.bool_)
            rows = [column.slice(first, end - first) for column in columns]
            for data in (*map(_bytes_of, rows), _values_of(attributes.slice(first, end - first))):
                for code in _codes(_folded(data), self._bits):
                    has[code] = True
            self._ends.append(self._rows + end)
            self._blocks.append(np.packbits(has, bitorder="little").tobytes())
        self._rows += len(light)

    def finish(self) -> pa.Table | None:
        """Return a row a block: the number of the row after its last (``end``), and ``bits``. None of too few rows."""
        if self._rows < self._least_rows:
            return None
        bits = pa.array(self._blocks, pa.binary((1 << self._bits) // 8))
        return pa.table({"end": pa.array(self._ends, pa.int64()), "bits": bits})


class Grams:
    """The blocks of a file.

    Args:
        table: what ``GramsBuilder`` made, as it was written or mapped.
    """

    def __init__(self, table: pa.Table) -> None:
        bits = whole(table["bits"])
        width = len(bits[0].as_py())
        data = numbers_of(bits.buffers()[1], np.uint8)
        self._bits = (width * 8).bit_length() - 1
        self._has = data[bits.offset * width : (bits.offset + len(bits)) * width].reshape(-1, width)
        self._end = whole(table["end"]).to_numpy()

    @property
    def rows(self) -> int:
        """Rows of all blocks."""
        return int(self._end[-1])

    def ranges(self, *texts: str) -> list[tuple[int, int]]:
        """Return which rows may hold all of some texts, whatever the case: the first and last of each run of them."""
        may: Bools = np.logical_and.reduce([self._may_hold(text) for text in texts])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], may, [False]])))
        begin = np.concatenate([[0], self._end])
        return [(int(begin[first]), int(begin[end]) - 1) for first, end in edges.reshape(-1, 2)]

    def _may_hold(self, text: str) -> Bools:
        found = [c for run in _ASCII.findall(text[:_AT_ONCE]) for c in _codes(_folded(_view(run.encode())), self._bits)]
        if not found:
            return np.ones(len(self._end), np.bool_)
        code = np.unique(np.concatenate(found))[:_MOST_ASKED]
        bits = (self._has[:, code >> 3] >> (code & 7).astype(np.uint8)) & 1
        may: Bools = np.all(bits, axis=1)
        return may


def _cut(rows: int, block_rows: int, least_rows: int) -> list[tuple[int, int]]:
    """Cut rows into blocks; they end where groups of light rows do, which are so skipped whole."""
    begins = list(range(0, rows, block_rows))
    if len(begins) > 1 and rows - begins[-1] < least_rows:
        begins.pop()
    return list(zip(begins, [*begins[1:], rows], strict=True))


def _view(data: bytes) -> _Bytes:
    return np.frombuffer(data, np.uint8)


def _bytes_of(texts: pa.Array) -> _Bytes:
    """Return the bytes of some texts, end to end. What two of them have together says no more than that it may be."""
    offsets = numbers_of(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return numbers_of(texts.buffers()[2], np.uint8)[offsets[0] : offsets[-1]] if len(offsets) else _view(b"")


def _values_of(maps: pa.Array) -> _Bytes:
    offsets = np.asarray(maps.offsets)
    return _bytes_of(maps.items.slice(int(offsets[0]), int(offsets[-1] - offsets[0])))


def _folded(data: _Bytes) -> _Bytes:
    """Return bytes with all letters of ASCII, and what is lower in ASCII, in lower case; a few zeros come after."""
    if len(data) and data.max() > 127:
        raw = data.tobytes()
        for letter, lower in _LOWER_IN_ASCII:
            raw = raw.replace(letter, lower)
        data = _view(raw)
    folded = np.zeros(len(data) + 2 * _GRAM, np.uint8)
    np.bitwise_or(data, _CASE, out=folded[: len(data)])
    return folded


def _codes(folded: _Bytes, bits: int) -> Iterator[Int64s]:
    """Yield the hashes of all runs of four bytes."""
    shift = np.uint32(32 - bits)
    length = len(folded) - 2 * _GRAM
    # Four bytes are one number, and from each of the first four on the numbers lie side by side.
    for first in range(_GRAM):
        count = (length - first) // _GRAM
        words = folded[first : first + count * _GRAM].view("<u4") if count > 0 else np.zeros(0, np.uint32)
        for begin in range(0, len(words), _AT_ONCE):
            hashed = words[begin : begin + _AT_ONCE] * _FACTOR
            hashed >>= shift
            yield hashed.astype(np.int64)
