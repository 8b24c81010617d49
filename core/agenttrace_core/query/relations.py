"""Which traces have spans that stand in a relation: paths of spans, found step by step over the rows of many traces.

What counts of a path is only where it may have come to: the spans that end one. Each step maps that set
to the next, in time that grows with the rows (times their logarithm), whatever the shape of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.model.algebra import Field, Related, Relation, SpanPredicate
from agenttrace_core.query.settle import effective_start
from agenttrace_core.query.values import keys_of
from agenttrace_core.schema.arrays import Bools, Int64s, whole
from agenttrace_core.schema.keys import words_of_hex

_NEVER = np.iinfo(np.int64).max

RELATION_COLUMNS = ("trace_id", "span_id", "parent_span_id", "kind", "start_ns", "received_ns", "duration_ns")
"""What of ``LIGHT`` relations are read from, beside the fields that are to agree."""


class Family:
    """How the spans of some traces stand to one another.

    Args:
        rows: all light rows of whole traces, with ``RELATION_COLUMNS``.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._trace = _codes(words_of_hex(whole(rows["trace_id"]), 16))
        self._parent = _parents(rows, self._trace)
        self._siblings = _sibling_groups(rows, self._trace)
        self._start = effective_start(rows)
        self._end = _ends(rows, self._start)

    def ends_of(self, path: Related, satisfied: Callable[[SpanPredicate], Bools]) -> Bools:
        """Return the rows at which a path ends. ``satisfied`` says which rows satisfy a span predicate."""
        reached = satisfied(path.first)
        for step in path.steps:
            reached = self._stand(step.relation, reached, self._agreeing(step.same)) & satisfied(step.span)
        return reached

    def _stand(self, relation: Relation, of: Bools, agreeing: Int64s) -> Bools:
        """Return the rows that stand so to one of some others, and agree with it."""
        match relation:
            case Relation.CHILD:
                return self._children(of, agreeing)
            case Relation.DESCENDANT:
                return self._descendants(of, agreeing)
            case Relation.SIBLING:
                return self._siblings_of(of, agreeing)
            case Relation.LATER:
                return self._later(of, agreeing)

    def _agreeing(self, same: Sequence[Field]) -> Int64s:
        """Number the rows by trace and the values of fields: those of one number agree. -1 where a value is missing."""
        if not same:
            return self._trace
        columns = [keys_of(self._rows, field).dictionary_encode().indices for field in same]
        codes = np.column_stack([self._trace, *(column.fill_null(-1).to_numpy() for column in columns)])
        numbered = _codes(codes)
        numbered[(codes < 0).any(axis=1)] = -1
        return numbered

    def _children(self, of: Bools, agreeing: Int64s) -> Bools:
        has = self._parent >= 0
        found: Bools = has & of[self._parent] & (agreeing[self._parent] == agreeing) & (agreeing >= 0)
        return found

    def _descendants(self, of: Bools, agreeing: Int64s) -> Bools:
        """Among rows that agree, in the order of a walk: below another if one entered before is left after.

        Intervals of a walk over trees nest, so that of all entered before the latest to be left tells it.
        """
        enter, leave = _walk(self._parent)
        size = 2 * len(of) + 2
        rows = np.flatnonzero(agreeing >= 0)
        rows = rows[np.lexsort((enter[rows], agreeing[rows]))]
        base = agreeing[rows] * size
        open_until = np.maximum.accumulate(base + np.where(of[rows], leave[rows], 0))
        found = np.zeros(len(of), np.bool_)
        found[rows[1:]] = open_until[:-1] > (base + enter[rows])[1:]
        return found

    def _siblings_of(self, of: Bools, agreeing: Int64s) -> Bools:
        groups = _codes(np.column_stack([self._siblings, agreeing]))
        can = (self._siblings >= 0) & (agreeing >= 0)
        count = np.bincount(groups[of & can], minlength=len(groups) or 1)[groups]
        found: Bools = can & (count - (of & can) > 0)
        return found

    def _later(self, of: Bools, agreeing: Int64s) -> Bools:
        """Start at or after the end of another row: of a group's two earliest ends, one is another row's."""
        can = of & (agreeing >= 0) & (self._end != _NEVER)
        rows = np.flatnonzero(can)
        rows = rows[np.lexsort((self._end[rows], agreeing[rows]))]
        first = np.ones(len(rows), np.bool_)
        first[1:] = agreeing[rows[1:]] != agreeing[rows[:-1]]
        second = np.zeros(len(rows), np.bool_)
        second[1:] = first[:-1] & ~first[1:]
        size = int(agreeing.max(initial=-1)) + 1
        earliest, owner, next_earliest = np.full(size, _NEVER), np.full(size, -1), np.full(size, _NEVER)
        earliest[agreeing[rows[first]]], owner[agreeing[rows[first]]] = self._end[rows[first]], rows[first]
        next_earliest[agreeing[rows[second]]] = self._end[rows[second]]
        found = np.zeros(len(of), np.bool_)
        asked = np.flatnonzero(agreeing >= 0)
        group = agreeing[asked]
        bound = np.where(owner[group] == asked, next_earliest[group], earliest[group])
        found[asked] = (self._start[asked] >= bound) & (bound != _NEVER)
        return found


def _parents(rows: pa.Table, trace: Int64s) -> Int64s:
    """Return the row of each row's parent, -1 where it is not there. A circle of parents has none.

    Of two spans that share an id (Zipkin's client and server), the server is the parent.
    """
    ids = words_of_hex(whole(rows["span_id"]), 8)[:, 0]
    serves = np.asarray(pc.equal(whole(rows["kind"]), "server"))
    named = whole(rows["parent_span_id"])
    has = np.asarray(named.is_valid())
    wanted = np.zeros(len(rows), np.uint64)
    wanted[has] = words_of_hex(named.drop_null(), 8)[:, 0]
    order = np.lexsort((serves, ids, trace))
    # Among (trace, id), sorted: the last place at which the parent could stand.
    both = np.concatenate([np.column_stack([trace[order].astype(np.uint64), ids[order]]),
                           np.column_stack([trace.astype(np.uint64), wanted])])  # fmt: skip
    codes = _codes(both)
    known, sought = codes[: len(rows)], codes[len(rows) :]
    place = np.searchsorted(known, sought, side="right") - 1
    found = has & (place >= 0) & (known[place] == sought)
    parent = np.where(found, order[place], -1)
    return _without_circles(parent)


def _without_circles(parent: Int64s) -> Int64s:
    above = parent.copy()
    for _ in range(max(1, len(parent)).bit_length()):
        above = np.where(above >= 0, above[above], -1)
    parent[above[above >= 0]] = -1
    return parent


def _walk(parent: Int64s) -> tuple[Int64s, Int64s]:
    """Return when a walk over all trees, depth first, enters and leaves each row.

    An Euler tour, whose places are found by pointers that double their reach (Tarjan and Vishkin, 1985):
    a tree of any depth takes as many rounds as the logarithm of its size.
    """
    size = len(parent)
    order = np.lexsort((np.arange(size), parent))
    is_next = np.zeros(size, np.bool_)
    is_next[1:] = parent[order[1:]] == parent[order[:-1]]
    # Entering a row is event i, leaving it is event size + i, and the end of the walk is event 2 * size.
    following = np.append(np.arange(size) + size, np.append(np.where(parent >= 0, parent + size, 2 * size), 2 * size))
    followed = np.flatnonzero(is_next)
    following[size + order[followed - 1]] = order[followed]
    firsts = order[~is_next]
    below = firsts[parent[firsts] >= 0]
    following[parent[below]] = below
    to_go = np.ones(2 * size + 1, np.int64)
    to_go[-1] = 0
    for _ in range((2 * size + 1).bit_length()):
        to_go += to_go[following]
        following = following[following]
    place = to_go[0:].max(initial=0) - to_go
    return place[:size] + 1, place[size : 2 * size] + 1


def _sibling_groups(rows: pa.Table, trace: Int64s) -> Int64s:
    """Number the rows by trace and the parent that they name; -1 where they name none."""
    encoded = whole(rows["parent_span_id"]).dictionary_encode().indices.fill_null(-1).to_numpy()
    groups = _codes(np.column_stack([trace, encoded]))
    groups[encoded < 0] = -1
    return groups


def _ends(rows: pa.Table, start: Int64s) -> Int64s:
    duration = whole(rows["duration_ns"])
    ended = np.asarray(duration.is_valid())
    # Within what 64 bits hold, whatever a sender claims.
    end = np.clip(start.astype(np.float64) + duration.fill_null(0).to_numpy(), -9e18, 9e18)
    exact = start + duration.fill_null(0).to_numpy()
    return np.where(ended, np.where(np.abs(end) < 9e18, exact, end.astype(np.int64)), _NEVER)


def _codes(keys: np.ndarray[tuple[int, int], np.dtype[np.int64] | np.dtype[np.uint64]]) -> Int64s:
    """Number rows of keys by their order: equal rows have equal numbers."""
    if not len(keys):
        return np.zeros(0, np.int64)
    order = np.lexsort(keys.T[::-1])
    changed = np.zeros(len(keys), np.int64)
    changed[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    codes = np.empty(len(keys), np.int64)
    codes[order] = np.cumsum(changed)
    return codes
