"""Views of one trace: its spans in pages, by time or as a tree, whole or in part, and what it is in few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pyarrow as pa

from agenttrace_core.errors import NotFoundError
from agenttrace_core.model.ids import parse_span_id
from agenttrace_core.model.trace import AsOf, TraceSummary
from agenttrace_core.model.trace_detail import TraceDetail
from agenttrace_core.ports.index import SpanIndex
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.places import place_of, row_at
from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.schema.keys import words_of_hex
from agenttrace_core.schema.tables import SCORES
from agenttrace_core.services.known_traces import SHOWN_COLUMNS, Known, KnownTraces
from agenttrace_core.services.search_in_trace import matching
from agenttrace_core.services.trace_rows import behind
from agenttrace_core.services.view import Lag, Seen

TREE_FIELDS = ("orphan", "depth", "children", "descendants", "skew_ns")
"""What a page says of each span beside the columns of ``LIGHT``."""


class SpanOrder(StrEnum):
    """In which order spans come."""

    START = "start"
    """By start, then span id."""
    TREE = "tree"
    """Parents before children, siblings by start."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which spans of a trace are asked for: all of them, unless one of these says less.

    Attributes:
        parent: only those right below this span.
        subtree: only this span, and all below it.
        depth: only so many levels, counted from 0: the tops, or what ``parent`` or ``subtree`` begins with.
        query: only those that this query selects.
    """

    parent: str | None = None
    subtree: str | None = None
    depth: int | None = None
    query: str = ""


WHOLE = Part()


@dataclass(frozen=True, slots=True)
class TracePage:
    """A page of a trace's spans.

    ``spans`` holds the columns of ``LIGHT`` but those of the arrival, and ``TREE_FIELDS``. ``summary`` and
    ``detail`` are of the whole trace; ``matched`` is how many spans are asked for in all. ``scores`` are the
    newest that count of the trace and its spans, in the ``SCORES`` schema.
    """

    summary: TraceSummary
    detail: TraceDetail
    spans: pa.Table
    matched: int
    next_cursor: str | None
    lag: Lag
    as_of: AsOf
    scores: pa.Table = field(default_factory=SCORES.empty_table)


class TraceViews:
    """Shows one trace.

    Args:
        index: finds and reads rows.
        traces: reads and understands them.
        cursor_key: the deployment's secret for cursors.
    """

    def __init__(self, index: SpanIndex, traces: KnownTraces, *, cursor_key: bytes) -> None:
        self._index = index
        self._traces = traces
        self._cursors = Cursors(cursor_key)

    async def page(
        self, seen: Seen, project: str, trace_id: str, as_of: AsOf, *, limit: int, cursor: str | None = None,
        order: SpanOrder = SpanOrder.START, part: Part = WHOLE,
    ) -> TracePage:  # fmt: skip
        """Return a page of the spans that ``part`` asks for.

        Raises:
            NotFoundError: the project has no such trace, or the trace no such span.
            InvalidInputError: ``cursor`` was not given for this question, or an id is none.
            QueryError: the query is none.
        """
        question = _question(trace_id, order, part)
        place = None if cursor is None else self._cursors.open(cursor, project, question)
        known = await self._traces.known(seen, project, trace_id)
        sequence = await self._sequence(seen, project, trace_id, known, order, part)
        first = 0 if place is None else _first_after(known, sequence, order, place)
        shown = sequence[first : first + limit]
        next_cursor = None
        if first + limit < len(sequence):
            next_cursor = self._cursors.sign(project, question, place_of(known.rows, int(shown[-1])))
        return TracePage(known.summary, known.detail, _page(known, shown), len(sequence), next_cursor, seen.lag, as_of)

    async def _sequence(
        self, seen: Seen, project: str, trace_id: str, known: Known, order: SpanOrder, part: Part
    ) -> Int64s:
        """Return the rows that are asked for, in order."""
        sequence = known.shape.order if order is SpanOrder.TREE else np.arange(len(known.rows))
        if part == WHOLE:
            return sequence
        wanted = _wanted(known, part, f"in trace {trace_id}{behind(seen.lag)}")
        if part.query:
            wanted &= await matching(self._index, seen, project, trace_id, part.query)
        chosen: Int64s = sequence[wanted[sequence]]
        return chosen


def _question(trace_id: str, order: SpanOrder, part: Part) -> str:
    return "\0".join([trace_id, order, *(str(getattr(part, name)) for name in ("parent", "subtree", "depth", "query"))])


def _wanted(known: Known, part: Part, where: str) -> Bools:
    shape, count = known.shape, len(known.rows)
    wanted = np.ones(count, np.bool_)
    level = np.zeros(count, np.int64)
    if part.parent is not None:
        above = _rows_of(known.rows, part.parent, where)
        wanted &= (shape.parent >= 0) & above[shape.parent]
        level = np.where(wanted, shape.depth, 0)
    if part.subtree is not None:
        heads = np.flatnonzero(_rows_of(known.rows, part.subtree, where))
        # What is below a row takes the places after its own.
        inside = np.zeros(count + 1, np.int64)
        np.add.at(inside, shape.place[heads], 1)
        np.add.at(inside, shape.place[heads] + shape.descendants[heads] + 1, -1)
        wanted &= (np.cumsum(inside)[:-1] > 0)[shape.place]
        level = np.full(count, int(shape.depth[heads].min()))
    if part.depth is not None:
        wanted &= shape.depth - level <= part.depth
    return wanted


def _rows_of(rows: pa.Table, span_id: str, where: str) -> Bools:
    span_id = parse_span_id(span_id)
    found: Bools = words_of_hex(rows["span_id"].combine_chunks(), 8)[:, 0] == np.uint64(int(span_id, 16))
    if not found.any():
        raise NotFoundError(f"no span {span_id} {where}")
    return found


def _page(known: Known, shown: Int64s) -> pa.Table:
    shape = known.shape
    page = known.rows.select(SHOWN_COLUMNS).take(pa.array(shown))
    for name, values in zip(
        TREE_FIELDS, (shape.orphan, shape.depth, shape.children, shape.descendants, known.skew), strict=True
    ):
        page = page.append_column(name, pa.array(values[shown]))
    return page


def _first_after(known: Known, sequence: Int64s, order: SpanOrder, place: Sequence[int | str]) -> int:
    """Return the number in ``sequence`` of what comes after a place."""
    row = row_at(known.rows, place)
    ranks = known.shape.place if order is SpanOrder.TREE else np.arange(len(known.rows))
    return int(np.searchsorted(ranks[sequence], ranks[row], side="right"))
