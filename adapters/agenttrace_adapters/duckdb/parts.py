"""What a view has of one project, cut where time and storage cut it, newest first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_adapters.duckdb.runs import TraceRun
from agenttrace_adapters.duckdb.sources import SourceCache
from agenttrace_core.model.segment import Segment, SegmentFile
from agenttrace_core.ports.index import View
from agenttrace_core.ports.live import LiveChunk
from agenttrace_core.schema.arrays import Int64s, UInt64s, numbers, whole
from agenttrace_core.schema.attribute_columns import AttributeKeys, attribute_column
from agenttrace_core.schema.keys import words_of_hex
from agenttrace_core.schema.tables import LIGHT

_KNOWN_KEYS = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of one project in one window of a file, or in one live chunk, and the traces that they belong to.

    ``hi``, ``lo`` and ``start`` have an item a trace. In a file the rows of trace ``i`` are those from
    ``first[i]`` on; in a chunk, row ``j`` of ``table`` is row ``first_row + j`` of the part and of trace ``first[j]``.
    """

    source: str
    file: SegmentFile | None
    table: pa.Table | None
    first_row: int
    rows: int
    hi: UInt64s
    lo: UInt64s
    start: Int64s
    first: Int64s
    min_start_ns: int
    max_start_ns: int
    columns: dict[str, pa.Array] = field(default_factory=dict)

    def attribute(self, key: str) -> pa.Array:
        """Return the values of an attribute of a chunk's rows, which are taken out of the maps but once."""
        if key not in self.columns:
            assert self.table is not None, "a chunk's part has a table"
            self.columns[key] = attribute_column(whole(self.table["attributes"]), key)
        return self.columns[key]

    def traces_of(self, rows: Int64s) -> Int64s:
        """Return, for rows of the part, counted from 0, the places of their traces."""
        if self.file is None:
            return self.first[rows]
        return self.first.searchsorted(rows + self.first_row, side="right") - 1

    def rows_of(self, traces: Int64s) -> Int64s:
        """Return the rows, counted from 0 and ascending, of a file's traces, given by ascending places."""
        begin = self.first.astype(np.int64) - self.first_row
        count = np.diff(begin, append=self.rows)[traces]
        rows: Int64s = np.arange(count.sum()) + np.repeat(begin[traces] - (np.cumsum(count) - count), count)
        return rows


def file_parts(file: SegmentFile, segments: Sequence[Segment], runs: Sequence[TraceRun]) -> list[Part]:
    """Return the parts of a file that are its ``segments``, whose ledger is in ``runs``, in the same order."""
    sums = pa.concat_tables([run.sums for run in runs]) if len(runs) > 1 else runs[0].sums
    parts: list[Part] = []
    begun = 0
    for segment in segments:
        own = sums.slice(begun, segment.traces)
        begun += segment.traces
        hi, lo, start, first = (numbers(own, n) for n in ("trace_hi", "trace_lo", "start_ns", "first_row"))
        parts.append(
            Part(
                str(file.id), file, None, segment.first_row, segment.rows, hi, lo, start, first,
                segment.min_start_ns, segment.max_start_ns,
            )
        )  # fmt: skip
    return parts


def chunk_part(chunk: LiveChunk, project: str, dead: Int64s | None) -> Part | None:
    """Return what a chunk has of a project, without its dead rows; None if that is nothing.

    The part's table has the columns of ``LIGHT``, and ``row``: the number of each row in the chunk.
    """
    mine = np.asarray(pc.equal(whole(chunk.rows["project"]), pa.scalar(project, pa.string())))
    if dead is not None:
        mine = mine.copy()
        mine[dead] = False
    if not mine.any():
        return None
    table = chunk.rows.select(LIGHT.names)
    row = np.flatnonzero(mine)
    if len(row) < len(table):
        table = table.take(pa.array(row))
    table = table.append_column("row", pa.array(row))
    words = words_of_hex(whole(table["trace_id"]), 16)
    start = pc.coalesce(whole(table["start_ns"]), whole(table["received_ns"])).to_numpy()
    order = np.lexsort((start, words[:, 1], words[:, 0]))
    hi, lo = words[order, 0], words[order, 1]
    new = np.ones(len(order), np.bool_)
    new[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
    trace = np.empty(len(order), np.int64)
    trace[order] = np.cumsum(new) - 1
    begins = np.flatnonzero(new)
    return Part(
        chunk.id, None, table, 0, len(table), hi[begins], lo[begins], start[order][begins], trace,
        int(start.min()), int(start.max()),
    )  # fmt: skip


class Parts:
    """The parts of views, made once for as long as views name what they are made of.

    Args:
        sources: what views consist of.
    """

    def __init__(self, sources: SourceCache) -> None:
        self._sources = sources
        self._made: dict[tuple[object, ...], list[Part]] = {}
        self._keys: OrderedDict[UUID, AttributeKeys | None] = OrderedDict()

    async def attribute_keys(self, file: SegmentFile) -> AttributeKeys | None:
        """Return which attributes of a file have columns; None if it has attributes in the map alone."""
        if file.id not in self._keys:
            has_columns = "attributes" in file.objects
            keys = AttributeKeys.read(await self._sources.footer(file, "attributes")) if has_columns else None
            self._keys[file.id] = keys
            while len(self._keys) > _KNOWN_KEYS:
                self._keys.popitem(last=False)
        return self._keys[file.id]

    async def of_project(self, view: View, project: str) -> list[Part]:
        """Return a project's parts, by the greatest start of their rows, descending."""
        named: dict[tuple[object, ...], list[Part]] = {}
        for file, segments in self._sources.files_of(view, project):
            of_file = file.id, project
            made = self._made.get(of_file)
            named[of_file] = made or file_parts(file, segments, await self._sources.runs(file, segments))
        for chunk in view.live.chunks:
            dead = self._sources.dropped(view, chunk.id)
            of_chunk = chunk.id, project, id(chunk.rows), 0 if dead is None else len(dead)
            made = self._made.get(of_chunk)
            if made is None:
                part = chunk_part(chunk, project, dead)
                made = [] if part is None else [part]
            named[of_chunk] = made
        # Of other projects, and other views, nothing is kept: what is asked again is soon asked again.
        self._made = named
        return sorted((p for parts in named.values() for p in parts), key=lambda p: p.max_start_ns, reverse=True)
