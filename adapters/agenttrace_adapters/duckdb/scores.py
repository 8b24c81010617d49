"""Scores in questions about spans: looked up first, and then conditions and texts of SQL over small tables of them.

A span's score by a name is its own newest, else its trace's newest (``query.score_match``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.algebra import (
    AllOf,
    And,
    AnyOf,
    Compare,
    Field,
    NoneOf,
    Not,
    Op,
    Or,
    Present,
    Related,
    Score,
    Some,
    SpanPredicate,
    TracePredicate,
    Value,
)
from agenttrace_core.query.score_match import ScoresByName
from agenttrace_core.query.scores import EffectiveScores
from agenttrace_core.schema.arrays import whole

KEY = "(trace_id || span_id)"
"""A span, among those of a project: both ids are of fixed length."""

Known = Mapping[str, EffectiveScores]


@dataclass(frozen=True, slots=True)
class KnownScore(Score):
    """A score whose values have been looked up."""

    found: EffectiveScores = field(kw_only=True, repr=False, compare=False)


def known_spans(predicate: SpanPredicate, known: Known) -> SpanPredicate:
    """Return a span predicate in which all scores, which are all in ``known``, are looked up."""
    match predicate:
        case And(of=parts):
            return And(tuple(known_spans(part, known) for part in parts))
        case Or(of=parts):
            return Or(tuple(known_spans(part, known) for part in parts))
        case Not(of=part):
            return Not(known_spans(part, known))
        case Compare() | Present():
            return replace(predicate, field=known_field(predicate.field, known))
        case _:
            return predicate


def known_traces(predicate: TracePredicate, known: Known) -> TracePredicate:
    """Do the same with a trace predicate."""
    match predicate:
        case AllOf(of=parts):
            return AllOf(tuple(known_traces(part, known) for part in parts))
        case AnyOf(of=parts):
            return AnyOf(tuple(known_traces(part, known) for part in parts))
        case NoneOf(of=part):
            return NoneOf(known_traces(part, known))
        case Some(span=span):
            return Some(known_spans(span, known))
        case Related(first=first, steps=steps):
            of_steps = tuple(replace(step, span=known_spans(step.span, known)) for step in steps)
            return Related(known_spans(first, known), of_steps)
        case _:
            return predicate


def known_field(asked: Field, known: Known) -> Field:
    """Return a field, looked up if it is a score."""
    return KnownScore(asked.name, found=known[asked.name]) if isinstance(asked, Score) else asked


@dataclass(frozen=True, slots=True)
class ScoreKeys:
    """What of spans and traces a condition is about, each a table of one column ``key``.

    ``holding`` are spans whose own score is as asked, ``own`` all spans that have one, ``traces`` those whose is.
    """

    holding: pa.Table
    own: pa.Table
    traces: pa.Table

    @classmethod
    def of(cls, score: KnownScore, op: Op | None, value: Value | None) -> ScoreKeys:
        """Find out which scores compare so; of any value, with ``op`` None."""
        spans, traces = score.found.of_spans, _as_spans(score.found.of_traces)
        holding = spans.filter(pa.array(_named(score).matches(spans, score.name, op, value)))
        of_traces = traces.filter(pa.array(_named(score, own=False).matches(traces, score.name, op, value)))
        return cls(_keyed(holding), _keyed(spans), of_traces.select(["trace_id"]).rename_columns(["key"]))


def told(score: KnownScore) -> tuple[pa.Table, pa.Table]:
    """Return what scores say as text, of spans and of traces, in tables with columns ``key`` and ``told``."""
    spans, traces = score.found.of_spans, _as_spans(score.found.of_traces)
    own = _keyed(spans).append_column("told", _named(score).texts(spans, score.name))
    of_traces = pa.table({"key": traces["trace_id"], "told": _named(score, own=False).texts(traces, score.name)})
    return own, of_traces


def _named(score: KnownScore, *, own: bool = True) -> ScoresByName:
    found = score.found if own else replace(score.found, of_spans=score.found.of_spans.slice(0, 0))
    return ScoresByName({score.name: found})


_NO_SPAN = "f" * 16


def _as_spans(traces: pa.Table) -> pa.Table:
    """Scores of traces in the place of spans that are none, as which their own are compared."""
    names = pa.array([_NO_SPAN] * len(traces), pa.string())
    return traces.set_column(traces.column_names.index("span_id"), "span_id", names)


def _keyed(spans: pa.Table) -> pa.Table:
    ids = (whole(spans[name]) for name in ("trace_id", "span_id"))
    return pa.table({"key": pc.binary_join_element_wise(*ids, pa.scalar("", pa.string()))})
