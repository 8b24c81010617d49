"""Spans by their scores: the ``Scores`` of ``query.evaluate``, over what ``query.scores`` says that counts."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.algebra import (
    AllOf,
    And,
    AnyOf,
    Compare,
    Contains,
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
    TraceCompare,
    TracePredicate,
    Value,
)
from agenttrace_core.query.compare import text_matches
from agenttrace_core.query.scores import EffectiveScores
from agenttrace_core.schema.arrays import Bools, Int64s, whole
from agenttrace_core.schema.keys import words_of_hex

_COMPARES = {Op.EQ: operator.eq, Op.LT: operator.lt, Op.LE: operator.le, Op.GT: operator.gt, Op.GE: operator.ge}
_AS_NUMBER = {"true": 1.0, "false": 0.0}


class ScoresByName:
    """The score of each span by a name: its own, else its trace's.

    Args:
        scores: by name, what counts; a name that is not there has no scores.
    """

    def __init__(self, scores: Mapping[str, EffectiveScores]) -> None:
        self._scores = scores

    def matches(self, rows: pa.Table, name: str, op: Op | None, value: Value | None) -> Bools:
        """Return which rows have a score of that name that compares so; of any value, with ``op`` None.

        A number is compared with the score's value, a text with its label; true and false with either.
        """
        found = self._of(rows, name)
        if found is None:
            return np.zeros(len(rows), np.bool_)
        values, labels = found
        if op is None or value is None:
            return np.asarray(pc.or_(values.is_valid(), labels.is_valid()))
        if isinstance(value, bool):
            value = "true" if value else "false"
        if isinstance(value, str):
            as_number = _AS_NUMBER.get(value) if op is Op.EQ else None
            as_value = np.zeros(len(rows), np.bool_) if as_number is None else _compared(values, op, as_number)
            return text_matches(labels, op, value) | as_value
        return _compared(values, op, float(value))

    def texts(self, rows: pa.Table, name: str) -> pa.Array:
        """Return what rows are grouped by: the label of their score of that name, else its value, else null."""
        found = self._of(rows, name)
        if found is None:
            return pa.nulls(len(rows), pa.string())
        values, labels = found
        told = pa.array([None if v is None else str(v) for v in values.to_pylist()], pa.string())
        return pc.coalesce(labels, told)

    def _of(self, rows: pa.Table, name: str) -> tuple[pa.Array, pa.Array] | None:
        """Return value and label of each row's score; None where nothing has one of that name."""
        scores = self._scores.get(name)
        if scores is None:
            return None
        both = pa.concat_tables([scores.of_spans, scores.of_traces])
        if not len(both):
            return None
        trace, span = words_of_hex(whole(rows["trace_id"]), 16), words_of_hex(whole(rows["span_id"]), 8)
        of_span = _place(_words(scores.of_spans), np.column_stack([trace, span]))
        of_trace = _place(words_of_hex(whole(scores.of_traces["trace_id"]), 16), trace)
        place = np.where(of_span >= 0, of_span, np.where(of_trace >= 0, of_trace + len(scores.of_spans), -1))
        taken = pa.array(np.where(place >= 0, place, 0), mask=place < 0)
        return whole(both["value"]).take(taken), whole(both["label"]).take(taken)


def score_names(predicate: SpanPredicate | TracePredicate) -> set[str]:
    """Return the names of the scores that a predicate asks for."""
    match predicate:
        case And(of=parts) | Or(of=parts) | AllOf(of=parts) | AnyOf(of=parts):
            return set().union(*map(score_names, parts))
        case Not(of=part) | NoneOf(of=part) | Some(span=part):
            return score_names(part)
        case Related(first=first, steps=steps):
            return score_names(first).union(*(score_names(step.span) for step in steps))
        case Compare(field=field) | Present(field=field):
            return scores_among(field)
        case Contains() | TraceCompare():
            return set()


def scores_among(*fields: Field) -> set[str]:
    """Return the names of those of some fields that are scores."""
    return {field.name for field in fields if isinstance(field, Score)}


def _compared(values: pa.Array, op: Op, value: float) -> Bools:
    found = np.asarray(_COMPARES[op](values.fill_null(0.0).to_numpy(), value), np.bool_)
    known: Bools = found & np.asarray(values.is_valid())
    return known


def _words(scores: pa.Table) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.column_stack([words_of_hex(whole(scores["trace_id"]), 16), words_of_hex(whole(scores["span_id"]), 8)])


def _place(known: np.ndarray[Any, Any], sought: np.ndarray[Any, Any]) -> Int64s:
    """Return where each of the keys sought, rows of numbers, is among those known; -1 where it is not."""
    if not len(known):
        return np.full(len(sought), -1, np.int64)
    keys, wanted = _sortable(known), _sortable(sought)
    order = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    return np.where(keys[order][place] == wanted, order[place], -1)


def _sortable(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return rows of numbers as single values that are equal and sort as they do."""
    return np.ascontiguousarray(words.astype(">u8")).view(f"S{8 * words.shape[1]}").reshape(-1)
