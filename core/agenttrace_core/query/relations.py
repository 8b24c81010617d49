"""Which traces have spans that stand in a relation: paths of spans, found step by step over the rows of many traces.

What counts of a path is only where it may have come to: the rows that end one. Each step maps that set
to the next, in time that grows with the rows (times their logarithm), whatever the shape of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from agenttrace_core.model.algebra import Field, Related, Relation, SpanPredicate
from agenttrace_core.query.settle import effective_start
from agenttrace_core.query.tree import Forest, TreeKeys
from agenttrace_core.query.values import keys_of
from agenttrace_core.schema.arrays import Bools, Int64s, whole

RELATION_COLUMNS = ("project", "trace_id", "span_id", "parent_span_id", "start_ns", "received_ns", "duration_ns")
"""What of ``LIGHT`` relations are read from, beside the fields that are to agree."""

_NEVER = np.iinfo(np.int64).max


class Family:
    """How the spans of some traces stand to one another.

    Rows that share a span id (Zipkin's two sides of a call) are one place in the tree.

    Args:
        rows: all light rows of whole traces, with ``RELATION_COLUMNS``.
    """

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        keys = TreeKeys.of(rows)
        self._trace = np.unique(keys.trace, return_inverse=True)[1]
        forest = Forest.of(keys)
        self._parents = forest.parent
        self._node = forest.node
        self._parent = forest.parent[self._node]
        self._named = forest.parent_key[self._node]
        self._start = effective_start(rows)
        self._end = _ends(rows, self._start)

    def ends_of(self, path: Related, satisfied: Callable[[SpanPredicate], Bools]) -> Bools:
        """Return the rows at which a path ends. ``satisfied`` says which rows satisfy a span predicate."""
        reached = satisfied(path.first)
        for step in path.steps:
            group = self._agreeing(step.same)
            can = np.flatnonzero(group >= 0)
            found = np.zeros(len(reached), np.bool_)
            found[can] = self._stand(step.relation, can[reached[can]], can, group)
            reached = found & satisfied(step.span)
        return reached

    def _agreeing(self, same: Sequence[Field]) -> Int64s:
        """Number the rows by trace and the values of fields: those of one number agree. -1 where a value is missing."""
        if not same:
            return self._trace
        columns = [keys_of(self._rows, field).dictionary_encode().indices for field in same]
        codes = np.column_stack([self._trace, *(column.fill_null(-1).to_numpy() for column in columns)])
        return np.where((codes < 0).any(axis=1), -1, _codes(codes))

    def _stand(self, relation: Relation, of: Int64s, rows: Int64s, group: Int64s) -> Bools:
        """Return which ``rows`` stand so to one of the rows ``of`` that agrees with them."""
        match relation:
            case Relation.CHILD:
                pairs = _codes(
                    np.concatenate([self._pairs(self._node, of, group), self._pairs(self._parent, rows, group)])
                )
                return np.isin(pairs[len(of) :], pairs[: len(of)])
            case Relation.DESCENDANT:
                return self._below(of, rows, group)
            case Relation.SIBLING:
                return self._beside(of, rows, group)
            case Relation.LATER:
                return self._after(of, rows, group)

    def _pairs(self, place: Int64s, rows: Int64s, group: Int64s) -> np.ndarray[Any, Any]:
        return np.column_stack([place[rows], group[rows]])

    def _below(self, of: Int64s, rows: Int64s, group: Int64s) -> Bools:
        """Say which are entered, in a walk over the trees, before one that agrees and was entered earlier is left.

        What a walk enters and leaves are intervals that nest: of all entered before, the latest to be left tells it.
        """
        if not len(of):
            return np.zeros(len(rows), np.bool_)
        enter, leave = walk(self._parents)
        base = group * (2 * len(enter) + 2)
        entered = base[of] + enter[self._node[of]]
        order = np.argsort(entered)
        open_until = np.maximum.accumulate((base[of] + leave[self._node[of]])[order])
        sought = base[rows] + enter[self._node[rows]]
        before = np.searchsorted(entered[order], sought) - 1
        found: Bools = (before >= 0) & (open_until[before] > sought)
        return found

    def _beside(self, of: Int64s, rows: Int64s, group: Int64s) -> Bools:
        """Say which have a sibling among ``of``: of the least and the greatest with their parent, one is another."""
        both = np.concatenate([of, rows])
        families = _codes(np.column_stack([self._named[both], group[both].astype(np.uint64)]))
        least = np.full(len(both), _NEVER)
        most = np.full(len(both), -1)
        np.minimum.at(least, families[: len(of)], self._node[of])
        np.maximum.at(most, families[: len(of)], self._node[of])
        own, mine = families[len(of) :], self._node[rows]
        found: Bools = (self._named[rows] != 0) & (most[own] >= 0) & ((least[own] != mine) | (most[own] != mine))
        return found

    def _after(self, of: Int64s, rows: Int64s, group: Int64s) -> Bools:
        """Say which start at or after the end of another: of a group's two earliest ends, one is another's."""
        of = of[self._end[of] != _NEVER]
        of = of[np.lexsort((self._end[of], group[of]))]
        first = np.ones(len(of), np.bool_)
        first[1:] = group[of[1:]] != group[of[:-1]]
        second = np.zeros(len(of), np.bool_)
        second[1:] = first[:-1] & ~first[1:]
        size = int(group.max(initial=-1)) + 1
        earliest, owner, following = np.full(size, _NEVER), np.full(size, -1), np.full(size, _NEVER)
        earliest[group[of[first]]], owner[group[of[first]]] = self._end[of[first]], of[first]
        following[group[of[second]]] = self._end[of[second]]
        bound = np.where(owner[group[rows]] == rows, following[group[rows]], earliest[group[rows]])
        found: Bools = (self._start[rows] >= bound) & (bound != _NEVER)
        return found


def walk(parent: Int64s) -> tuple[Int64s, Int64s]:
    """Return when a walk over all trees, depth first, enters and leaves each node.

    An Euler tour, whose places are found by pointers that double their reach (Tarjan and Vishkin, 1985):
    a tree of any depth takes as many rounds as the logarithm of its size.
    """
    size = len(parent)
    order = np.lexsort((np.arange(size), parent))
    is_next = np.zeros(size, np.bool_)
    is_next[1:] = parent[order[1:]] == parent[order[:-1]]
    # Entering a node is event i, leaving it is event size + i, and the end of the walk is event 2 * size.
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
    place = to_go.max(initial=0) - to_go
    return place[:size] + 1, place[size : 2 * size] + 1


def _ends(rows: pa.Table, start: Int64s) -> Int64s:
    """Return when each row ended, within what 64 bits hold whatever a sender claims; ``_NEVER`` if it has not."""
    duration = whole(rows["duration_ns"])
    length = duration.fill_null(0).to_numpy()
    about = start.astype(np.float64) + length
    end = np.where(np.abs(about) < 9e18, start + length, np.clip(about, -9e18, 9e18).astype(np.int64))
    return np.where(np.asarray(duration.is_valid()), end, _NEVER)


def _codes(keys: np.ndarray[Any, Any]) -> Int64s:
    """Number rows of keys by their order: equal rows have equal numbers."""
    if not len(keys):
        return np.zeros(0, np.int64)
    order = np.lexsort(keys.T[::-1])
    changed = np.zeros(len(keys), np.int64)
    changed[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    codes = np.empty(len(keys), np.int64)
    codes[order] = np.cumsum(changed)
    return codes
