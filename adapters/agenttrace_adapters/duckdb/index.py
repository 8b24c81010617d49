"""The span index of one machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from urllib.parse import parse_qsl

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread

from agenttrace_adapters.duckdb.analytics import Analytics
from agenttrace_adapters.duckdb.arrivals import arrivals
from agenttrace_adapters.duckdb.by_now import ByNow
from agenttrace_adapters.duckdb.logs import LogFiles, live_records, live_scores, query_scores
from agenttrace_adapters.duckdb.masks import RowScanner
from agenttrace_adapters.duckdb.objects import WHOLE_BYTES, Objects, holding, side_by_side
from agenttrace_adapters.duckdb.parts import Part, Parts
from agenttrace_adapters.duckdb.questions import ProjectSpans
from agenttrace_adapters.duckdb.ranged import ObjectRows
from agenttrace_adapters.duckdb.runs import TraceRun, find, newest, sums_of
from agenttrace_adapters.duckdb.scored import ScoredRows
from agenttrace_adapters.duckdb.scores import known_field, known_spans, known_traces
from agenttrace_adapters.duckdb.sources import SourceCache
from agenttrace_adapters.duckdb.spans import AMENDED, SpansTable
from agenttrace_adapters.duckdb.sql import SqlRunner
from agenttrace_adapters.duckdb.suggest import Suggestions
from agenttrace_adapters.duckdb.trace_names import NAMED, asks_for_names
from agenttrace_core.errors import ConfigurationError
from agenttrace_core.model.algebra import Aggregation, Field, Ranking, Selection, TraceSearch
from agenttrace_core.model.principal import check_project
from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.model.trace import TracePosition
from agenttrace_core.ports.cache import Cache
from agenttrace_core.ports.index import (
    Arrivals,
    FieldValues,
    IndexCapabilities,
    Location,
    LogQueries,
    SpanIndex,
    SpanQueries,
    SqlIndex,
    TraceOwners,
    UsesCache,
    View,
)
from agenttrace_core.ports.storage import ObjectStorage
from agenttrace_core.query.amend import AMENDED_COLUMNS, AMENDING_COLUMNS
from agenttrace_core.query.score_match import score_names, scores_among
from agenttrace_core.query.scores import EffectiveScores, selected, settled
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.keys import trace_id_of, trace_words
from agenttrace_core.schema.log_files import SCORED_COLUMNS, scores_of
from agenttrace_core.schema.tables import LIGHT, LIGHT_ROWS, LOCATION, LOGS, PAYLOAD

_SAID = {"true": True, "false": False}

_INLINE_ROWS = 4_096
"""Reads of so few rows are done where they are asked for: the way to a thread and back costs more."""


class DuckDBIndex(SpanIndex, Arrivals, SqlIndex, SpanQueries, TraceOwners, LogQueries, FieldValues, UsesCache):
    """Finds traces in mapped tables of their ids, reads rows with pyarrow, and answers SQL with DuckDB.

    Args:
        memory_limit: DuckDB's, such as ``256MB``.
        threads: DuckDB's.
        cache_bytes: bound of the local copies of objects, where the storage is elsewhere and keeps none itself.
        whole_bytes: longer objects that are elsewhere are read by ranges, until they are read often.
        rollups: whether figures come from roll-ups where they hold; without, they are the same, and later.
    """

    def __init__(
        self,
        *,
        memory_limit: str = "256MB",
        threads: int = 2,
        cache_bytes: int = 4 << 30,
        whole_bytes: int = WHOLE_BYTES,
        rollups: bool = True,
    ) -> None:
        self._sql = SqlRunner(memory_limit=memory_limit, threads=threads)
        self._cache_bytes, self._whole_bytes = cache_bytes, whole_bytes
        self._rollups = rollups
        self._storage: ObjectStorage | None = None
        self._cache: Cache | None = None
        self._got: Objects | None = None
        self._opened: SourceCache | None = None
        self._log_files: LogFiles | None = None
        self._made_parts: Parts | None = None
        self._opened_analytics: Analytics | None = None

    @classmethod
    def from_url(cls, url: str) -> DuckDBIndex:
        """Make one from ``duckdb:?memory_limit=256MB&threads=2&cache_bytes=4294967296&rollups=true``; all are optional.

        One more is ``whole_bytes=2097152``; see the class.

        Raises:
            ConfigurationError: the URL says anything else.
        """
        options = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
        memory_limit = options.pop("memory_limit", "256MB")
        rollups = options.pop("rollups", "true")
        try:
            threads = int(options.pop("threads", "2"))
            cache_bytes = int(options.pop("cache_bytes", str(4 << 30)))
            whole_bytes = int(options.pop("whole_bytes", str(WHOLE_BYTES)))
        except ValueError:
            threads = cache_bytes = whole_bytes = 0
        if url.partition("?")[0] != "duckdb:" or options or threads < 1 or cache_bytes < 1 or rollups not in _SAID:
            raise ConfigurationError(
                f"index = {url!r}: write 'duckdb:' or 'duckdb:?memory_limit=256MB&threads=2&cache_bytes=4294967296'"
            )
        return cls(
            memory_limit=memory_limit,
            threads=threads,
            cache_bytes=cache_bytes,
            whole_bytes=whole_bytes,
            rollups=_SAID[rollups],
        )

    @property
    def capabilities(self) -> IndexCapabilities:
        """SQL and questions, by DuckDB."""
        return IndexCapabilities(sql=True, queries=True)

    def attach(self, storage: ObjectStorage) -> None:
        """Say where the objects are."""
        self._storage = storage

    def use_cache(self, cache: Cache) -> None:
        """Find footers of objects that are elsewhere."""
        self._cache = cache

    async def open(self) -> None:
        """Start DuckDB. Files are opened as views name them.

        Raises:
            ConfigurationError: no storage was attached, or DuckDB refuses an option.
        """
        if self._storage is None:
            raise ConfigurationError("an index needs a storage: call attach() before open()")
        await self._sql.open()
        self._got = Objects(
            self._storage, max_bytes=self._cache_bytes, whole_bytes=self._whole_bytes, cache=self._cache
        )
        self._opened = SourceCache(self._got)
        self._opened_analytics = Analytics(self._sql, self._opened, rollups=self._rollups)
        self._log_files = LogFiles(self._got)
        self._made_parts = Parts(self._opened)

    async def aclose(self) -> None:
        """Unmap all files, and remove the local copies."""
        await self._sql.aclose()
        if self._opened is not None:
            self._opened.close()
            self._opened = self._log_files = None
        if self._got is not None:
            await self._got.aclose()

    @property
    def objects(self) -> Objects:
        """Gets at the bytes of objects."""
        assert self._got is not None, "open() comes before use"
        return self._got

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
        rows = pa.concat_tables(pieces) if pieces else _schema(read).empty_table()
        return sources.changes.amend(rows).select(_schema(names).names) if is_amended else rows

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

    async def _each(self, reads: Sequence[Callable[[], Coroutine[None, None, pa.Table]]]) -> list[pa.Table]:
        """Return what some reads return: side by side, where they wait for somebody else."""
        return [await read() for read in reads] if self.objects.are_here else await side_by_side(reads)

    @holding
    async def arrivals(self, view: View, project: str, since: Mapping[int, int], *, limit: int) -> pa.Table:
        """Look through what is live, and through files only where ``since`` lies below their watermark."""
        return await arrivals(self._sources, view, project, since, limit)

    @holding
    async def sql(self, view: View, project: str, statement: str) -> pa.Table:
        """Run trusted SQL over the table ``spans``; see the port."""
        named = any(name in statement for name in NAMED)
        return await self._sql.run(statement, await self._spans_table(view, project, named=named))

    async def _spans_table(self, view: View, project: str, *, named: bool) -> SpansTable:
        """Return the project's spans as they are by now: THE table of everything that asks over many rows."""
        files = [file for file in view.snapshot.files if any(s.project == project for s in file.segments)]
        with_light = [file for file in files if "light" in file.objects]
        places = await self._sources.paths(with_light, "light")
        paths = {str(file.id): path for file, path in zip(with_light, places, strict=True)}
        dropped = {source: rows for source in paths if (rows := self._sources.dropped(view, source)) is not None}
        live = [_located(c.rows.select(LIGHT.names), c.id, self._kept(view, c.id, _rows_of_project(c.rows, project)))
                for c in view.live.chunks]  # fmt: skip
        live_rows = pa.concat_tables([pa.schema([*LIGHT_ROWS, *LOCATION]).empty_table(), *live])
        changes = (await self._sources.of_project(view, project)).changes
        amended = pa.concat_tables([AMENDED.empty_table(), *(await self._sources.amended(view, project)).values()])
        names = await self._sources.names(view, project) if named else None
        return SpansTable(check_project(project), paths, dropped, amended, changes.amend(live_rows), names)

    @holding
    async def log_records(
        self, view: View, project: str, trace_ids: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Find the rows by trace id, and decode the row groups that hold them, if there are any."""
        names = LOGS.names if columns is None else list(columns)
        wanted = pa.array(sorted(set(trace_ids)), pa.string())
        pieces = [pa.schema([LOGS.field(name) for name in names]).empty_table()]
        for file, rows in await self._logs.rows_of(view, project, trace_ids):
            pieces.append(await _take(await self._sources.rows(file, "records"), rows, names))
        live = live_records(view, project)
        pieces += [table.filter(pc.is_in(table["trace_id"], value_set=wanted)).select(names) for table in live]
        return pa.concat_tables(pieces)

    @holding
    async def scores(
        self,
        view: View,
        project: str,
        wanted: ScoreSelection,
        *,
        limit: int | None = None,
        before: ScorePlace | None = None,
    ) -> pa.Table:
        """Look the traces up, where some are named; else ask DuckDB about all scores of the project."""
        if wanted.trace_ids is not None:
            records = await self.log_records(view, project, wanted.trace_ids, columns=SCORED_COLUMNS)
            found = selected(settled(scores_of(records)), wanted, before)
            return found if limit is None else found.slice(0, limit)
        paths = await self._logs.score_paths(view, project)
        live = live_scores(view, project)
        return await self._sql.work(query_scores, check_project(project), paths, live, wanted, limit, before)

    async def _effective(self, view: View, project: str, name: str) -> EffectiveScores:
        """Return the scores of a name, from what is kept of them where no other has come since."""
        known = self._logs.known_scores(view, project, name)
        if known is None:
            found = await self.scores(view, project, ScoreSelection(name=name))
            known = await to_thread.run_sync(EffectiveScores.of, found)
            self._logs.keep_scores(view, project, name, known)
        return known

    @property
    def _logs(self) -> LogFiles:
        assert self._log_files is not None, "open() comes before use"
        return self._log_files

    @holding
    async def search(self, view: View, project: str, search: TraceSearch) -> pa.Table:
        """Ask the newest rows first, and of the ledger as little as decides; see ``search`` and ``ordered``."""
        return await (await self._project(view, project, score_names(search.where))).search(search)

    @holding
    async def spans(
        self, view: View, project: str, selection: Selection, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> pa.Table:
        """Ask the newest rows first; see ``select``."""
        names = score_names(selection.spans) | score_names(selection.traces)
        return await (await self._project(view, project, names)).spans(selection, limit=limit, after=after)

    @holding
    async def values(
        self, view: View, project: str, field: Field, *, prefix: str = "", limit: int = 20
    ) -> Sequence[tuple[str, int]]:
        """Count the values in the newest parts; see ``suggest``."""
        return await (await self._suggestions(view, project)).values(field, prefix, limit)

    @holding
    async def attribute_keys(
        self, view: View, project: str, *, prefix: str = "", limit: int = 20
    ) -> Sequence[tuple[str, int]]:
        """Count the keys in the newest parts; see ``suggest``."""
        return await (await self._suggestions(view, project)).keys(prefix, limit)

    async def _suggestions(self, view: View, project: str) -> Suggestions:
        newest_parts = await self._parts.of_project(view, project)
        return Suggestions(self._sql, self._sources, self._parts, newest_parts)

    async def _project(self, view: View, project: str, scores: Collection[str]) -> ProjectSpans:
        by_now = ByNow(self._sources, view, project)

        async def versions(trace_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
            async def read(names: Sequence[str]) -> pa.Table:
                return await self.versions(view, project, trace_ids, columns=names)

            return await by_now.read(columns, read)

        async def fetch(part: Part, rows: Int64s, columns: Sequence[str]) -> pa.Table:
            async def read(names: Sequence[str]) -> pa.Table:
                return await self._rows_of_part(part, rows, names)

            return await by_now.read(columns, read)

        async def fetch_all(places: Sequence[tuple[Part, int]]) -> pa.Table:
            return await by_now.filled(await self._rows_of_parts(places), LIGHT.names)

        async def payloads(locations: Sequence[Location]) -> pa.Table:
            return await self.payload(view, locations)

        scored = ScoredRows({name: await self._effective(view, project, name) for name in scores}, fetch)
        return ProjectSpans(
            sql=self._sql,
            parts=await self._parts.of_project(view, project),
            ledger=await self._sources.of_project(view, project),
            scanner=RowScanner(self._sql, self._sources, self._parts, project, scored, by_now),
            scores=scored.by_name,
            dropped=lambda source: self._sources.dropped(view, source),
            versions=versions,
            payloads=payloads,
            fetch=fetch,
            read=fetch_all,
        )

    async def _rows_of_part(self, part: Part, rows: Int64s, columns: Sequence[str]) -> pa.Table:
        """Return columns of rows of a part, counted from 0 and ascending, and their ``LOCATION``."""
        if part.table is not None:
            return (
                part.table.select(list(columns))
                .take(pa.array(rows))
                .append_column(LOCATION[0], _repeated(part.source, len(rows)))
                .append_column(LOCATION[1], part.table["row"].take(pa.array(rows)))
                .cast(_schema(columns))
            )
        assert part.file is not None, "a part without a table is a file's"
        numbered = rows + part.first_row
        taken = await _take(await self._sources.rows(part.file, "light"), numbered, list(columns))
        located = [*taken.columns, _repeated(part.source, len(rows)), pa.array(numbered)]
        return pa.table(located, schema=_schema(columns))

    async def _rows_of_parts(self, places: Sequence[tuple[Part, int]]) -> pa.Table:
        """Return all columns of rows of parts, in the order given."""
        pieces = [_schema(LIGHT.names).empty_table()]
        order = np.zeros(len(places), np.int64)
        count = 0
        for part in dict.fromkeys(part for part, _ in places):
            own = sorted((row, i) for i, (p, row) in enumerate(places) if p is part)
            order[[i for _, i in own]] = count + np.arange(len(own))
            count += len(own)
            rows = np.array([row for row, _ in own], np.int64)
            pieces.append(await self._rows_of_part(part, rows, LIGHT.names))
        return pa.concat_tables(pieces).take(pa.array(order))

    @property
    def _parts(self) -> Parts:
        assert self._made_parts is not None, "open() comes before use"
        return self._made_parts

    @holding
    async def aggregate(self, view: View, project: str, aggregation: Aggregation) -> pa.Table:
        """Answer from roll-ups where they hold, and from rows elsewhere; see ``Analytics``."""
        named = asks_for_names(aggregation)
        names = _scores_of(aggregation)
        spans, parts = await self._spans_table(view, project, named=named), await self._project(view, project, names)
        aggregation = await self._with_known_scores(view, project, aggregation)
        return await self._analytics.aggregate(view, spans, parts, aggregation)

    async def _with_known_scores(self, view: View, project: str, question: Aggregation) -> Aggregation:
        """Look up the scores that a question asks for."""
        selection = question.selection
        known = {name: await self._effective(view, project, name) for name in _scores_of(question)}
        spans, traces = known_spans(selection.spans, known), known_traces(selection.traces, known)
        fields = tuple(known_field(field, known) for field in question.group_by)
        return replace(question, selection=replace(selection, spans=spans, traces=traces), group_by=fields)

    @holding
    async def owners(self, view: View, project: str, column: str, ranking: Ranking) -> pa.Table:
        """Look at the newest traces first; in another order, at the whole ledger."""
        return await self._analytics.owners(view, project, column, ranking)

    @holding
    async def owned(self, view: View, project: str, column: str, name: str) -> pa.Table:
        """Look the owner up in each run of the ledger."""
        return await self._analytics.owned(view, project, column, name)

    @property
    def _analytics(self) -> Analytics:
        assert self._opened_analytics is not None, "open() comes before use"
        return self._opened_analytics

    @property
    def _sources(self) -> SourceCache:
        assert self._opened is not None, "open() comes before use"
        return self._opened

    def _kept(self, view: View, source: str, rows: Int64s) -> Int64s:
        dropped = self._sources.dropped(view, source)
        return rows if dropped is None else rows[~np.isin(rows, dropped)]

    def _of_chunk(self, view: View, source: str, project: str, trace_ids: list[str], names: list[str]) -> pa.Table:
        whole = self._sources.chunk(view, source).rows
        mask = pc.is_in(whole["trace_id"], value_set=pa.array(trace_ids, pa.string()))
        rows = np.flatnonzero(np.asarray(pc.and_(mask, _is(whole["project"], project))))
        return _located(whole.select(names), source, self._kept(view, source, rows)).cast(_schema(names))

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
        light = await _take(reader, kept, read)
        known = {
            "project": _repeated(project, len(kept)),
            "trace_id": pa.array([t for *_, t in spans], pa.string()).take(pa.array(of_span)),
            "source": _repeated(source, len(kept)),
            "row": pa.array(kept),
        }
        schema = _schema(names)
        return pa.table([known[n] if n in known else light[n] for n in schema.names], schema=schema)

    async def _payload_of(self, view: View, source: str, rows: Int64s) -> pa.Table:
        file = self._sources.file(view, source)
        if file is None:
            return self._sources.chunk(view, source).rows.select(PAYLOAD.names).take(pa.array(rows)).cast(PAYLOAD)
        return await _take(await self._sources.rows(file, "payload"), rows, PAYLOAD.names)


def _scores_of(question: Aggregation) -> set[str]:
    selection = question.selection
    return score_names(selection.spans) | score_names(selection.traces) | scores_among(*question.group_by)


async def _take(rows_of: ObjectRows, rows: Int64s, names: list[str]) -> pa.Table:
    reader = await rows_of.at(rows)
    if len(rows) <= _INLINE_ROWS:
        return reader.take(rows, names)
    return await to_thread.run_sync(lambda: reader.twin().take(rows, names))


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([*(LIGHT.field(name) for name in names), *LOCATION])


def _located(table: pa.Table, source: str, rows: Int64s) -> pa.Table:
    taken = table if len(rows) == len(table) else table.take(pa.array(rows))
    located = [*taken.columns, _repeated(source, len(rows)), pa.array(rows)]
    return pa.table(located, schema=pa.schema([*table.schema, *LOCATION]))


def _rows_of_project(rows: pa.Table, project: str) -> Int64s:
    return np.flatnonzero(np.asarray(_is(rows["project"], project)))


def _is(column: pa.ChunkedArray, text: str) -> pa.ChunkedArray:
    return pc.equal(column, _text(text))


def _repeated(text: str, count: int) -> pa.Array:
    return pa.repeat(_text(text), count)


def _text(text: str) -> pa.Scalar:
    # Without a type pyarrow guesses one, and looks for pandas and dateutil on the disk each time.
    return pa.scalar(text, pa.string())
