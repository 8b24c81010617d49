"""The span index of one machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from agenttrace_adapters.duckdb.arrivals import arrivals
from agenttrace_adapters.duckdb.by_now import ByNow
from agenttrace_adapters.duckdb.grams import TextBlocks
from agenttrace_adapters.duckdb.located import placed
from agenttrace_adapters.duckdb.log_rows import LogRows
from agenttrace_adapters.duckdb.masks import RowScanner
from agenttrace_adapters.duckdb.objects import holding
from agenttrace_adapters.duckdb.parts import Part
from agenttrace_adapters.duckdb.predicates import texts_of_all
from agenttrace_adapters.duckdb.questions import ProjectSpans
from agenttrace_adapters.duckdb.scored import ScoredRows
from agenttrace_adapters.duckdb.scores import known_field, known_spans, known_traces
from agenttrace_adapters.duckdb.span_rows import SpanRows
from agenttrace_adapters.duckdb.spans import AMENDED, SpansTable
from agenttrace_adapters.duckdb.suggest import Suggestions
from agenttrace_adapters.duckdb.trace_names import NAMED, asks_for_names
from agenttrace_core.model.algebra import Aggregation, Field, Ranking, Selection, TraceSearch
from agenttrace_core.model.principal import check_project
from agenttrace_core.ports.index import (
    Arrivals,
    FieldValues,
    IndexCapabilities,
    Location,
    SpanQueries,
    SqlIndex,
    TraceOwners,
    UsesCache,
    View,
)
from agenttrace_core.query.score_match import score_names, scores_among
from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.tables import LIGHT, LIGHT_ROWS, LOCATION


class DuckDBIndex(SpanRows, LogRows, Arrivals, SqlIndex, SpanQueries, TraceOwners, FieldValues, UsesCache):
    """Finds traces in mapped tables of their ids, reads rows with pyarrow, and answers questions and SQL with DuckDB.

    Args: see ``OpenedIndex``.
    """

    @property
    def capabilities(self) -> IndexCapabilities:
        """SQL and questions, by DuckDB."""
        return IndexCapabilities(sql=True, queries=True)

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
        parts = await self._parts.of_project(view, project)
        live = [placed(part.table, part.source) for part in reversed(parts) if part.table is not None]
        live_rows = pa.concat_tables([pa.schema([*LIGHT_ROWS, *LOCATION]).empty_table(), *live])
        changes = (await self._sources.of_project(view, project)).changes
        amended = pa.concat_tables([AMENDED.empty_table(), *(await self._sources.amended(view, project)).values()])
        names = await self._sources.names(view, project) if named else None
        return SpansTable(check_project(project), paths, dropped, amended, changes.amend(live_rows), names)

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
        texts = TextBlocks(self._sources, is_used=self._grams)
        ledger = await self._sources.of_project(view, project)
        return ProjectSpans(
            sql=self._sql,
            parts=await self._parts.of_project(view, project),
            ledger=ledger,
            looked_through=lambda: self._ledgers.of(project, ledger).beside(ledger.corrections),
            scanner=RowScanner(self._sql, self._sources, self._parts, project, scored, by_now, texts),
            scores=scored.by_name,
            dropped=lambda source: self._sources.dropped(view, source),
            versions=versions,
            payloads=payloads,
            fetch=fetch,
            read=fetch_all,
        )

    @holding
    async def aggregate(self, view: View, project: str, aggregation: Aggregation) -> pa.Table:
        """Answer from roll-ups where they hold, and from rows elsewhere; see ``Analytics``."""
        named = asks_for_names(aggregation)
        names = _scores_of(aggregation)
        spans, parts = await self._spans_table(view, project, named=named), await self._project(view, project, names)
        spans = await self._narrowed(view, spans, texts_of_all(aggregation.selection.spans))
        aggregation = await self._with_known_scores(view, project, aggregation)
        return await self._analytics.aggregate(view, spans, parts, aggregation)

    async def _narrowed(self, view: View, spans: SpansTable, texts: Sequence[str]) -> SpansTable:
        """Leave out what cannot hold all of some texts."""
        if not texts:
            return spans
        plain = sorted(spans.paths.keys() - spans.touched())
        files = [file for source in plain if (file := self._sources.file(view, source)) is not None]
        asked = await TextBlocks(self._sources, is_used=self._grams).asked(files, *texts)
        return replace(spans, narrowed=[([str(file.id) for file in a.files], a.condition) for a in asked])

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


def _scores_of(question: Aggregation) -> set[str]:
    selection = question.selection
    return score_names(selection.spans) | score_names(selection.traces) | scores_among(*question.group_by)
