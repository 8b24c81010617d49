"""The port ``LogQueries``: log records of traces, and scores."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from anyio import to_thread

from agenttrace_adapters.duckdb.located import take_rows
from agenttrace_adapters.duckdb.logs import live_records, live_scores, query_scores
from agenttrace_adapters.duckdb.objects import holding
from agenttrace_adapters.duckdb.opened import OpenedIndex
from agenttrace_core.model.principal import check_project
from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.ports.index import LogQueries, View
from agenttrace_core.query.scores import EffectiveScores, selected, settled
from agenttrace_core.schema.log_files import SCORED_COLUMNS, scores_of
from agenttrace_core.schema.tables import LOGS


class LogRows(OpenedIndex, LogQueries):
    """Finds log records by trace id, and settles scores with DuckDB."""

    @holding
    async def log_records(
        self, view: View, project: str, trace_ids: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Find the rows by trace id, and decode the row groups that hold them, if there are any."""
        names = LOGS.names if columns is None else list(columns)
        wanted = pa.array(sorted(set(trace_ids)), pa.string())
        pieces = [pa.schema([LOGS.field(name) for name in names]).empty_table()]
        for file, rows in await self._logs.rows_of(view, project, trace_ids):
            pieces.append(await take_rows(await self._sources.rows(file, "records"), rows, names))
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
