"""Rows of a Parquet object that is here, by number, decoding no more than the row groups that they are in."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agenttrace_core.errors import CorruptionError, GoneError
from agenttrace_core.schema.arrays import Int64s

_UNLIKE = {"trace_id", "span_id", "parent_span_id"}
"""Texts of which hardly two are alike: a dictionary of them would be no shorter."""


class Openable(Protocol):
    """What a reader can be opened over, besides a file that is here."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def open(self) -> pa.PythonFile:
        """Open it to be read."""
        ...


class ParquetRows:
    """One object, open, whose footer is known. Not safe for two threads at once; see ``twin``.

    Args:
        source: where the object is, or what of it was got.
        schema: its columns. Answers have exactly these types.
        footer: the parsed footer.
    """

    def __init__(self, source: Path | Openable, schema: pa.Schema, footer: pq.FileMetaData) -> None:
        self._source = source
        self._schema = schema
        texts = [f.name for f in schema if pa.types.is_string(f.type) and f.name not in _UNLIKE]
        with translated(source):
            opened = source if isinstance(source, Path) else source.open()
            self._file = pq.ParquetFile(opened, metadata=footer, read_dictionary=texts)
        self._footer = footer
        self._first = groups_of(footer)
        self._constants: dict[int, dict[str, pa.Scalar]] = {}

    def at(self, path: Path) -> ParquetRows:
        """Return a reader of the same object, which is at ``path`` now: this one, unless the file was moved."""
        return self if self._source == path else ParquetRows(path, self._schema, self._footer)

    def twin(self) -> ParquetRows:
        """Return another reader of the same object, for another thread."""
        return ParquetRows(self._source, self._schema, self._footer)

    def close(self) -> None:
        """Close the object."""
        self._file.close(force=True)

    def take(self, rows: Int64s, columns: Sequence[str]) -> pa.Table:
        """Return ``columns`` of rows given by number, ascending and without repetition.

        Raises:
            CorruptionError: the object cannot be decoded.
        """
        schema = pa.schema([self._schema.field(name) for name in columns])
        if len(rows) == 0:
            return schema.empty_table()
        group = self._first.searchsorted(rows, side="right") - 1
        cuts = np.flatnonzero(np.diff(group, prepend=-1))
        pieces = []
        with translated(self._source):
            for first, stop in zip(cuts, [*cuts[1:], len(rows)], strict=True):
                g = int(group[first])
                pieces.append(self._of_group(g, rows[first:stop] - self._first[g], schema))
        return pa.concat_tables(pieces)

    def _of_group(self, group: int, rows: Int64s, schema: pa.Schema) -> pa.Table:
        constants = self._constants_of(group)
        varying = [name for name in schema.names if name not in constants]
        decoded = self._file.read_row_group(group, columns=varying, use_threads=False)
        start, count = int(rows[0]), len(rows)
        is_run = int(rows[-1]) - start + 1 == count
        decoded = decoded.slice(start, count) if is_run else decoded.take(pa.array(rows))
        arrays = [
            pa.repeat(constants[f.name], count) if f.name in constants else _plain(decoded[f.name], f.type)
            for f in schema
        ]
        return pa.table(arrays, schema=schema)

    def _constants_of(self, group: int) -> dict[str, pa.Scalar]:
        """Return the columns which have one value throughout the group, as its statistics say.

        Decoding a column costs the more time the more rows a group has; most columns of a group
        are all null, or name the one service that sent it.
        """
        if group not in self._constants:
            head = self._footer.row_group(group)
            found: dict[str, pa.Scalar] = {}
            # Flat columns come first, and have the numbers that they have in the file.
            for i, field in enumerate(self._schema):
                if pa.types.is_nested(field.type):
                    break
                value = _only_value(head.column(i).statistics, head.num_rows)
                if value is not _VARIES:
                    found[field.name] = pa.scalar(value, field.type)
            self._constants[group] = found
        return self._constants[group]


def groups_of(footer: pq.FileMetaData) -> Int64s:
    """Return the number of each row group's first row, and last the number of rows."""
    groups = (footer.row_group(g).num_rows for g in range(footer.num_row_groups))
    return np.cumsum([0, *groups])


def lacks(footer: pq.FileMetaData, schema: pa.Schema, column: str) -> bool:
    """Say whether some row may have no value in a flat column."""
    at = schema.get_field_index(column)
    for group in range(footer.num_row_groups):
        statistics = footer.row_group(group).column(at).statistics
        if statistics is None or not statistics.has_null_count or statistics.null_count:
            return True
    return False


def rows_reaching(footer: pq.FileMetaData, schema: pa.Schema, column: str, least: int) -> Int64s:
    """Return the numbers of the rows of all groups in which ``column`` (a number) may be ``least`` or more."""
    place = schema.get_field_index(column)
    first = groups_of(footer)
    found = [np.zeros(0, np.int64)]
    for group in range(footer.num_row_groups):
        statistics = footer.row_group(group).column(place).statistics
        if statistics is None or not statistics.has_min_max or statistics.max >= least:
            found.append(np.arange(first[group], first[group + 1]))
    return np.concatenate(found)


_VARIES = object()
_UNCUT_BYTES = 32


def _only_value(statistics: pq.Statistics | None, rows: int) -> object:
    if statistics is None or not statistics.has_null_count:
        return _VARIES
    if statistics.null_count == rows:
        return None
    if statistics.null_count or not statistics.has_min_max or statistics.min != statistics.max:
        return _VARIES
    value: object = statistics.min
    # The format allows writers to cut long bounds short, and pyarrow does not say whether one was.
    return _VARIES if isinstance(value, str) and len(value.encode()) > _UNCUT_BYTES else value


def _plain(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], wanted)
    return column if column.type == wanted else column.cast(wanted)


@contextmanager
def translated(source: Path | Openable) -> Generator[None]:
    """Say of a file that cannot be read whether to ask again.

    Raises:
        GoneError: the file is gone.
        CorruptionError: it is there, and is not what was written.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise GoneError(f"{source.name} is gone: files were merged while they were read; ask again") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptionError(f"{source.name} cannot be read: {error}") from error
