"""The index at its plainest: every answer reads whatever objects it needs, whole, and keeps nothing.

For tests, examples and small embeddings, and the second opinion to indexes that are quick.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agenttrace_adapters.memory.logs import read_log_records, read_scores
from agenttrace_adapters.memory.questions import Everything
from agenttrace_adapters.memory.urls import FromMemoryUrl
from agenttrace_core.errors import ConfigurationError
from agenttrace_core.model.algebra import Aggregation, Ranking, Selection, TraceSearch
from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.model.segment import FileKind, Segment, SegmentFile, Superseded
from agenttrace_core.model.trace import TracePosition
from agenttrace_core.ports.index import (
    Arrivals,
    IndexCapabilities,
    Location,
    LogQueries,
    SpanIndex,
    SpanQueries,
    TraceOwners,
    View,
)
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.query.amend import amended, flips_as_traces, with_traces_names
from agenttrace_core.query.arrivals import first_arrived, is_new
from agenttrace_core.query.owners import owners_of, within
from agenttrace_core.query.ranking import check_ranking, page_of
from agenttrace_core.query.score_match import ScoresByName, score_names, scores_among
from agenttrace_core.query.scores import EffectiveScores
from agenttrace_core.query.sums import below, merge_sums, newest_first
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.files import read_ipc_stream
from agenttrace_core.schema.keys import trace_id_of
from agenttrace_core.schema.tables import CONTEXTS, FLIPS, LIGHT, LOCATION, PAYLOAD, TRACES
from agenttrace_core.wire.payload_texts import SpanPayloads


class MemoryIndex(FromMemoryUrl, SpanIndex, SpanQueries, TraceOwners, Arrivals, LogQueries):
    """Reads objects whole through the storage port. Needs no folder, no cache and no driver."""

    setting = "index"

    def __init__(self) -> None:
        self._attached: ObjectStorage | None = None

    @property
    def capabilities(self) -> IndexCapabilities:
        """Every question of the algebra, and no SQL."""
        return IndexCapabilities(sql=False, queries=True)

    def attach(self, storage: ObjectStorage) -> None:
        """Say where the objects are."""
        self._attached = storage

    async def open(self) -> None:
        """Check that a storage was attached.

        Raises:
            ConfigurationError: none was.
        """
        if self._attached is None:
            raise ConfigurationError("an index needs a storage: call attach() before open()")

    async def aclose(self) -> None:
        """Nothing is held."""

    async def traces(self, view: View, project: str, *, limit: int, before: TracePosition | None = None) -> pa.Table:
        """Merge the whole ledger of the project, and return a piece of it."""
        sums = await self._ledger(view, project)
        if before is not None:
            sums = sums.filter(pa.array(below(sums, before.start_ns, before.trace_id)))
        return sums.take(pa.array(newest_first(sums)[:limit]))

    async def summaries(self, view: View, project: str, trace_ids: Sequence[str]) -> pa.Table:
        """Merge the whole ledger of the project, and return some rows of it."""
        sums = await self._ledger(view, project)
        row_of = {_trace_id(row): i for i, row in enumerate(sums.select(["trace_hi", "trace_lo"]).to_pylist())}
        return sums.take(pa.array([row_of[trace_id] for trace_id in trace_ids if trace_id in row_of], pa.int64()))

    async def versions(
        self, view: View, project: str, trace_ids: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Read every light object of the project, and keep what is asked."""
        wanted = pa.array(sorted(set(trace_ids)), pa.string())
        found = [pa.schema([*LIGHT, *LOCATION]).empty_table()]
        async for located in self._light(view, project):
            found += [located.filter(pc.is_in(located["trace_id"], value_set=wanted))]
        table = pa.concat_tables(found)
        return table if columns is None else table.select([*columns, *LOCATION.names])

    async def arrivals(self, view: View, project: str, since: Mapping[int, int], *, limit: int) -> pa.Table:
        """Read every light object of the project, and keep what is new."""
        found = [pa.schema([*LIGHT, *LOCATION]).empty_table()]
        base = view.snapshot.offset_base
        found += [rows.filter(pa.array(is_new(rows, since, base))) async for rows in self._light(view, project)]
        new = pa.concat_tables(found).combine_chunks()
        return new.take(pa.array(first_arrived(new, limit)))

    async def payload(self, view: View, locations: Sequence[Location]) -> pa.Table:
        """Read whole payload objects, one after the other."""
        pieces = [PAYLOAD.empty_table()]
        place = np.zeros(len(locations), np.int64)
        count = 0
        for source in dict.fromkeys(location.source for location in locations):
            asked = [i for i, location in enumerate(locations) if location.source == source]
            place[asked] = count + np.arange(len(asked))
            count += len(asked)
            rows = pa.array([locations[i].row for i in asked], pa.int64())
            pieces.append((await self._payload_of(view, source)).take(rows))
        return pa.concat_tables(pieces).take(pa.array(place))

    async def search(self, view: View, project: str, search: TraceSearch) -> pa.Table:
        """Look at every row of the project."""
        return (await self._everything(view, project, score_names(search.where))).search(search)

    async def spans(
        self, view: View, project: str, selection: Selection, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> pa.Table:
        """Look at every row of the project."""
        everything = await self._everything(view, project, _scores_asked(selection))
        return everything.spans(selection, limit=limit, after=after)

    async def aggregate(self, view: View, project: str, aggregation: Aggregation) -> pa.Table:
        """Look at every row of the project."""
        names = _scores_asked(aggregation.selection) | scores_among(*aggregation.group_by)
        return (await self._everything(view, project, names)).aggregate(aggregation)

    async def owners(self, view: View, project: str, column: str, ranking: Ranking) -> pa.Table:
        """Add the whole ledger of the project up."""
        check_ranking(ranking)
        sums = within(await self._ledger(view, project), ranking.selection.during)
        return page_of(owners_of(sums, column), ranking)

    async def owned(self, view: View, project: str, column: str, name: str) -> pa.Table:
        """Look through the whole ledger of the project."""
        sums = await self._ledger(view, project)
        own = sums.filter(pc.equal(sums[column], pa.scalar(name, pa.string())))
        return own.take(pa.array(newest_first(own)))

    async def log_records(
        self, view: View, project: str, trace_ids: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Read every log record of the project, and keep what is asked."""
        return await read_log_records(self._storage, view, project, trace_ids, columns)

    async def scores(
        self,
        view: View,
        project: str,
        wanted: ScoreSelection,
        *,
        limit: int | None = None,
        before: ScorePlace | None = None,
    ) -> pa.Table:
        """Settle every score of the project, and keep what is asked."""
        return await read_scores(self._storage, view, project, wanted, limit=limit, before=before)

    @property
    def _storage(self) -> ObjectStorage:
        assert self._attached is not None, "attach() comes before use"
        return self._attached

    async def _ledger(self, view: View, project: str) -> pa.Table:
        partial: list[pa.Table] = []
        for file, segments in _files(view, project):
            whole = pa.ipc.open_file(await self._storage.get(file.objects["traces"].key)).read_all()
            partial += [whole.slice(s.first_trace, s.traces) for s in segments]
        partial += [chunk.traces.filter(_of(chunk.traces, project)) for chunk in view.live.chunks]
        partial += [read_ipc_stream(s.traces_ipc) for s in _superseded(view) if s.project == project]
        partial.append(flips_as_traces(await self._changes(view, project, "flips", FLIPS)))
        return merge_sums([TRACES.empty_table(), *(p.cast(TRACES) for p in partial)])

    async def _everything(self, view: View, project: str, asked_scores: Iterable[str]) -> Everything:
        schema = pa.schema([*LIGHT, *LOCATION])
        rows = pa.concat_tables([schema.empty_table(), *[located async for located in self._light(view, project)]])
        ledger = await self._ledger(view, project)
        rows = with_traces_names(rows.combine_chunks(), ledger)
        places = zip(rows["source"].to_pylist(), rows["row"].to_pylist(), strict=True)
        payload = await self.payload(view, [Location(source, row) for source, row in places])
        payloads = SpanPayloads(payload["span"].combine_chunks(), payload["resource"].combine_chunks())
        scores = {
            name: EffectiveScores.of(await self.scores(view, project, ScoreSelection(name=name)))
            for name in asked_scores
        }
        return Everything(ledger, rows, payloads, ScoresByName(scores))

    async def _light(self, view: View, project: str) -> AsyncIterator[pa.Table]:
        dropped = _rows_by_source(view)
        flips = await self._changes(view, project, "flips", FLIPS)
        contexts = await self._changes(view, project, "contexts", CONTEXTS)
        for file, segments in _files(view, project):
            whole = await self._parquet(file, "light")
            for segment in segments:
                rows = np.arange(segment.first_row, segment.first_row + segment.rows)
                yield amended(_located(whole, str(file.id), rows, dropped), flips, contexts)
        for chunk in view.live.chunks:
            rows = np.flatnonzero(np.asarray(_of(chunk.rows, project)))
            yield amended(_located(_as_in_files(chunk.rows), chunk.id, rows, dropped), flips, contexts)

    async def _changes(self, view: View, project: str, name: str, schema: pa.Schema) -> pa.Table:
        """What files and chunks say of rows written before: ``flips`` or ``contexts``."""
        told: list[pa.Table] = [getattr(chunk, name) for chunk in view.live.chunks]
        keys = [file.objects[name].key for file in view.snapshot.files if name in file.objects]
        told += [pa.ipc.open_file(await self._storage.get(key)).read_all() for key in keys]
        return pa.concat_tables([schema.empty_table(), *(table.filter(_of(table, project)) for table in told)])

    async def _payload_of(self, view: View, source: str) -> pa.Table:
        for chunk in view.live.chunks:
            if chunk.id == source:
                return chunk.rows.select(PAYLOAD.names).cast(PAYLOAD)
        file = next(file for file in view.snapshot.files if str(file.id) == source)
        return await self._parquet(file, "payload")

    async def _parquet(self, file: SegmentFile, name: str) -> pa.Table:
        schema = LIGHT if name == "light" else PAYLOAD
        return pq.read_table(pa.BufferReader(await self._storage.get(file.objects[name].key))).cast(schema)


def _scores_asked(selection: Selection) -> set[str]:
    return score_names(selection.spans) | score_names(selection.traces)


def _files(view: View, project: str) -> Iterable[tuple[SegmentFile, list[Segment]]]:
    for file in view.snapshot.files:
        segments = [s for s in file.segments if s.project == project]
        if segments and file.kind is FileKind.SPANS:
            yield file, segments


def _superseded(view: View) -> Iterable[Superseded]:
    live = {file.id for file in view.snapshot.files}
    return (s for s in (*view.snapshot.superseded, *view.live.superseded) if s.file_id in live)


def _rows_by_source(view: View) -> dict[str, set[int]]:
    """Rows that are not to be returned, by the file or chunk that they are in."""
    rows = {chunk: set(dead) for chunk, dead in view.live.dead.items()}
    for superseded in _superseded(view):
        rows.setdefault(str(superseded.file_id), set()).update(superseded.rows)
    return rows


def _as_in_files(rows: pa.Table) -> pa.Table:
    place = LIGHT.get_field_index("attributes")
    maps = rows["attributes"].cast(LIGHT.field(place).type)
    return rows.select(LIGHT.names).set_column(place, LIGHT.field(place), maps)


def _located(whole: pa.Table, source: str, rows: Int64s, dropped: dict[str, set[int]]) -> pa.Table:
    kept = rows[~np.isin(rows, list(dropped.get(source, ())))]
    light = whole.select(LIGHT.names).take(pa.array(kept, pa.int64()))
    light = light.append_column(LOCATION[0], pa.array([source] * len(kept), pa.string()))
    return light.append_column(LOCATION[1], pa.array(kept, pa.int64()))


def _of(table: pa.Table, project: str) -> pa.ChunkedArray:
    return pc.equal(table["project"], pa.scalar(project, pa.string()))


def _trace_id(row: dict[str, int]) -> str:
    return trace_id_of(row["trace_hi"], row["trace_lo"])
