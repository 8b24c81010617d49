"""The shape of one trace as a reader sees it: which row hangs under which, and the order in which to show them.

Traces come broken: parents that are missing, spans that are each other's ancestors, one id twice, chains
as long as the trace. Every row has one place all the same, and nothing recurses: a tree of any form is
walked by doubling steps, in time that grows with its rows times their logarithm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.query.settle import orphans
from agenttrace_core.schema.arrays import Bools, Int64s, UInt64s, whole
from agenttrace_core.schema.keys import words_of_hex

SHAPE_COLUMNS = ("span_id", "parent_span_id", "kind", "service")
"""What of ``LIGHT`` the shape is read from."""


@dataclass(frozen=True, slots=True)
class TraceShape:
    """How the rows of one trace, settled and in order, hang together. Every array has an item a row.

    Attributes:
        parent: the row above, -1 for a top: a root, an orphan, or the earliest of a circle.
        order: the rows in tree order: parents before children, siblings as the rows are ordered.
        place: where each row is in ``order``; what is below it takes the next ``descendants`` places.
        depth: 0 for a top.
        children: how many rows are right below.
        descendants: how many are below at any depth.
        orphan: its parent is named, and not there.
    """

    parent: Int64s
    order: Int64s
    place: Int64s
    depth: Int64s
    children: Int64s
    descendants: Int64s
    orphan: Bools

    @classmethod
    def of(cls, rows: pa.Table) -> TraceShape:
        """Find the shape of rows that hold ``SHAPE_COLUMNS``."""
        parent = cut_circles(_parents(rows))
        count = len(parent)
        enter, leave = walk(parent)
        level = np.full(2 * count, -1, np.int64)
        level[enter] = 1
        order = np.argsort(enter)
        place = np.empty(count, np.int64)
        place[order] = np.arange(count)
        return cls(
            parent=parent,
            order=order,
            place=place,
            depth=np.cumsum(level)[enter] - 1,
            children=np.bincount(parent[parent >= 0], minlength=count),
            descendants=(leave - enter) // 2,
            orphan=orphans(rows),
        )

    def tops(self, marked: Bools) -> Int64s:
        """Return, for each marked row, the highest that is reached over marked rows alone; for others themselves."""
        jump = self.above(marked)
        for _ in range(len(jump).bit_length()):
            jump = jump[jump]
        return jump

    def above(self, marked: Bools) -> Int64s:
        """Return, for each marked row whose parent is marked, that parent; for others themselves."""
        rises = marked & (self.parent >= 0) & marked[self.parent]
        return np.where(rises, self.parent, np.arange(len(self.parent)))


def walk(parent: Int64s) -> tuple[Int64s, Int64s]:
    """Return when each row is entered and left on a walk over all trees, children in the order of their numbers.

    The walk is a list of ``2 * len(parent)`` steps of which each knows the next; its order is found by pointer
    jumping (Wyllie, 1979). ``parent`` has no circles.
    """
    count = len(parent)
    if count == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    grouped = np.lexsort((np.arange(count), parent))
    is_sibling = np.diff(parent[grouped]) == 0
    first_child = np.full(count, -1, np.int64)
    begins = np.flatnonzero(np.concatenate([[True], ~is_sibling]))
    heads = grouped[begins]
    first_child[parent[heads[parent[heads] >= 0]]] = heads[parent[heads] >= 0]
    sibling = np.full(count, -1, np.int64)
    sibling[grouped[:-1][is_sibling]] = grouped[1:][is_sibling]
    # Step 2v enters v, step 2v + 1 leaves it, and the last of all is where every pointer ends.
    steps, end = np.arange(count), 2 * count
    following = np.empty(2 * count + 1, np.int64)
    following[0:-1:2] = np.where(first_child >= 0, 2 * first_child, 2 * steps + 1)
    up = np.where(parent >= 0, 2 * parent + 1, end)
    following[1:-1:2] = np.where(sibling >= 0, 2 * sibling, up)
    following[end] = end
    left = np.ones(2 * count + 1, np.int64)
    left[end] = 0
    for _ in range((2 * count).bit_length()):
        left += left[following]
        following = following[following]
    at = end - left
    return at[0:-1:2], at[1:-1:2]


def cut_circles(parent: Int64s) -> Int64s:
    """Return ``parent`` without circles: the first row of each is a top."""
    circling = _circling(parent)
    if len(circling) == 0:
        return parent
    least, jump = np.arange(len(parent)), parent
    for _ in range(len(parent).bit_length()):
        least[circling] = np.minimum(least[circling], least[jump[circling]])
        jump = np.where(jump >= 0, jump[jump], -1)
    cut = parent.copy()
    cut[circling[least[circling] == circling]] = -1
    return cut


def _circling(parent: Int64s) -> Int64s:
    """Return the rows that are their own ancestors."""
    jump = parent
    for _ in range(len(parent).bit_length()):
        if (jump < 0).all():
            return np.zeros(0, np.int64)
        jump = np.where(jump >= 0, jump[jump], -1)
    # After more steps than there are rows, whoever has not come to an end goes round.
    circling: Int64s = np.unique(jump[jump >= 0])
    return circling


def _parents(rows: pa.Table) -> Int64s:
    ids = words_of_hex(whole(rows["span_id"]), 8)[:, 0]
    named = whole(rows["parent_span_id"])
    has_parent = np.asarray(named.is_valid())
    wanted = np.zeros(len(ids), np.uint64)
    if has_parent.any():
        wanted[has_parent] = words_of_hex(named.drop_null() if named.null_count else named, 8)[:, 0]
    by_id = np.argsort(ids, kind="stable")
    place = np.minimum(np.searchsorted(ids[by_id], wanted), len(ids) - 1)
    parent = np.where(has_parent & (ids[by_id][place] == wanted), by_id[place], -1)
    if (np.diff(ids[by_id]) == 0).any():
        parent = _among_shared(rows, ids, wanted, parent)
    parent[parent == np.arange(len(ids))] = -1
    return parent


def _among_shared(rows: pa.Table, ids: UInt64s, wanted: UInt64s, parent: Int64s) -> Int64s:
    """Choose among parents of one id: that of the child's own service, else the server's side, else the first.

    Of a span that client and server share (Zipkin's), the server's side hangs under the client's.
    """
    count = len(ids)
    service = whole(rows["service"].combine_chunks()).dictionary_encode(null_encoding="encode").indices
    service_code = service.to_numpy(zero_copy_only=False).astype(np.int64)
    is_server, is_client = _is(rows, "server"), _is(rows, "client")
    distinct, number = np.unique(ids, return_inverse=True)
    has = parent >= 0
    goal = np.searchsorted(distinct, wanted)
    best = _last_of_each(number, len(distinct), np.lexsort((-np.arange(count), is_server, number)))
    parent = np.where(has, best[np.minimum(goal, len(distinct) - 1)], -1)
    own_key = number * (count + 1) + service_code
    by_key = np.lexsort((is_server, own_key))
    goal_key = goal * (count + 1) + service_code
    at = np.searchsorted(own_key[by_key], goal_key, side="right") - 1
    same = has & (at >= 0) & (own_key[by_key][np.maximum(at, 0)] == goal_key)
    same &= by_key[np.maximum(at, 0)] != np.arange(count)
    parent[same] = by_key[at[same]]
    clients = _last_of_each(number, len(distinct), np.flatnonzero(is_client)[::-1])
    client = clients[number]
    shared = is_server & (client >= 0) & ((wanted == wanted[client]) | (wanted == ids))
    parent[shared] = client[shared]
    return parent


def _last_of_each(number: Int64s, groups: int, rows: Int64s) -> Int64s:
    """Return, for each group, its row that comes last among ``rows``; -1 where none does."""
    last = np.full(groups, -1, np.int64)
    last[number[rows]] = rows
    return last


def _is(rows: pa.Table, kind: str) -> Bools:
    return np.asarray(pc.equal(whole(rows["kind"]), pa.scalar(kind, pa.string())))
