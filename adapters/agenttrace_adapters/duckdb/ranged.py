"""Rows of an object that may be elsewhere: of what is not here, only the row groups that are asked for are got."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agenttrace_adapters.duckdb.objects import Objects
from agenttrace_adapters.duckdb.rows import ParquetRows, groups_of, rows_reaching, translated
from agenttrace_core.errors import CorruptionError
from agenttrace_core.model.segment import StoredObject
from agenttrace_core.schema.arrays import Int64s

_LEAST_TAIL = 64 << 10
_TAIL_SHARE = 64
"""A footer is hardly ever more than this part of its object."""

_MOST_GOT = 32 << 20
"""If more of an object is wanted at once, it is fetched whole."""


class Pieces:
    """Pieces of an object, by offset, as a file: what reads of it must lie within one.

    Args:
        name: of the object, for messages.
        size: of the whole object.
        pieces: that were got.
    """

    def __init__(self, name: str, size: int, pieces: Mapping[int, bytes]) -> None:
        self.name, self.size, self.pieces = name, size, pieces

    def open(self) -> pa.PythonFile:
        """Open it to be read."""
        return pa.PythonFile(_Reader(self), mode="r")


class _Reader(io.RawIOBase):
    def __init__(self, of: Pieces) -> None:
        super().__init__()
        self._of, self._at = of, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._of.size}[whence] + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        for offset, piece in self._of.pieces.items():
            if offset <= self._at and self._at + size <= offset + len(piece):
                found = piece[self._at - offset : self._at - offset + size]
                self._at += size
                return found
        raise OSError(f"{size} bytes at {self._at} were not got")


class ObjectRows:
    """The rows of one Parquet object. ``open`` makes one.

    Args:
        objects: gets at its bytes.
        item: the object.
        schema: its columns.
        footer: its parsed footer.
    """

    def __init__(self, objects: Objects, item: StoredObject, schema: pa.Schema, footer: pq.FileMetaData) -> None:
        self._objects, self._item, self._schema, self._footer = objects, item, schema, footer
        self._first = groups_of(footer)
        self._here: ParquetRows | None = None

    @classmethod
    async def open(cls, objects: Objects, item: StoredObject, schema: pa.Schema) -> ObjectRows:
        """Read the footer.

        Raises:
            CorruptionError: the object has none.
        """
        return cls(objects, item, schema, await footer_of(objects, item))

    @property
    def weight(self) -> int:
        """Column chunks that the footer tells of: what an open object holds in memory, about a kilobyte each."""
        return self._footer.num_row_groups * self._footer.num_columns

    def rows_reaching(self, column: str, least: int) -> Int64s:
        """Return the numbers of the rows of all groups in which ``column`` (a number) may be ``least`` or more."""
        return rows_reaching(self._footer, self._schema, column, least)

    def close(self) -> None:
        """Close what is open here."""
        if self._here is not None:
            self._here.close()

    async def at(self, rows: Int64s) -> ParquetRows:
        """Return a reader of some rows, given by number and ascending; of others, where the object is here."""
        path = await self._objects.file(self._item)
        if path is None:
            groups = np.unique(self._first.searchsorted(rows, side="right") - 1).tolist()
            wanted = [_extent(self._footer.row_group(group)) for group in groups]
            total = sum(length for _, length in wanted)
            if total <= min(_MOST_GOT, self._item.size * 3 // 4):
                got = await self._objects.ranges(self._item, wanted)
                pieces = {offset: piece for (offset, _), piece in zip(wanted, got, strict=True)}
                return ParquetRows(Pieces(self._item.key, self._item.size, pieces), self._schema, self._footer)
            path = await self._objects.path(self._item)
        if self._here is None:
            self._here = ParquetRows(path, self._schema, self._footer)
        return self._here.at(path)


async def footer_of(objects: Objects, item: StoredObject) -> pq.FileMetaData:
    """Return the footer of a Parquet object.

    Raises:
        CorruptionError: it has none.
    """
    path = await objects.file(item)
    if path is not None:
        with translated(path):
            return pq.read_metadata(path)
    footer = await objects.footers.find(item)
    if footer is None:
        footer = await _read_footer(objects, item)
        await objects.footers.keep(item, footer)
    with translated(Path(item.key)):
        return pq.read_metadata(pa.BufferReader(footer))


async def _read_footer(objects: Objects, item: StoredObject) -> bytes:
    tail_bytes = min(item.size, max(_LEAST_TAIL, item.size // _TAIL_SHARE))
    (tail,) = await objects.ranges(item, [(item.size - tail_bytes, tail_bytes)])
    footer_bytes = int.from_bytes(tail[-8:-4], "little") + 8
    if tail[-4:] != b"PAR1" or footer_bytes > item.size:
        raise CorruptionError(f"{item.key}: this is no Parquet file")
    if footer_bytes > len(tail):
        missing = footer_bytes - len(tail)
        (before,) = await objects.ranges(item, [(item.size - footer_bytes, missing)])
        tail = before + tail
    return tail[-footer_bytes:]


def _extent(group: pq.RowGroupMetaData) -> tuple[int, int]:
    """Return where a row group's columns are: ``(offset, length)``."""
    chunks = [_chunk_extent(group.column(i)) for i in range(group.num_columns)]
    begin = min(offset for offset, _ in chunks)
    return begin, max(offset + length for offset, length in chunks) - begin


def _chunk_extent(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    begin = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        begin = min(begin, chunk.dictionary_page_offset)
    return begin, chunk.total_compressed_size
