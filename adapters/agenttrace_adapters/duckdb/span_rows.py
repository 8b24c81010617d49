"""The port ``SpanIndex``: traces by their ids, and rows by theirs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread

from agenttrace_adapters.duckdb.located import is_text, located, repeated, schema_of, take_rows
from agenttrace_adapters.duckdb.objects import holding, side_by_side
from agenttrace_adapters.duckdb.opened import OpenedIndex
from agenttrace_adapters.duckdb.parts import Part
from agenttrace_adapters.duckdb.runs import TraceRun, find, newest, sums_of
from agenttrace_core.model.trace import TracePosition
from agenttrace_core.ports.index import Location, SpanIndex, View
from agenttrace_core.query.amend import AMENDED_COLUMNS, AMENDING_COLUMNS
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.keys import trace_id_of, trace_words
from agenttrace_core.schema.tables import LIGHT, LOCATION, PAYLOAD


class SpanRows(OpenedIndex, SpanIndex):
    """Finds traces in mapped tables of their ids, and reads rows with pyarrow."""

    @holding
    async def traces(self, view: View, project: str, *, limit: int, before: TracePosition | None = None) -> pa.Table:
        """Read the newest files' tables of traces only; see ``newest``."""
        sources = await self._sources.of_project(view, project)
        return await to_thread.run_sync(newest, sources.found_in, sources.corrections, limit, before)

    @holding
    async def summaries(self, view: View, project: str, trace_ids: Sequence[str]) -> pa.Table:
        """Look the ids up in all tables of traces at once."""
        sources = await self._sources.of_project(view, project)
        words = np.array([trace_words(trace_id) for trace_id in dict.fromkeys(trace_ids)], np.uint64).reshape(-1, 2)
        hi, lo = np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1])
        sums = sums_of([*sources.found_in, *sources.corrections], hi, lo)
        found = zip(sums["trace_hi"].to_pylist(), sums["trace_lo"].to_pylist(), strict=True)
        row_of = {trace_id_of(*ids): row for row, ids in enumerate(found)}
        return sums.take(pa.array([row_of[trace_id] for trace_id in trace_ids if trace_id in row_of], pa.int64()))

    @holding
    async def versions(
        self, view: View, project: str, trace_ids: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Find the rows by trace id, and decode the row groups that hold them, if there are any."""
        names = LIGHT.names if columns is None else list(columns)
        sources = await self._sources.of_project(view, project)
        hits: dict[str, list[tuple[TraceRun, int, str]]] = {}
        for trace_id in dict.fromkeys(trace_ids):
            for run, row in find(sources.found_in, *trace_words(trace_id)):
                hits.setdefault(run.source, []).append((run, row, trace_id))
        is_amended = bool(sources.changes) and not set(AMENDED_COLUMNS).isdisjoint(names)
        read = [*names, *(name for name in AMENDING_COLUMNS if name not in names)] if is_amended else names

        async def rows_of(source: str, found: list[tuple[TraceRun, int, str]]) -> pa.Table:
            if self._sources.file(view, source) is None:
                return self._of_chunk(view, source, project, [trace_id for *_, trace_id in found], read)
            return await self._of_file(view, source, project, found, read)

        pieces = await self._each([partial(rows_of, source, found) for source, found in hits.items()])
        rows = pa.concat_tables(pieces) if pieces else schema_of(read).empty_table()
        return sources.changes.amend(rows).select(schema_of(names).names) if is_amended else rows

    @holding
    async def payload(self, view: View, locations: Sequence[Location]) -> pa.Table:
        """Read each source's rows in ascending order, and put them into the order asked."""
        place = np.zeros(len(locations), np.int64)
        count = 0
        reads: list[Callable[[], Coroutine[None, None, pa.Table]]] = []
        for source in dict.fromkeys(location.source for location in locations):
            asked = [i for i, location in enumerate(locations) if location.source == source]
            rows, inverse = np.unique(np.array([locations[i].row for i in asked], np.int64), return_inverse=True)
            place[asked] = count + inverse
            count += len(rows)
            reads.append(partial(self._payload_of, view, source, rows))
        return pa.concat_tables([PAYLOAD.empty_table(), *await self._each(reads)]).take(pa.array(place))

    async def _rows_of_part(self, part: Part, rows: Int64s, columns: Sequence[str]) -> pa.Table:
        """Return columns of rows of a part, counted from 0 and ascending, and their ``LOCATION``."""
        if part.table is not None:
            return (
                part.table.select(list(columns))
                .take(pa.array(rows))
                .append_column(LOCATION[0], repeated(part.source, len(rows)))
                .append_column(LOCATION[1], part.table["row"].take(pa.array(rows)))
                .cast(schema_of(columns))
            )
        assert part.file is not None, "a part without a table is a file's"
        numbered = rows + part.first_row
        taken = await take_rows(await self._sources.rows(part.file, "light"), numbered, list(columns))
        located = [*taken.columns, repeated(part.source, len(rows)), pa.array(numbered)]
        return pa.table(located, schema=schema_of(columns))

    async def _rows_of_parts(self, places: Sequence[tuple[Part, int]]) -> pa.Table:
        """Return all columns of rows of parts, in the order given."""
        pieces = [schema_of(LIGHT.names).empty_table()]
        order = np.zeros(len(places), np.int64)
        count = 0
        for part in dict.fromkeys(part for part, _ in places):
            own = sorted((row, i) for i, (p, row) in enumerate(places) if p is part)
            order[[i for _, i in own]] = count + np.arange(len(own))
            count += len(own)
            rows = np.array([row for row, _ in own], np.int64)
            pieces.append(await self._rows_of_part(part, rows, LIGHT.names))
        return pa.concat_tables(pieces).take(pa.array(order))

    async def _each(self, reads: Sequence[Callable[[], Coroutine[None, None, pa.Table]]]) -> list[pa.Table]:
        """Return what some reads return: side by side, where they wait for somebody else."""
        return [await read() for read in reads] if self.objects.are_here else await side_by_side(reads)

    def _of_chunk(self, view: View, source: str, project: str, trace_ids: list[str], names: list[str]) -> pa.Table:
        whole = self._sources.chunk(view, source).rows
        mask = pc.is_in(whole["trace_id"], value_set=pa.array(trace_ids, pa.string()))
        rows = np.flatnonzero(np.asarray(pc.and_(mask, is_text(whole["project"], project))))
        return located(whole.select(names), source, self._kept(view, source, rows)).cast(schema_of(names))

    async def _of_file(
        self, view: View, source: str, project: str, found: Iterable[tuple[TraceRun, int, str]], names: list[str]
    ) -> pa.Table:
        spans = [(int(run.sums["first_row"][row].as_py()), int(run.sums["rows"][row].as_py()), trace_id)
                 for run, row, trace_id in found]  # fmt: skip
        spans.sort()
        rows = np.concatenate([np.arange(first, first + count) for first, count, _ in spans])
        of_span = np.repeat(np.arange(len(spans)), [count for _, count, _ in spans])
        kept = self._kept(view, source, rows)
        if len(kept) < len(rows):
            of_span = of_span[np.isin(rows, kept)]
        file = self._sources.file(view, source)
        assert file is not None, "a hit in a file names a file of the view"
        read = [name for name in names if name not in {"project", "trace_id"}]
        reader = await self._sources.rows(file, "light")
        light = await take_rows(reader, kept, read)
        known = {
            "project": repeated(project, len(kept)),
            "trace_id": pa.array([t for *_, t in spans], pa.string()).take(pa.array(of_span)),
            "source": repeated(source, len(kept)),
            "row": pa.array(kept),
        }
        schema = schema_of(names)
        return pa.table([known[n] if n in known else light[n] for n in schema.names], schema=schema)

    async def _payload_of(self, view: View, source: str, rows: Int64s) -> pa.Table:
        file = self._sources.file(view, source)
        if file is None:
            return self._sources.chunk(view, source).rows.select(PAYLOAD.names).take(pa.array(rows)).cast(PAYLOAD)
        return await take_rows(await self._sources.rows(file, "payload"), rows, PAYLOAD.names)
