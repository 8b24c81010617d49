"""Which of several scores counts: the last, by one total order, whatever order they came in.

A score replaces another that has the same *key*: the same id, within one trace (or, where no trace is
named, one session); or where no id was given, the same target, name and source. The target is the trace
or session, and the span or the response if one is named. The later by (time, partition, offset, position) counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.score import ScorePlace, ScoreSelection
from agenttrace_core.schema.arrays import Bools, Int64s, whole
from agenttrace_core.schema.tables import SCORES

PLACE = ("time_ns", "partition", "offset", "position")
"""What scores are ordered by."""

WITHOUT_ID = ("span_id", "response_id", "name", "source")
"""What else is a part of the key of a score that has no id."""

_EFFECTIVE = pa.schema([SCORES.field(name) for name in ("trace_id", "span_id", "value", "label")])


def settled(scores: pa.Table) -> pa.Table:
    """Return of each key the score that counts, newest first. ``scores`` is in the ``SCORES`` schema."""
    place = [whole(scores[name]).to_numpy() for name in PLACE]
    order = np.lexsort([*reversed(place), *_keys(scores)])
    last = _last_of_each([key[order] for key in _keys(scores)])
    counting = order[last]
    return scores.take(pa.array(counting[np.lexsort([-part[counting] for part in reversed(place)])]))


def selected(scores: pa.Table, wanted: ScoreSelection, before: ScorePlace | None = None) -> pa.Table:
    """Return those of settled scores that are wanted, and come after the place ``before`` in the list."""
    kept = np.ones(len(scores), np.bool_)
    for name, values in (("trace_id", wanted.trace_ids), ("session_id", wanted.session_ids)):
        if values is not None:
            kept &= _is_in(scores[name], values)
    if wanted.name is not None:
        kept &= _is_in(scores["name"], (wanted.name,))
    time = whole(scores["time_ns"]).to_numpy()
    if wanted.during.start_ns is not None:
        kept &= time >= wanted.during.start_ns
    if wanted.during.end_ns is not None:
        kept &= time < wanted.during.end_ns
    if before is not None:
        kept &= _is_below(scores, before)
    return scores.filter(pa.array(kept))


@dataclass(frozen=True, slots=True)
class EffectiveScores:
    """What each span's score is, by one name: its own newest, else its trace's newest.

    ``of_spans`` has a row a span (``trace_id``, ``span_id``, ``value``, ``label``), ``of_traces`` a row a trace
    (``span_id`` null). Scores of sessions, or of responses without a span, are no span's.
    """

    of_spans: pa.Table
    of_traces: pa.Table

    @classmethod
    def of(cls, scores: pa.Table) -> EffectiveScores:
        """Read them from the settled scores of one name."""
        scores = scores.filter(scores["trace_id"].is_valid())
        on_span = scores["span_id"].is_valid()
        on_trace = pc.and_(pc.invert(on_span), pc.invert(scores["response_id"].is_valid()))
        return cls(
            _newest(scores.filter(on_span), ("trace_id", "span_id")), _newest(scores.filter(on_trace), ("trace_id",))
        )


def _newest(scores: pa.Table, by: tuple[str, ...]) -> pa.Table:
    """The newest of those that agree in ``by``."""
    codes = [_codes(scores[name]) for name in by]
    place = [whole(scores[name]).to_numpy() for name in PLACE]
    order = np.lexsort([*reversed(place), *codes])
    last = order[_last_of_each([code[order] for code in codes])]
    return scores.select(_EFFECTIVE.names).take(pa.array(last))


def _keys(scores: pa.Table) -> list[Int64s]:
    no_trace = np.asarray(whole(scores["trace_id"].is_null()))
    no_id = np.asarray(whole(scores["id"].is_null()))
    codes = {name: _codes(scores[name]) for name in ("trace_id", "session_id", "id", *WITHOUT_ID)}
    return [
        codes["trace_id"],
        np.where(no_trace, codes["session_id"], -1),
        codes["id"],
        *(np.where(no_id, codes[name], -1) for name in WITHOUT_ID),
    ]


def _codes(column: pa.ChunkedArray) -> Int64s:
    """Numbers that are equal where the texts are; -1 is null."""
    encoded = whole(column).dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy().astype(np.int64)


def _last_of_each(keys: list[Int64s]) -> Int64s:
    """Where, in ordered rows, the last of those with equal keys are."""
    last = np.ones(len(keys[0]), np.bool_)
    if len(last):
        last[:-1] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.flatnonzero(last)


def _is_in(column: pa.ChunkedArray, values: tuple[str, ...]) -> Bools:
    return np.asarray(whole(pc.is_in(column, value_set=pa.array(values, pa.string()))))


def _is_below(scores: pa.Table, before: ScorePlace) -> Bools:
    below, same = np.zeros(len(scores), np.bool_), np.ones(len(scores), np.bool_)
    for name in PLACE:
        numbers, bound = whole(scores[name]).to_numpy(), getattr(before, name)
        below |= same & (numbers < bound)
        same &= numbers == bound
    return below
