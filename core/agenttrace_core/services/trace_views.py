"""Views of one trace: its spans in pages, by time or as a tree, whole or in part, and what it is in few words."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from anyio import to_thread

from agenttrace_core.errors import NotFoundError
from agenttrace_core.model.ids import parse_span_id
from agenttrace_core.model.trace import AsOf, TraceSummary
from agenttrace_core.model.trace_detail import TraceDetail, TraceError
from agenttrace_core.ports.index import SpanIndex, View
from agenttrace_core.query.cursor import Cursors
from agenttrace_core.query.detail import detail_of, explaining_error
from agenttrace_core.query.places import place_of, row_at
from agenttrace_core.query.shape import TraceShape
from agenttrace_core.query.skew import clock_skew
from agenttrace_core.query.summary import summary_of
from agenttrace_core.schema.arrays import Bools, Int64s
from agenttrace_core.schema.keys import words_of_hex
from agenttrace_core.schema.tables import LIGHT, SCORES
from agenttrace_core.services.otlp_pieces import located, span_messages
from agenttrace_core.services.search_in_trace import matching
from agenttrace_core.services.trace_rows import behind, settled_rows
from agenttrace_core.services.view import Lag, Seen

# Some columns fewer are much of the time that a trace takes.
_UNSHOWN = {"partition", "offset", "position", "attributes", "more_attributes"}
_COLUMNS = tuple(name for name in LIGHT.names if name not in _UNSHOWN)
_SMALL_ROWS = 2_000
_KEPT_ROWS = 100_000
_KEPT_TRACES = 64
_LONGEST_MESSAGE = 1_000
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


@dataclass(frozen=True, slots=True)
class _Known:
    """A trace, read and understood."""

    rows: pa.Table
    shape: TraceShape
    skew: Int64s
    summary: TraceSummary
    detail: TraceDetail

    @classmethod
    def of(cls, rows: pa.Table) -> _Known:
        shape = TraceShape.of(rows)
        skew = clock_skew(rows, shape)
        return cls(rows, shape, skew, summary_of(rows), detail_of(rows, shape, skew))


class TraceViews:
    """Shows one trace.

    Args:
        index: finds and reads rows.
        cursor_key: the deployment's secret for cursors.
    """

    def __init__(self, index: SpanIndex, *, cursor_key: bytes) -> None:
        self._index = index
        self._cursors = Cursors(cursor_key)
        self._recent = _Recent()

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
        known = await self._known(seen, project, trace_id)
        sequence = await self._sequence(seen, project, trace_id, known, order, part)
        first = 0 if place is None else _first_after(known, sequence, order, place)
        shown = sequence[first : first + limit]
        next_cursor = None
        if first + limit < len(sequence):
            next_cursor = self._cursors.sign(project, question, place_of(known.rows, int(shown[-1])))
        return TracePage(known.summary, known.detail, _page(known, shown), len(sequence), next_cursor, seen.lag, as_of)

    async def _known(self, seen: Seen, project: str, trace_id: str) -> _Known:
        kept = self._recent.get(seen.view, project, trace_id)
        if kept is not None:
            return kept
        rows = await settled_rows(self._index, seen, project, trace_id, _COLUMNS)
        known = _Known.of(rows) if len(rows) <= _SMALL_ROWS else await to_thread.run_sync(_Known.of, rows)
        error = known.detail.error
        row = explaining_error(rows, known.shape)
        if error is not None and row is not None and (error.message is None or error.type is None):
            told = await self._told(seen.view, rows.slice(row, 1), error)
            known = replace(known, detail=replace(known.detail, error=told))
        self._recent.put(seen.view, project, trace_id, known)
        return known

    async def _told(self, view: View, row: pa.Table, error: TraceError) -> TraceError:
        """Take what the light row does not say of an error from the exception that the span recorded."""
        [(span, *_)] = span_messages(await self._index.payload(view, located(row)))
        told = _exception(span)
        return replace(error, type=error.type or told.get("type"), message=error.message or told.get("message"))

    async def _sequence(
        self, seen: Seen, project: str, trace_id: str, known: _Known, order: SpanOrder, part: Part
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


class _Recent:
    """The traces that were looked at last, as long as nothing new has come: whoever leafs through one asks again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], tuple[View, _Known]] = OrderedDict()

    def get(self, view: View, project: str, trace_id: str) -> _Known | None:
        kept = self._kept.get((project, trace_id))
        if kept is None or kept[0] is not view:
            return None
        self._kept.move_to_end((project, trace_id))
        return kept[1]

    def put(self, view: View, project: str, trace_id: str, known: _Known) -> None:
        self._kept[project, trace_id] = view, known
        self._kept.move_to_end((project, trace_id))
        for key in [key for key, (old, _) in self._kept.items() if old is not view]:
            del self._kept[key]
        while len(self._kept) > _KEPT_TRACES or sum(len(k.rows) for _, k in self._kept.values()) > _KEPT_ROWS:
            self._kept.popitem(last=False)


def _question(trace_id: str, order: SpanOrder, part: Part) -> str:
    return "\0".join([trace_id, order, *(str(getattr(part, name)) for name in ("parent", "subtree", "depth", "query"))])


def _wanted(known: _Known, part: Part, where: str) -> Bools:
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


def _page(known: _Known, shown: Int64s) -> pa.Table:
    shape = known.shape
    page = known.rows.select(_COLUMNS).take(pa.array(shown))
    for name, values in zip(
        TREE_FIELDS, (shape.orphan, shape.depth, shape.children, shape.descendants, known.skew), strict=True
    ):
        page = page.append_column(name, pa.array(values[shown]))
    return page


def _first_after(known: _Known, sequence: Int64s, order: SpanOrder, place: Sequence[int | str]) -> int:
    """Return the number in ``sequence`` of what comes after a place."""
    row = row_at(known.rows, place)
    ranks = known.shape.place if order is SpanOrder.TREE else np.arange(len(known.rows))
    return int(np.searchsorted(ranks[sequence], ranks[row], side="right"))


def _exception(span: Mapping[str, Any]) -> dict[str, str]:
    for event in span.get("events", ()):
        if event.get("name") == "exception":
            said = {a.get("key"): (a.get("value") or {}).get("stringValue") for a in event.get("attributes", ())}
            told = {name: said.get(f"exception.{name}") for name in ("type", "message")}
            return {name: text[:_LONGEST_MESSAGE] for name, text in told.items() if text}
    return {}
