"""Questions over many spans, and what is remembered between two of them."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from agenttrace_adapters.duckdb.aggregate import aggregate, asked_of
from agenttrace_adapters.duckdb.rollups import Rollup
from agenttrace_adapters.duckdb.sources import SourceCache, Sources
from agenttrace_adapters.duckdb.spans import SpansTable
from agenttrace_adapters.duckdb.sql import SqlRunner
from agenttrace_adapters.duckdb.trace_counts import Ledger
from agenttrace_core.model.algebra import Aggregation
from agenttrace_core.ports.index import View

_LEDGERS = 3
"""Projects, beside the one that is asked, whose ledgers are looked through and not forgotten yet."""


class Analytics:
    """Answers what is asked of many spans.

    Args:
        sql: runs DuckDB.
        sources: opens what views name.
    """

    def __init__(self, sql: SqlRunner, sources: SourceCache) -> None:
        self._sql = sql
        self._sources = sources
        self._ledgers: dict[str, Ledger] = {}

    async def aggregate(self, view: View, spans: SpansTable, question: Aggregation) -> pa.Table:
        """Answer from roll-ups where they hold, and from rows elsewhere."""
        sources = await self._sources.of_project(view, spans.project)
        rollups = await self._sources.rollups(view, spans.project)
        return await self._sql.work(self._aggregate, question, spans, sources, rollups)

    def _aggregate(
        self,
        connection: duckdb.DuckDBPyConnection,
        question: Aggregation,
        spans: SpansTable,
        sources: Sources,
        rollups: Sequence[Rollup],
    ) -> pa.Table:
        def ledger() -> Ledger:
            return self._ledger(spans.project, sources)

        return aggregate(connection, asked_of(question, spans, sources, rollups, ledger))

    def _ledger(self, project: str, sources: Sources) -> Ledger:
        """Return a project's ledger. Its files are looked through again only when others have taken their place."""
        known = self._ledgers.get(project)
        files = [id(run) for run in sources.files]
        if known is None or [id(run) for run in known.runs] != files:
            known = Ledger.of(sources.files)
            self._ledgers = {**dict(list(self._ledgers.items())[-_LEDGERS:]), project: known}
        return known.beside(sources.live)
