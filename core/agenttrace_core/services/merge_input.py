"""One input of a merge: a file's rows in order, a piece at a time, without those that do not count any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agenttrace_core.model.segment import Segment, SegmentFile, Superseded
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.schema.arrays import Int64s, UInt64s
from agenttrace_core.schema.attribute_columns import read_attribute_keys
from agenttrace_core.schema.files import read_ipc_stream
from agenttrace_core.schema.tables import CONTEXTS, FLIPS, LOGS, ROWS, TRACES
from agenttrace_core.services.sources import open_source

_KEYS = ("attributes.key_value.key",)
"""Of light rows, what is read as a dictionary."""

_MADE_ANEW = ("rollup", "grams")
"""Objects that a merge makes of the rows, and does not read."""


@dataclass(frozen=True, slots=True)
class TraceKeys:
    """The runs of rows of a file that belong to one project, window and trace, in the file's order."""

    project: np.ndarray[Any, np.dtype[np.str_]]
    window: Int64s
    hi: UInt64s
    lo: UInt64s
    rows: Int64s

    @classmethod
    def of(cls, file: SegmentFile, traces: pa.Table) -> TraceKeys:
        """Read them from a file's traces object and segments."""
        lengths = [segment.traces for segment in file.segments]
        return cls(
            project=np.repeat([segment.project for segment in file.segments], lengths),
            window=np.repeat(np.array([segment.window for segment in file.segments], np.int64), lengths),
            hi=traces["trace_hi"].to_numpy(),
            lo=traces["trace_lo"].to_numpy(),
            rows=traces["rows"].to_numpy().astype(np.int64),
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows of an input in the schema ``ROWS``: those left, those that were superseded, and those that expired."""

    left: pa.Table
    superseded: pa.Table
    expired: pa.Table


@dataclass(frozen=True, slots=True)
class Changes:
    """What a file says of rows of others, and what was taken back of its own; see ``services.absorber``."""

    flips: pa.Table
    contexts: pa.Table
    taken_back: pa.Table

    @classmethod
    def of_all(cls, inputs: Sequence[MergeInput]) -> Changes:
        """Join those of several inputs."""
        changes = [source.changes for source in inputs]
        return cls(*(pa.concat_tables([getattr(c, name) for c in changes]) for name in cls.__slots__))


class MergeInput:
    """Reads a file's light and payload objects side by side, from the first row to the last.

    ``superseded`` and ``expired`` are numbers of rows, ascending, that are to be left out.
    """

    def __init__(
        self,
        keys: TraceKeys,
        sources: Mapping[str, pa.NativeFile],
        superseded: Int64s,
        expired: Int64s,
        taken_back: pa.Table,
    ) -> None:
        self.keys = keys
        self.attribute_keys = read_attribute_keys(sources["attributes"]) if "attributes" in sources else None
        self.changes = Changes(_ipc(sources, "flips", FLIPS), _ipc(sources, "contexts", CONTEXTS), taken_back)
        self._parts = [RowStream(sources["light"], _KEYS), RowStream(sources["payload"])]
        self._superseded, self._expired = superseded, expired
        self._next = 0

    @classmethod
    async def open(
        cls,
        file: SegmentFile,
        storage: ObjectStorage,
        *,
        superseded: Sequence[Superseded] = (),
        expired: Sequence[Segment] = (),
    ) -> MergeInput:
        """Open a file's objects; ``superseded`` may speak of other files too. Rows of ``expired`` are left out."""
        sources = {
            part: await open_source(storage, stored) for part, stored in file.objects.items() if part not in _MADE_ANEW
        }
        own = [s for s in superseded if s.file_id == file.id]
        rows = _numbers([np.array(s.rows, np.int64) for s in own])
        taken_back = pa.concat_tables([TRACES.empty_table(), *(read_ipc_stream(s.traces_ipc) for s in own)])
        old = _numbers([np.arange(s.first_row, s.first_row + s.rows) for s in expired])
        keys = TraceKeys.of(file, pa.ipc.open_file(sources["traces"]).read_all())
        return cls(keys, sources, rows, np.setdiff1d(old, rows), taken_back)

    def take(self, count: int) -> Taken:
        """Return the next ``count`` rows, apart."""
        light, payload = (part.take(count) for part in self._parts)
        first, self._next = self._next, self._next + count
        rows = pa.table([*_shared(light), *_shared(payload)], schema=ROWS)
        superseded, expired = (_within(gone, first, count) for gone in (self._superseded, self._expired))
        left = _left(rows, np.concatenate([superseded, expired]) + first, first)
        return Taken(left, rows.take(pa.array(superseded)), rows.take(pa.array(expired)))


def _numbers(runs: Sequence[Int64s]) -> Int64s:
    return np.unique(np.concatenate(runs)) if runs else np.zeros(0, np.int64)


def _within(numbers: Int64s, first: int, count: int) -> Int64s:
    """Return those of ascending numbers that are within a piece, counted from its first."""
    start, stop = np.searchsorted(numbers, [first, first + count])
    return numbers[start:stop] - first


def _ipc(sources: Mapping[str, pa.NativeFile], name: str, schema: pa.Schema) -> pa.Table:
    return pa.ipc.open_file(sources[name]).read_all() if name in sources else schema.empty_table()


class LogInput:
    """Reads a file of log records, from the first to the last."""

    def __init__(self, keys: TraceKeys, records: pa.NativeFile, gone: Int64s) -> None:
        self.keys = keys
        self._records = RowStream(records)
        self._gone = gone
        self._next = 0

    @classmethod
    async def open(cls, file: SegmentFile, storage: ObjectStorage, *, expired: Sequence[Segment] = ()) -> LogInput:
        """Open a file's objects. Rows of ``expired`` are left out."""
        records, traces = [await open_source(storage, file.objects[part]) for part in ("records", "traces")]
        runs = [np.arange(s.first_row, s.first_row + s.rows) for s in expired]
        gone = np.sort(np.concatenate(runs)) if runs else np.zeros(0, np.int64)
        return cls(TraceKeys.of(file, pa.ipc.open_file(traces).read_all()), records, gone)

    def take(self, count: int) -> pa.Table:
        """Return what is left of the next ``count`` rows, in the schema ``LOGS``."""
        rows = self._records.take(count).cast(LOGS)
        first, self._next = self._next, self._next + count
        return _left(rows, self._gone, first)


def _left(rows: pa.Table, gone: Int64s, first: int) -> pa.Table:
    """Leave out of rows, of which the first is number ``first`` of its file, those that are gone."""
    gone = gone[(gone >= first) & (gone < first + len(rows))]
    if len(gone) == 0:
        return rows
    left = np.ones(len(rows), np.bool_)
    left[gone - first] = False
    return rows.filter(pa.array(left))


class RowStream:
    """The rows of a Parquet object, a row group at a time."""

    def __init__(self, source: pa.NativeFile, dictionaries: Sequence[str] = ()) -> None:
        self._file = pq.ParquetFile(source, read_dictionary=list(dictionaries))
        self._group = 0
        self._rest: pa.Table | None = None

    def take(self, count: int) -> pa.Table:
        """Return the next ``count`` rows."""
        taken: list[pa.Table] = []
        missing = count
        while missing:
            if self._rest is None:
                self._rest = self._file.read_row_group(self._group, use_threads=False)
                self._group += 1
            taken.append(self._rest.slice(0, missing))
            missing -= len(taken[-1])
            self._rest = self._rest.slice(len(taken[-1])) if len(taken[-1]) < len(self._rest) else None
        return pa.concat_tables(taken) if taken else self._file.schema_arrow.empty_table()


def pieces(inputs: Sequence[TraceKeys], piece_rows: int) -> Iterator[list[int]]:
    """Cut sorted inputs at the same keys: yield, piece by piece, how many rows to take of each.

    A piece has at least ``piece_rows`` rows, but for the last, and never ends within a trace.
    """
    source = np.repeat(np.arange(len(inputs)), [len(keys.rows) for keys in inputs])
    project, window, hi, lo, rows = (
        np.concatenate([getattr(keys, name) for keys in inputs]) for name in ("project", "window", "hi", "lo", "rows")
    )
    rank = np.unique(project, return_inverse=True)[1]
    order = np.lexsort((lo, hi, window, rank))
    ordered = [key[order] for key in (rank, window, hi, lo)]
    last_of_trace = np.ones(len(order), np.bool_)
    last_of_trace[:-1] = np.any([key[1:] != key[:-1] for key in ordered], axis=0)
    ends = np.cumsum(rows[order])
    start = taken = 0
    while start < len(order):
        stop = int(np.searchsorted(ends, taken + piece_rows))
        stop = len(order) if stop >= len(order) else stop + int(np.argmax(last_of_trace[stop:])) + 1
        piece = order[start:stop]
        yield np.bincount(source[piece], rows[piece], minlength=len(inputs)).astype(int).tolist()
        start, taken = stop, int(ends[stop - 1])


def _shared(payload: pa.Table) -> list[pa.ChunkedArray]:
    """The payload columns as ``ROWS`` has them: what many spans share becomes a dictionary."""
    return [
        column.dictionary_encode() if pa.types.is_dictionary(ROWS.field(name).type) else column
        for name, column in zip(payload.column_names, payload.columns, strict=True)
    ]
