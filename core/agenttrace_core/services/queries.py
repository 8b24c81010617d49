"""The questions that a span index answers, or why it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import pyarrow as pa

from agenttrace_core.errors import UnsupportedError
from agenttrace_core.model.algebra import Aggregation, Selection, TraceSearch
from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.ports.index import LogQueries, SpanIndex, SpanQueries, View
from agenttrace_core.schema.tables import LOGS, SCORES


def queries_of(index: SpanIndex) -> SpanQueries:
    """Return the index's ability to answer questions; of one that has it not, one that says so when it is asked."""
    return index if isinstance(index, SpanQueries) else _NoQueries()


def logs_of(index: SpanIndex) -> LogQueries:
    """Return the index's ability to read log events; of one that has it not, one that finds none."""
    return index if isinstance(index, LogQueries) else _NoLogs()


class _NoLogs(LogQueries):
    async def log_records(
        self, view: View, project: str, trace_ids: Sequence[str], *, columns: Sequence[str] | None = None
    ) -> pa.Table:
        return LOGS.empty_table() if columns is None else LOGS.empty_table().select(list(columns))

    async def scores(
        self,
        view: View,
        project: str,
        wanted: ScoreSelection,
        *,
        limit: int | None = None,
        before: ScorePlace | None = None,
    ) -> pa.Table:
        return SCORES.empty_table()


class _NoQueries(SpanQueries):
    async def search(self, view: View, project: str, search: TraceSearch) -> pa.Table:
        _refuse()

    async def spans(
        self, view: View, project: str, selection: Selection, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> pa.Table:
        _refuse()

    async def aggregate(self, view: View, project: str, aggregation: Aggregation) -> pa.Table:
        _refuse()


def _refuse() -> NoReturn:
    raise UnsupportedError("the span index of this server lists the newest traces, and answers no questions")
