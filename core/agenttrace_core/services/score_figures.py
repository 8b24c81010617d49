"""Scores by time and by any dimension of the spans that they are of: how many, their mean, least and greatest.

Each score counts once: that of a span with the span, that of a trace with the trace's root. Scores are few
beside spans, so that the spans are looked up for the scores, and added up here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import pyarrow as pa
from anyio import to_thread

from agenttrace_core.errors import LimitExceededError
from agenttrace_core.model.algebra import Aggregation, And, Field, Present, Score, Selection
from agenttrace_core.model.principal import Principal
from agenttrace_core.model.score import ScoreSelection
from agenttrace_core.ports.index import LogQueries, SpanQueries, View
from agenttrace_core.query.buckets import bucket_edges, floor_to
from agenttrace_core.query.dimensions import dimension_names
from agenttrace_core.query.score_match import ScoresByName, scores_among
from agenttrace_core.query.scores import EffectiveScores
from agenttrace_core.query.settle import effective_start
from agenttrace_core.query.values import group_keys
from agenttrace_core.services.view import Lag, Views

MAX_SCORES = 100_000
MAX_SPANS = 200_000
_PAGE = 10_000
_FIGURES = (("scores", pa.int64()), ("mean", pa.float64()), ("min", pa.float64()), ("max", pa.float64()))

_Key = tuple[int | None, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class ScoreFigures:
    """Rows by bucket and dimensions: ``bucket`` if asked, a column a dimension, ``scores``, ``mean``, ``min``, ``max``.

    ``scores`` counts those that have a value or a label; the others are of their values, null where none has one.
    """

    rows: pa.Table
    lag: Lag


@dataclass(slots=True)
class _Group:
    count: int = 0
    values: list[float] = field(default_factory=list[float])


class ScoreFiguresService:
    """Answers one project's questions about many scores.

    Args:
        views: what is readable.
        spans: finds the spans.
        scores: finds the scores.
    """

    def __init__(self, views: Views, spans: SpanQueries, scores: LogQueries) -> None:
        self._views = views
        self._spans = spans
        self._scores = scores

    async def answer(self, principal: Principal, name: str, question: Aggregation) -> ScoreFigures:
        """Return the figures of the scores of one name, of the spans that the question selects.

        Of the question, its selection, dimensions and bucket are answered.

        Raises:
            InvalidInputError: a dimension, bucket or expression is none.
            LimitExceededError: there are too many scores, or spans of traces with scores.
        """
        dims = dimension_names(question.group_by)
        seen = await self._views.look()
        view, project = seen.view, principal.project
        given = await self._scores.scores(view, project, ScoreSelection(name=name), limit=MAX_SCORES + 1)
        if len(given) > MAX_SCORES:
            raise LimitExceededError(f"there are more than {MAX_SCORES:,} scores of that name")
        groups: dict[_Key, _Group] = {}
        if len(given):
            asked = scores_among(*question.group_by)
            others = ScoresByName({n: EffectiveScores.of(await self._named(view, project, n)) for n in asked})
            rows = await self._rows(view, project, question.selection, name)
            groups = await to_thread.run_sync(_groups, rows, given, question, others)
        return ScoreFigures(_table(groups, dims, bucketed=question.bucket is not None), seen.lag)

    async def _named(self, view: View, project: str, name: str) -> pa.Table:
        return await self._scores.scores(view, project, ScoreSelection(name=name))

    async def _rows(self, view: View, project: str, selection: Selection, name: str) -> pa.Table:
        """The selected spans that have a score, or whose trace has."""
        scored = replace(selection, spans=And((selection.spans, Present(Score(name)))))
        pages: list[pa.Table] = []
        after: tuple[int, str, str] | None = None
        while True:
            page = await self._spans.spans(view, project, scored, limit=_PAGE, after=after)
            pages.append(page)
            if sum(map(len, pages)) > MAX_SPANS:
                raise LimitExceededError(
                    f"more than {MAX_SPANS:,} spans are in traces with scores of that name: ask for a shorter time"
                )
            if len(page) < _PAGE:
                return pa.concat_tables(pages).combine_chunks()
            last = page.slice(len(page) - 1)
            after = (int(effective_start(last)[0]), last["trace_id"][0].as_py(), last["span_id"][0].as_py())


def _by_target(scores: pa.Table) -> Mapping[tuple[str, str | None], list[Mapping[str, Any]]]:
    """Scores by trace and span; of the trace itself under no span."""
    found: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
    columns = ["trace_id", "span_id", "response_id", "value", "label"]
    for score in scores.select(columns).to_pylist():
        if score["trace_id"] is not None and (score["span_id"] is not None or score["response_id"] is None):
            found.setdefault((score["trace_id"], score["span_id"]), []).append(score)
    return found


def _groups(rows: pa.Table, given: pa.Table, question: Aggregation, others: ScoresByName) -> dict[_Key, _Group]:
    """Add up the scores of each group. Takes its time: call it off the event loop."""
    scores = _by_target(given)
    dims = [_keys(rows, by, others) for by in question.group_by]
    starts = effective_start(rows)
    buckets: list[int | None] = [None] * len(rows)
    if question.bucket is not None and len(rows):
        edges = bucket_edges(question.bucket, int(starts.min()), int(starts.max()))
        buckets = floor_to(starts, edges).tolist()
    groups: dict[_Key, _Group] = {}
    for i, span in enumerate(rows.select(["trace_id", "span_id", "parent_span_id"]).to_pylist()):
        for score in _scores_of(span, scores):
            for of in product(*(column[i] for column in dims)):
                group = groups.setdefault((buckets[i], of), _Group())
                group.count += 1
                if score["value"] is not None:
                    group.values.append(score["value"])
    return groups


def _scores_of(
    span: Mapping[str, Any], scores: Mapping[tuple[str, str | None], list[Mapping[str, Any]]]
) -> Iterator[Mapping[str, Any]]:
    yield from scores.get((span["trace_id"], span["span_id"]), ())
    if span["parent_span_id"] is None:
        yield from scores.get((span["trace_id"], None), ())


def _keys(rows: pa.Table, by: Field, others: ScoresByName) -> list[list[str | None]]:
    if isinstance(by, Score):
        return [[text] for text in others.texts(rows, by.name).to_pylist()]
    return group_keys(rows, by)


def _table(groups: Mapping[_Key, _Group], dims: tuple[str, ...], *, bucketed: bool) -> pa.Table:
    """By bucket, then those with the most scores first."""
    order = sorted(groups, key=lambda key: (key[0] or 0, -groups[key].count, [(d is None, d or "") for d in key[1]]))
    columns: dict[str, pa.Array] = {}
    if bucketed:
        columns["bucket"] = pa.array([key[0] for key in order], pa.int64())
    for i, dim in enumerate(dims):
        columns[dim] = pa.array([key[1][i] for key in order], pa.string())
    figures = [_figures(groups[key]) for key in order]
    columns |= {name: pa.array([row[i] for row in figures], of) for i, (name, of) in enumerate(_FIGURES)}
    return pa.table(columns)


def _figures(group: _Group) -> tuple[int, float | None, float | None, float | None]:
    values = group.values
    if not values:
        return group.count, None, None, None
    # The exact sum, rounded once: it does not depend on the order that the scores are found in.
    return group.count, math.fsum(values) / len(values), min(values), max(values)
