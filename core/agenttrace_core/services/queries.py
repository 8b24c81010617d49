"""The questions that a span index answers, or why it does not."""

from __future__ import annotations

from typing import NoReturn

import pyarrow as pa

from agenttrace_core.errors import UnsupportedError
from agenttrace_core.model.algebra import Aggregation, Selection, TraceSearch
from agenttrace_core.ports.index import SpanIndex, SpanQueries, View


def queries_of(index: SpanIndex) -> SpanQueries:
    """Return the index's ability to answer questions; of one that has it not, one that says so when it is asked."""
    return index if isinstance(index, SpanQueries) else _NoQueries()


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
