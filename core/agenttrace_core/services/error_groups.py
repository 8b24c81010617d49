"""Errors by kind: exception type, message with its variable parts taken out, and the span that raised it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from agenttrace_core.model.algebra import And, Column, Compare, Field, Interval, Measure, Op, Ranking, Selection
from agenttrace_core.model.principal import Principal
from agenttrace_core.ports.index import SpanQueries
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.ranking import place_value
from agenttrace_core.services.entities import ranked
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
        self._views = views
        self._index = index
        self._cursors = Cursors(cursor_key)

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
        # The moment by which states are judged is each page's own.
        question = repr(("error_groups", replace(selection, as_of=None), sort, descending))
        place = None if cursor is None else self._cursors.open(cursor, principal.project, question)
        during = selection.during
        end = during.end_ns if place is None else int(place[0])
        failed = replace(selection, spans=And((_FAILED, selection.spans)), during=Interval(during.start_ns, end))
        after = None if place is None else (place[1], *(_unmarked(str(text)) for text in place[2:]))
        ranking = Ranking(failed, _GROUP_BY, _MEASURES, sort, descending, named=False, limit=limit + 1, after=after)
        pinned = time.time_ns() if end is None else end
        seen = await self._views.look()
        rows = (await ranked(self._index, seen.view, principal.project, ranking)).to_pylist()
        items = tuple(_group_of(row) for row in rows[:limit])
        if len(rows) <= limit:
            return ErrorGroupList(items, None, seen.lag)
        last = rows[limit - 1]
        dims = (_marked(last[f"dim{i}"]) for i in range(len(_GROUP_BY)))
        next_place: tuple[int | str, ...] = (pinned, place_value(last[sort]), *dims)
        return ErrorGroupList(items, self._cursors.sign(principal.project, question, next_place), seen.lag)


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


def _marked(text: str | None) -> str:
    """Write a text that may be none as one, for a cursor."""
    return "" if text is None else f"={text}"


def _unmarked(text: str) -> str | None:
    return text[1:] if text else None
