"""Searches, for traces and for spans, in the query language."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from agenttrace_core.model.algebra import Interval, Selection, TraceOrder, TraceSearch
from agenttrace_core.model.principal import Principal
from agenttrace_core.model.trace import TracePosition, TraceSummary
from agenttrace_core.ports.index import SpanIndex, SpanQueries
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.language import parse_spans, parse_traces
from agenttrace_core.query.summary import summaries_of
from agenttrace_core.services.queries import queries_of
from agenttrace_core.services.read import ReadService, TraceList
from agenttrace_core.services.view import Lag, Seen

_ALWAYS = Interval()
_END_OF_TIME = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Found:
    """A page of spans: ``rows`` are light rows (``LIGHT``), newest first. ``next_cursor`` is None on the last."""

    rows: pa.Table
    next_cursor: str | None
    lag: Lag


class AskService:
    """Answers one project's questions from one view each.

    Args:
        read: what is readable, and how the state of a trace is judged.
        index: answers. One that is no ``SpanQueries`` lists traces, and no more.
        cursor_key: the deployment's secret for cursors.
    """

    def __init__(self, read: ReadService, index: SpanIndex, *, cursor_key: bytes) -> None:
        self._read = read
        self._index = index
        self._queries = queries_of(index)
        self._cursors = Cursors(cursor_key)

    async def traces(
        self,
        principal: Principal,
        query: str = "",
        *,
        during: Interval = _ALWAYS,
        order: TraceOrder = TraceOrder.START,
        descending: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> TraceList:
        """Return a page of the traces that start within ``during`` and that ``query`` selects, in order.

        A list that goes on by cursor is of the traces that had begun when its first page was asked for.

        Raises:
            QueryError: ``query`` is none.
            InvalidInputError: ``cursor`` was not given by this list to this project.
        """
        project = principal.project
        question = _question("traces", query, during, order, descending)
        where = parse_traces(query)
        after, until = self._place(cursor, project, question)
        as_of = self._read.as_of()
        asked = TraceSearch(where, _until(during, until), order, descending, limit + 1, after, as_of)
        seen = await self._read.view()
        sums = await self._search(seen, project, asked)
        items = summaries_of(sums.slice(0, limit))
        next_cursor = None
        if len(sums) > limit:
            if until is None:
                until = await self._bound(seen, project, asked)
            place = (*_position(items[-1], order), until)
            next_cursor = self._cursors.sign(project, question, place)
        return TraceList(items, next_cursor, seen.lag, as_of)

    async def spans(
        self, principal: Principal, query: str = "", *, during: Interval = _ALWAYS, limit: int = 50,
        cursor: str | None = None,
    ) -> Found:  # fmt: skip
        """Return a page of the spans that start within ``during`` and that ``query`` selects, newest first.

        Raises:
            QueryError: ``query`` is none.
            InvalidInputError: ``cursor`` was not given by this list to this project.
        """
        project = principal.project
        question = _question("spans", query, during)
        selection = replace(select(query, during), as_of=self._read.as_of())
        after = None if cursor is None else tuple(self._cursors.open(cursor, project, question))
        seen = await self._read.view()
        rows = await self._queries.spans(seen.view, project, selection, limit=limit + 1, after=after)  # type: ignore[arg-type]
        page = rows.slice(0, limit)
        next_cursor = self._cursors.sign(project, question, _span_position(page)) if len(rows) > limit else None
        return Found(page, next_cursor, seen.lag)

    async def _search(self, seen: Seen, project: str, asked: TraceSearch) -> pa.Table:
        """Every index can list the newest traces; only what asks for more needs one that searches."""
        if isinstance(self._index, SpanQueries) or asked != TraceSearch(
            limit=asked.limit, after=asked.after, as_of=asked.as_of
        ):
            return await self._queries.search(seen.view, project, asked)
        before = None if asked.after is None else TracePosition(*asked.after[1:])
        return await self._index.traces(seen.view, project, limit=asked.limit, before=before)

    def _place(self, cursor: str | None, project: str, question: str) -> tuple[tuple[int, int, str] | None, int | None]:
        if cursor is None:
            return None, None
        value, start_ns, trace_id, until = self._cursors.open(cursor, project, question)
        return (int(value), int(start_ns), str(trace_id)), int(until)

    async def _bound(self, seen: Seen, project: str, asked: TraceSearch) -> int:
        """Return a time before which all traces begin that are in the list now, and after which new ones will."""
        if asked.order is TraceOrder.START and asked.descending:
            return _END_OF_TIME  # what begins later is above every place in the list
        newest = await self._search(seen, project, replace(asked, order=TraceOrder.START, descending=True, limit=1))
        starts: list[int] = newest["start_ns"].to_pylist()
        return max([self._read.as_of().now_ns, *(start + 1 for start in starts)])


def select(query: str, during: Interval) -> Selection:
    """Return what a query selects of the spans that start within ``during``.

    Raises:
        QueryError: it is no query.
    """
    spans, traces = parse_spans(query)
    return Selection(spans, traces, during)


def _question(kind: str, query: str, during: Interval, *more: object) -> str:
    """Name a question, so that a cursor is good for that one alone."""
    return "\0".join(map(str, (kind, during.start_ns, during.end_ns, *more, query)))


def _until(during: Interval, until: int | None) -> Interval:
    ends = [end for end in (during.end_ns, until) if end is not None and end != _END_OF_TIME]
    return Interval(during.start_ns, min(ends, default=None))


def _position(item: TraceSummary, order: TraceOrder) -> tuple[int, int, str]:
    value = {
        TraceOrder.START: item.start_ns,
        TraceOrder.DURATION: item.duration_ns,
        TraceOrder.COST: item.cost_pico_usd,
        TraceOrder.TOKENS: item.input_tokens + item.output_tokens,
    }[order]
    return value, item.start_ns, item.trace_id


def _span_position(page: pa.Table) -> tuple[int, str, str]:
    """Return the place of the last row. A span without a start stands where it was received."""
    last = page.slice(len(page) - 1).select(["start_ns", "received_ns", "trace_id", "span_id"]).to_pylist()[0]
    start = last["received_ns"] if last["start_ns"] is None else last["start_ns"]
    return int(start), str(last["trace_id"]), str(last["span_id"])
