"""Errors by kind: exception type, message with its variable parts taken out, and the span that raised it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from agenttrace_core.model.algebra import And, Column, Compare, Field, Measure, Op, Ranking, Selection
from agenttrace_core.model.principal import Principal
from agenttrace_core.ports.index import SpanQueries, View
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.services.ranked_pages import RankedPages, ranked
from agenttrace_core.services.view import Lag, Views

_FAILED = Compare(Column("status"), Op.EQ, "error")
_GROUP_BY: tuple[Field, ...] = (Column("error_type"), Column("error_group"), Column("name"))
_MEASURES = (
    Measure.SPANS, Measure.TRACES, Measure.USERS, Measure.SESSIONS, Measure.FIRST_NS, Measure.LAST_NS, Measure.NEWEST,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failed spans of one kind.

    ``message`` is what their messages have in common, ``name`` the name of the spans. ``first_ns`` and
    ``last_ns`` are starts of spans; ``trace_id`` and ``span_id`` are of the one that started last. ``traces``,
    ``users`` and ``sessions`` are how many of each were met by it.
    """

    type: str | None
    message: str | None
    name: str
    count: int
    traces: int
    users: int
    sessions: int
    first_ns: int
    last_ns: int
    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class ErrorGroupList:
    """A page of kinds of errors. ``next_cursor`` is None on the last."""

    items: tuple[ErrorGroup, ...]
    next_cursor: str | None
    lag: Lag


class ErrorGroupService:
    """Groups a project's failed spans.

    Args:
        views: what is readable.
        index: groups the spans.
        cursor_key: the deployment's secret for cursors.
    """

    def __init__(self, views: Views, index: SpanQueries, *, cursor_key: bytes) -> None:
        self._index = index
        self._pages = RankedPages(views, Cursors(cursor_key))

    async def list(
        self,
        principal: Principal,
        *,
        selection: Selection | None = None,
        sort: Measure = Measure.SPANS,
        descending: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> ErrorGroupList:
        """Return a page of the kinds of errors among the selected spans, the most frequent first.

        A cursor pins the time up to which spans are seen: later pages fit the first.

        Raises:
            InvalidInputError: they cannot be sorted so, or ``cursor`` is not one of this list.
        """
        selection = selection or Selection()
        failed = replace(selection, spans=And((_FAILED, selection.spans)))
        ranking = Ranking(failed, _GROUP_BY, _MEASURES, sort, descending, named=False, limit=limit)

        async def answer(view: View, asked: Ranking) -> pa.Table:
            return await ranked(self._index, view, principal.project, asked)

        page = await self._pages.page(principal.project, "error_groups", ranking, answer, cursor)
        items = tuple(_group_of(row) for row in page.rows.to_pylist())
        return ErrorGroupList(items, page.next_cursor, page.lag)


def _group_of(row: dict[str, Any]) -> ErrorGroup:
    trace_id, _, span_id = row[Measure.NEWEST].partition("/")
    return ErrorGroup(
        type=row["dim0"],
        message=row["dim1"],
        name=row["dim2"],
        count=row[Measure.SPANS],
        traces=row[Measure.TRACES],
        users=row[Measure.USERS],
        sessions=row[Measure.SESSIONS],
        first_ns=row[Measure.FIRST_NS],
        last_ns=row[Measure.LAST_NS],
        trace_id=trace_id,
        span_id=span_id,
    )
