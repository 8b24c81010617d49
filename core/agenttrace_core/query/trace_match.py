"""Which traces satisfy a trace predicate: over their sums, and over the light rows of all their spans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.model.algebra import (
    AllOf,
    AnyOf,
    NoneOf,
    Related,
    Some,
    SpanPredicate,
    Step,
    TraceCompare,
    TraceField,
    TracePredicate,
)
from agenttrace_core.model.trace import AsOf, TraceState
from agenttrace_core.query.compare import number_matches, text_matches
from agenttrace_core.query.evaluate import Payloads, Scores, matches, needed_columns
from agenttrace_core.query.relations import RELATION_COLUMNS, Family
from agenttrace_core.query.values import columns_of
from agenttrace_core.schema.arrays import Bools, Int64s, numbers, whole
from agenttrace_core.schema.keys import hex_strings, words_of_hex


def match_traces(
    sums: pa.Table,
    rows: pa.Table,
    predicate: TracePredicate,
    *,
    as_of: AsOf | None = None,
    payloads: Payloads | None = None,
    scores: Scores | None = None,
    undecided: bool = False,
) -> Bools:
    """Return which traces satisfy a predicate.

    Args:
        sums: ``TRACES`` rows, one a trace of one project.
        rows: the light rows of all their spans, in any order, with ``trace_id`` and the columns of
            ``needed_of_traces``. Rows of other traces are passed over.
        predicate: what is asked.
        as_of: what states are judged by.
        payloads: as in ``evaluate.matches``.
        scores: as in ``evaluate.matches``.
        undecided: as in ``evaluate.matches``.

    Raises:
        InvalidInputError: a value can't be compared with its field, or a regular expression is none.
        UnsupportedError: scores are asked for, and not given.
    """
    return _TraceEvaluation(sums, rows, as_of, payloads, scores).of(predicate, undecided=undecided)


def needed_of_traces(predicate: TracePredicate) -> set[str]:
    """Return the columns of ``LIGHT`` that the rows of traces need, to be evaluated on; none if sums are enough."""
    match predicate:
        case AllOf(of=parts) | AnyOf(of=parts):
            return set().union(*map(needed_of_traces, parts))
        case NoneOf(of=part):
            return needed_of_traces(part)
        case Some(span=span):
            return {"trace_id", *needed_columns(span)}
        case Related(first=first, steps=steps):
            return {*RELATION_COLUMNS, *needed_columns(first)}.union(*map(_needed_of_step, steps))
        case TraceCompare():
            return set()


def compare_sums(sums: pa.Table, compared: TraceCompare, as_of: AsOf | None) -> Bools:
    """Return which traces compare so, by their ``TRACES`` rows alone.

    Raises:
        InvalidInputError: the value can't be compared with the field.
    """
    field, op, value = compared.field, compared.op, compared.value
    if field is TraceField.DURATION_NS:
        found = numbers(sums, "end_ns") - numbers(sums, "start_ns")
        return number_matches(found, np.ones(len(sums), np.bool_), op, value)
    if field is TraceField.COST_USD:
        return number_matches(numbers(sums, "cost_pico_usd"), np.ones(len(sums), np.bool_), op, value, money=True)
    if field in _TEXTS:
        return text_matches(_TEXTS[field](sums, as_of), op, str(value))
    return number_matches(numbers(sums, field.value), np.ones(len(sums), np.bool_), op, value)


def states(sums: pa.Table, as_of: AsOf) -> pa.Array:
    """Return whether each trace is running, complete or broken, as ``AsOf.state`` judges one."""
    runs = numbers(sums, "running") > 0
    has_root = np.asarray(whole(sums["has_root"]))
    silent = as_of.now_ns - numbers(sums, "received_ns") > as_of.broken_after_ns
    rootless = np.where(silent, TraceState.BROKEN.value, TraceState.RUNNING.value)
    found = np.where(runs, TraceState.RUNNING.value, np.where(has_root, TraceState.COMPLETE.value, rootless))
    return pa.array(found, pa.string())


class _TraceEvaluation:
    def __init__(
        self, sums: pa.Table, rows: pa.Table, as_of: AsOf | None, payloads: Payloads | None, scores: Scores | None
    ) -> None:
        self._sums = sums
        self._rows = rows
        self._as_of = as_of
        self._payloads = payloads
        self._scores = scores
        self._place: Int64s | None = None
        self._family: Family | None = None

    def of(self, predicate: TracePredicate, *, undecided: bool) -> Bools:
        match predicate:
            case AllOf(of=parts):
                found = np.ones(len(self._sums), np.bool_)
                for part in parts:
                    found &= self.of(part, undecided=undecided)
                return found
            case AnyOf(of=parts):
                found = np.zeros(len(self._sums), np.bool_)
                for part in parts:
                    found |= self.of(part, undecided=undecided)
                return found
            case NoneOf(of=part):
                return ~self.of(part, undecided=not undecided)
            case TraceCompare():
                return compare_sums(self._sums, predicate, self._as_of)
            case Some(span=span):
                return self._traces_of(self._spans(span, undecided=undecided))
            case Related():
                self._family = self._family or Family(self._rows)
                ends = self._family.ends_of(predicate, lambda span: self._spans(span, undecided=undecided))
                return self._traces_of(ends)

    def _spans(self, span: SpanPredicate, *, undecided: bool) -> Bools:
        return matches(self._rows, span, payloads=self._payloads, scores=self._scores, undecided=undecided)

    def _traces_of(self, rows: Bools) -> Bools:
        """Return which traces have one of some rows."""
        if self._place is None:
            self._place = _places(self._sums, self._rows)
        found = np.zeros(len(self._sums) + 1, np.bool_)
        found[self._place[rows]] = True
        return found[:-1]


def _places(sums: pa.Table, rows: pa.Table) -> Int64s:
    """Return for each row which of the traces it is of; one more than the last where it is of none."""
    ids = np.column_stack([numbers(sums, "trace_hi"), numbers(sums, "trace_lo")])
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    known = _sortable(ids[order])
    sought = _sortable(words_of_hex(whole(rows["trace_id"]), 16))
    place = np.minimum(np.searchsorted(known, sought), max(len(known) - 1, 0))
    if not len(known):
        return np.zeros(len(sought), np.int64)
    found: Int64s = np.where(known[place] == sought, order[place], len(sums))
    return found


def _sortable(words: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, Any]:
    """Return pairs of numbers as single values that sort as they do: 16 bytes, the greatest first."""
    return np.ascontiguousarray(words.astype(">u8")).view("S16").reshape(-1)


def _needed_of_step(step: Step) -> set[str]:
    return needed_columns(step.span).union(*map(columns_of, step.same))


def _ids(sums: pa.Table, _: AsOf | None) -> pa.Array:
    words = np.column_stack([numbers(sums, "trace_hi"), numbers(sums, "trace_lo")])
    return hex_strings(np.ascontiguousarray(words.astype(">u8")).view(np.uint8).reshape(-1), 16)


def _states(sums: pa.Table, as_of: AsOf | None) -> pa.Array:
    if as_of is None:
        raise InvalidInputError("trace.state can be asked for only with the moment that it is to be judged by")
    return states(sums, as_of)


def _statuses(sums: pa.Table, _: AsOf | None) -> pa.Array:
    return pa.array(np.where(numbers(sums, "errors") > 0, "error", "ok"), pa.string())


_TEXTS: dict[TraceField, Callable[[pa.Table, AsOf | None], pa.Array]] = {
    TraceField.NAME: lambda sums, _: whole(sums["name"]),
    TraceField.SERVICE: lambda sums, _: whole(sums["service"]),
    TraceField.ID: _ids,
    TraceField.STATE: _states,
    TraceField.STATUS: _statuses,
}
