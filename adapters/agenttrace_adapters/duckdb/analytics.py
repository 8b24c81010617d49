"""Questions over many spans, and what is remembered between two of them."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa
from anyio import to_thread

from agenttrace_adapters.duckdb.aggregate import aggregate, asked_of, check
from agenttrace_adapters.duckdb.chosen import Chosen, chosen
from agenttrace_adapters.duckdb.ledgers import Ledgers
from agenttrace_adapters.duckdb.owners import Owners, all_owners, is_newest_first, newest_of
from agenttrace_adapters.duckdb.questions import ProjectSpans
from agenttrace_adapters.duckdb.rollups import Rollup
from agenttrace_adapters.duckdb.sources import SourceCache, Sources
from agenttrace_adapters.duckdb.spans import SpansTable
from agenttrace_adapters.duckdb.sql import SqlRunner
from agenttrace_adapters.duckdb.trace_counts import Ledger
from agenttrace_core.model.algebra import Aggregation, Ranking
from agenttrace_core.ports.index import View
from agenttrace_core.query.ranking import check_ranking


class Analytics:
    """Answers what is asked of many spans.

    Args:
        sql: runs DuckDB.
        sources: opens what views name.
        ledgers: knows which traces stand in several places.
        rollups: whether roll-ups are asked.
    """

    def __init__(self, sql: SqlRunner, sources: SourceCache, ledgers: Ledgers, *, rollups: bool) -> None:
        self._uses_rollups = rollups
        self._sql = sql
        self._sources = sources
        self._ledgers = ledgers
        self._owners = Owners()

    async def aggregate(self, view: View, spans: SpansTable, project: ProjectSpans, question: Aggregation) -> pa.Table:
        """Answer from roll-ups where they hold, and from rows elsewhere."""
        check(question)
        narrowed = await chosen(project, question.selection)
        sources = await self._sources.of_project(view, spans.project)
        rollups = await self._sources.rollups(view, spans.project) if self._uses_rollups else []
        return await self._sql.work(self._aggregate, question, spans, sources, rollups, narrowed)

    async def owners(self, view: View, project: str, column: str, ranking: Ranking) -> pa.Table:
        """Page through the owners of traces."""
        check_ranking(ranking)
        sources = await self._sources.of_project(view, project)
        if is_newest_first(ranking):
            return await to_thread.run_sync(self._newest_owners, project, sources, column, ranking)
        return await self._sql.work(self._all_owners, project, sources, column, ranking)

    async def owned(self, view: View, project: str, column: str, name: str) -> pa.Table:
        """Return the traces of an owner, newest first."""
        sources = await self._sources.of_project(view, project)
        names = pa.array([name], pa.string())
        return await to_thread.run_sync(self._owned, project, sources, column, names)

    def _all_owners(
        self,
        connection: duckdb.DuckDBPyConnection,
        project: str,
        sources: Sources,
        column: str,
        ranking: Ranking,
    ) -> pa.Table:
        return all_owners(connection, self._ledger(project, sources), column, ranking)

    def _newest_owners(self, project: str, sources: Sources, column: str, ranking: Ranking) -> pa.Table:
        ledger = self._ledger(project, sources)
        self._owners.forget(ledger.runs)
        return self._owners.newest(sources, ledger, column, ranking)

    def _owned(self, project: str, sources: Sources, column: str, names: pa.Array) -> pa.Table:
        ledger = self._ledger(project, sources)
        self._owners.forget(ledger.runs)
        return newest_of(self._owners.owned(ledger, column, names))

    def _ledger(self, project: str, sources: Sources) -> Ledger:
        """Return a project's ledger with its corrections."""
        return self._ledgers.of(project, sources).beside(sources.corrections)

    def _aggregate(
        self,
        connection: duckdb.DuckDBPyConnection,
        question: Aggregation,
        spans: SpansTable,
        sources: Sources,
        rollups: Sequence[Rollup],
        narrowed: Chosen,
    ) -> pa.Table:
        def ledger() -> Ledger:
            return self._ledgers.of(spans.project, sources)

        return aggregate(connection, asked_of(question, spans, sources, rollups, narrowed, ledger))
