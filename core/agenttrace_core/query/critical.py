"""The critical path: what to make faster so that the whole trace gets faster.

Read backwards from the root's end: at each moment the span counts that the one above it waited for
last, as in CRISP (Zhang et al., USENIX ATC 2022). What is left between is the time of the span above itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from agenttrace_core.query.settle import effective_start
from agenttrace_core.query.shape import TraceShape
from agenttrace_core.schema.arrays import Int64s, whole


def critical_path(rows: pa.Table, shape: TraceShape, skew: Int64s) -> tuple[Int64s, Int64s]:
    """Return the rows on the critical path of the trace's first root, in tree order, and the time of each by itself.

    The times add up to the root's duration. Both are empty where there is no root that has ended.
    """
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
    tops = np.flatnonzero((shape.parent < 0) & ~shape.orphan)
    ended = np.asarray(whole(rows["duration_ns"]).is_valid())
    if len(tops) == 0 or not ended[tops[0]]:
        return nothing
    start = effective_start(rows) + skew
    end = start + np.maximum(whole(rows["duration_ns"]).fill_null(0).to_numpy(), 0)
    own = _walk_back(int(tops[0]), start, np.where(ended, end, start), shape)
    found = np.flatnonzero(own >= 0)
    found = found[np.argsort(shape.place[found])]
    return found, own[found]


def _walk_back(root: int, start: Int64s, end: Int64s, shape: TraceShape) -> Int64s:
    """Return each row's own time on the path, -1 off it.

    A stack of (row, up to when its time is not told yet, from when it is to be told, the children that are left).
    """
    own = np.full(len(start), -1, np.int64)
    children = _Children(shape, end)
    starts, ends = start.tolist(), end.tolist()
    own[root] = 0
    stack = [(root, ends[root], starts[root], children.of(root))]
    while stack:
        row, at, begin, left = stack.pop()
        child = next((c for c in left if starts[c] < at and ends[c] > begin and ends[c] > starts[c]), None)
        if child is None:
            own[row] += max(0, at - begin)
            continue
        until, since = min(ends[child], at), max(starts[child], begin)
        own[row] += at - until
        own[child] = 0
        stack.extend([(row, since, begin, left), (child, until, since, children.of(child))])
    return own


class _Children:
    """Each row's children, the last to end first."""

    def __init__(self, shape: TraceShape, end: Int64s) -> None:
        order = np.lexsort((-end, shape.parent))
        self._rows = order
        self._bounds = np.searchsorted(shape.parent[order], np.arange(len(end) + 1))

    def of(self, row: int) -> Iterator[int]:
        """Iterate over the children of ``row``. Each is asked for once: time on the path only runs backwards."""
        return iter(self._rows[self._bounds[row] : self._bounds[row + 1]].tolist())
