"""The trees that spans form by naming their parents, as numbers in columns.

A *node* is a span id of a trace: rows that share one (Zipkin's two sides of a call) are one node. Of
several parents that they name the least id counts, so that the order of arrival does not. Senders may name
parents in a circle: the node of it with the least id stands as a root.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from agenttrace_core.schema.arrays import Bools, Int64s, UInt64s, whole
from agenttrace_core.schema.keys import mixed, text_hashes, unmixed, words_of_hex

_SEED = np.uint64(secrets.randbits(64))
"""Of this process alone: whoever chooses ids must not be able to choose keys that are equal to another's."""

_MOST = np.iinfo(np.uint64).max


@dataclass(frozen=True, slots=True)
class TreeKeys:
    """Of each row: 64-bit keys of its trace, span and parent, and the ids as numbers; of no parent 0.

    Keys are equal where project and ids are, within one process. Two that are not equal have the same
    key with the likelihood of any two random numbers of 64 bits.
    """

    trace: UInt64s
    own: UInt64s
    parent: UInt64s
    span_id: UInt64s
    parent_id: UInt64s

    @classmethod
    def of(cls, rows: pa.Table) -> TreeKeys:
        """Read them from rows with ``project``, ``trace_id``, ``span_id`` and ``parent_span_id``."""
        trace = trace_keys_of_rows(rows)
        span = words_of_hex(whole(rows["span_id"]), 8)[:, 0]
        named = whole(rows["parent_span_id"])
        parent = np.zeros(len(rows), np.uint64)
        parent[np.asarray(named.is_valid())] = words_of_hex(named.drop_null(), 8)[:, 0]
        return cls(trace, span_key(trace, span), np.where(parent == 0, 0, span_key(trace, parent)), span, parent)

    @classmethod
    def joined(cls, parts: Sequence[TreeKeys]) -> TreeKeys:
        """Return the keys of the rows of all parts, one after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    def where(self, chosen: Bools) -> TreeKeys:
        """Return the keys of some of the rows."""
        return TreeKeys(*(getattr(self, name)[chosen] for name in self.__slots__))


def trace_key(project: pa.ChunkedArray | pa.Array, hi: UInt64s, lo: UInt64s) -> UInt64s:
    """Return the keys of traces that are given as numbers."""
    return mixed(text_hashes(project) ^ mixed(hi ^ mixed(lo ^ _SEED)))


def trace_keys_of_rows(rows: pa.Table) -> UInt64s:
    """Return the keys of the traces that rows with ``project`` and ``trace_id`` are of."""
    ids = words_of_hex(whole(rows["trace_id"]), 16)
    return trace_key(rows["project"], ids[:, 0], ids[:, 1])


def span_key(trace: UInt64s, span_id: UInt64s) -> UInt64s:
    """Return the keys of spans, given their traces' keys."""
    return mixed(trace ^ span_id)


def span_id_of(trace: UInt64s, key: UInt64s) -> UInt64s:
    """Return the span ids that have given keys. The inverse of ``span_key``."""
    return unmixed(key) ^ trace


@dataclass(frozen=True, slots=True)
class Forest:
    """The nodes of some whole traces.

    Attributes:
        keys: of the nodes, ascending.
        node: of each row.
        parent: of each node, -1 where there is none among these.
        parent_key: of each node, also of a parent that is not there; 0 for a root.
        parent_id: the same as a span id.
    """

    keys: UInt64s
    node: Int64s
    parent: Int64s
    parent_key: UInt64s
    parent_id: UInt64s

    @classmethod
    def of(cls, rows: TreeKeys) -> Forest:
        """Grow it from all rows of the traces."""
        keys, first, node = np.unique(rows.own, return_index=True, return_inverse=True)
        if len(keys) < len(node):
            first = _first_by(node, np.where(rows.parent == 0, _MOST, rows.parent_id))
        parent_key, parent_id = rows.parent[first], rows.parent_id[first]
        named = place_of(keys, parent_key)
        parent = cut_circles(named, rows.span_id[first])
        is_cut = (parent < 0) & (named >= 0)
        return cls(keys, node, parent, np.where(is_cut, 0, parent_key), np.where(is_cut, 0, parent_id))

    def of_nodes(self, rows: Bools) -> Bools:
        """Mark the nodes of which a row is marked."""
        marked = np.zeros(len(self.keys), np.bool_)
        marked[self.node[rows]] = True
        return marked


def above(parent: Int64s, marked: Bools) -> Bools:
    """Mark the nodes below which, at any depth, a marked node is."""
    found = np.zeros(len(parent), np.bool_)
    frontier = np.flatnonzero(marked)
    while len(frontier):
        up = parent[frontier]
        up = up[up >= 0]
        up = up[~found[up]]
        found[up] = True
        frontier = np.unique(up)
    return found


def nearest(parent: Int64s, *values: Int64s) -> tuple[Int64s, tuple[Int64s, ...]]:
    """Return the top of each node's line, and of each of ``values`` its own or its nearest ancestor's (-1 is none).

    Lines double in length at each step, so that the deepest of trees takes a few. ``parent`` has no circles.
    """
    found = tuple(value.copy() for value in values)
    top, jump = np.arange(len(parent)), parent.copy()
    rising = np.flatnonzero(jump >= 0)
    while len(rising):
        to = jump[rising]
        # What is read must be what was there before this step.
        for value, there in [(value, value[to]) for value in found]:
            own = value[rising]
            value[rising] = np.where(own < 0, there, own)
        top[rising], jump[rising] = top[to], jump[to]
        rising = rising[jump[rising] >= 0]
    return top, found


def place_of(ascending: UInt64s, keys: UInt64s) -> Int64s:
    """Return where each key is, -1 where it is not."""
    if len(ascending) == 0:
        return np.full(len(keys), -1, np.int64)
    place = np.minimum(ascending.searchsorted(keys), len(ascending) - 1)
    return np.where(ascending[place] == keys, place, -1)


def _first_by(group: Int64s, rank: np.ndarray[Any, Any]) -> Int64s:
    """Return of each group (0, 1, …) the row of the least rank."""
    order = np.lexsort((rank, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return order[starts]


def circling(parent: Int64s) -> Int64s:
    """Return the nodes that are their own ancestors."""
    jump = parent
    for _ in range(len(parent).bit_length()):
        if (jump < 0).all():
            return np.zeros(0, np.int64)
        jump = np.where(jump >= 0, jump[jump], -1)
    # After more steps than there are nodes, whoever has not come to an end is in a circle.
    found: Int64s = np.unique(jump[jump >= 0])
    return found


def cut_circles(parent: Int64s, span_id: UInt64s) -> Int64s:
    """Return ``parent`` without circles: the node of the least id in each has no parent."""
    circle = circling(parent)
    if len(circle) == 0:
        return parent
    least, jump = span_id.copy(), parent
    for _ in range(len(parent).bit_length()):
        least[circle] = np.minimum(least[circle], least[jump[circle]])
        jump = np.where(jump >= 0, jump[jump], -1)
    cut = parent.copy()
    cut[circle[least[circle] == span_id[circle]]] = -1
    return cut
