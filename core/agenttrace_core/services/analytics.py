"""Usage, latency, errors and cost: by time, by up to three dimensions, and beside the period before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pyarrow as pa

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import ADDITIVE, DISTINCT, Aggregation, Bucket, Interval, Measure
from agenttrace_core.model.principal import Principal
from agenttrace_core.ports.index import SpanQueries
from agenttrace_core.query.buckets import bucket_edges, check_bucket
from agenttrace_core.query.dimensions import dimension_names
from agenttrace_core.query.known_costs import known_costs
from agenttrace_core.services.view import Lag, Views

MAX_TOP = 1000


class Kind(StrEnum):
    """The questions that have a name."""

    USAGE = "usage"
    LATENCY = "latency"
    ERRORS = "errors"
    COST = "cost"


MEASURES: Mapping[Kind, tuple[Measure, ...]] = {
    Kind.USAGE: (
        Measure.SPANS, Measure.TRACES, Measure.ERRORS, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS,
        Measure.CACHE_READ_TOKENS, Measure.CACHE_WRITE_TOKENS, Measure.REASONING_TOKENS, Measure.COST_USD,
        Measure.UNPRICED,
    ),
    Kind.LATENCY: (
        Measure.SPANS, Measure.P50_NS, Measure.P95_NS, Measure.P99_NS, Measure.MEAN_NS, Measure.TTFC_P50_NS,
        Measure.TTFC_P95_NS, Measure.OUTPUT_TOKENS_PER_S,
    ),
    Kind.ERRORS: (Measure.SPANS, Measure.TRACES, Measure.ERRORS),
    Kind.COST: (
        Measure.SPANS, Measure.TRACES, Measure.INPUT_TOKENS, Measure.OUTPUT_TOKENS, Measure.COST_USD,
        Measure.GIVEN_COST_USD, Measure.COST_DIFFERENCE_USD, Measure.UNPRICED,
    ),
}  # fmt: skip
"""What each of them tells of a group, in the order of the columns; a cost of which no part is known is null."""

_TOP_BY = {
    Kind.USAGE: Measure.SPANS, Kind.LATENCY: Measure.SPANS, Kind.ERRORS: Measure.ERRORS, Kind.COST: Measure.COST_USD,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Analysis:
    """The answer: a row a group.

    ``rows`` has the columns ``bucket_ns`` (if asked), ``dimensions``, ``other`` (if there is a ``top``), and
    ``measures``; if compared also ``previous_`` and each measure, null where the period before has nothing.
    ``during`` is the time it is of.
    """

    rows: pa.Table
    dimensions: tuple[str, ...]
    measures: tuple[Measure, ...]
    during: Interval
    compared: bool
    lag: Lag


class AnalyticsService:
    """Answers one project's questions about many spans.

    Args:
        views: what is readable.
        index: answers them.
    """

    def __init__(self, views: Views, index: SpanQueries) -> None:
        self._views = views
        self._index = index

    async def answer(
        self, principal: Principal, question: Aggregation, *, kind: Kind | None = None, compare_previous: bool = False
    ) -> Analysis:
        """Answer a question; of a ``kind``, its measures (where none are given) and what ``top`` goes by are known.

        Raises:
            InvalidInputError: a dimension, bucket, time zone or expression is none, or the answer would be too long.
        """
        if kind is not None and not question.measures:
            question = replace(question, measures=MEASURES[kind], top_by=_TOP_BY[kind])
        during = _checked(question, compare_previous)
        names = dimension_names(question.group_by)
        question = replace(question, selection=replace(question.selection, during=during))
        seen = await self._views.look()
        rows = await self._index.aggregate(seen.view, principal.project, question)
        if compare_previous:
            before = _period_before(question, rows)
            previous = await self._index.aggregate(seen.view, principal.project, before)
            rows = _compared(question, rows, before, previous)
        rows = known_costs(known_costs(rows), "previous_")
        shown = [name for name in rows.column_names if name != "other" or question.top is not None]
        rows = rows.select(shown)
        rows = rows.rename_columns([names[int(n[3:])] if n.startswith("dim") else n for n in rows.column_names])
        return Analysis(rows, names, question.measures, during, compare_previous, seen.lag)


def _checked(question: Aggregation, compare_previous: bool) -> Interval:
    """Return the time that is asked, which ends now at the latest if it has no end."""
    if question.top is not None and not 1 <= question.top <= MAX_TOP:
        raise InvalidInputError(f"top: a number from 1 to {MAX_TOP}, not {question.top}")
    start, end = question.selection.during.start_ns, question.selection.during.end_ns
    if start is not None and end is not None and start >= end:
        raise InvalidInputError("end: must be later than start")
    if compare_previous and start is None:
        raise InvalidInputError("compare: the period before needs a start")
    end = time.time_ns() if end is None and start is not None else end
    if start is not None and end is not None and start >= end:
        raise InvalidInputError("start: must not lie in the future")
    if question.bucket is not None:
        check_bucket(question.bucket)
        if start is not None and end is not None:
            bucket_edges(question.bucket, start, end - 1)
    return Interval(start, end)


def _period_before(question: Aggregation, rows: pa.Table) -> Aggregation:
    during = question.selection.during
    assert during.start_ns is not None, "checked before"
    assert during.end_ns is not None, "checked before"
    length = during.end_ns - during.start_ns
    selection = replace(question.selection, during=Interval(during.start_ns - length, during.start_ns))
    if question.top is None:
        return replace(question, selection=selection)
    groups = dict.fromkeys(dims for dims, other in zip(_dimensions(rows), rows["other"].to_pylist(), strict=True)
                           if not other)  # fmt: skip
    return replace(question, selection=selection, top=None, groups=tuple(groups))


def _compared(question: Aggregation, rows: pa.Table, before: Aggregation, previous: pa.Table) -> pa.Table:
    """Put the groups of the period before beside those of this one, bucket by bucket."""
    own, theirs = _keys(question, rows), _keys(before, previous)
    places = {key: row for row, key in enumerate(theirs)}
    lonely = pa.array([row for key, row in places.items() if key not in set(own)], pa.int64())
    taken = pa.array([places.get(key) for key in own], pa.int64())
    both = pa.concat_tables(
        [_joined(question, rows, previous.take(taken)), _only_before(question, before, previous.take(lonely))]
    )
    order = [(name, "ascending") for name in ("bucket_ns",) if name in both.column_names]
    return both.sort_by(order) if order and len(lonely) else both


def _joined(question: Aggregation, rows: pa.Table, previous: pa.Table) -> pa.Table:
    for measure in question.measures:
        rows = rows.append_column(f"previous_{measure}", previous[measure])
    return rows


def _only_before(question: Aggregation, before: Aggregation, previous: pa.Table) -> pa.Table:
    """Groups that this period has not: nothing was counted of them."""
    columns = {name: previous[name] for name in previous.column_names}
    if "bucket_ns" in columns:
        ours = _edges(question)
        places = {edge: min(i, len(ours) - 1) for i, edge in enumerate(_edges(before))}
        moved = pa.array([ours[places[edge]] for edge in previous["bucket_ns"].to_pylist()], pa.int64())
        columns["bucket_ns"] = pa.chunked_array([moved])
    for measure in question.measures:
        nothing = 0 if measure in ADDITIVE | DISTINCT else None
        type_ = previous[measure].type
        columns[measure] = pa.chunked_array([pa.array([nothing] * len(previous), type_)], type_)
    return _joined(question, pa.table(columns), previous)


def _keys(question: Aggregation, rows: pa.Table) -> list[tuple[Any, ...]]:
    """Return what a row is found by in the other period: how many buckets after its start, and its group."""
    groups = list(zip(rows["other"].to_pylist(), _dimensions(rows), strict=True))
    if question.bucket is None:
        return [(0, *group) for group in groups]
    places = {edge: i for i, edge in enumerate(_edges(question))}
    return [(places[bucket], *group) for bucket, group in zip(rows["bucket_ns"].to_pylist(), groups, strict=True)]


def _edges(question: Aggregation) -> list[int]:
    during = question.selection.during
    bucket: Bucket | None = question.bucket
    assert bucket is not None, "asked for rows by bucket only"
    assert during.start_ns is not None, "checked before"
    assert during.end_ns is not None, "checked before"
    found: list[int] = bucket_edges(bucket, during.start_ns, during.end_ns - 1).tolist()
    return found[:-1]


def _dimensions(rows: pa.Table) -> list[tuple[str | None, ...]]:
    columns = [rows[name].to_pylist() for name in rows.column_names if name.startswith("dim")]
    return list(zip(*columns, strict=True)) if columns else [()] * len(rows)
