"""Rows in the order in which they arrived: by partition, offset of their record, and position in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from agenttrace_core.schema.arrays import Bools, Int64s, numbers

ARRIVAL = ("partition", "offset", "position")
"""The columns of ``LIGHT`` that say when a row arrived."""


def is_new(rows: pa.Table, since: Mapping[int, int], offset_base: int = 0) -> Bools:
    """Return which rows are of records at or after ``since``: by partition, the offset of the first that is new.

    Everything is new of a partition that ``since`` does not name. ``offset_base`` is that of the snapshot: rows
    below it came to this catalog otherwise, and are never new.
    """
    partition, offset = numbers(rows, "partition"), numbers(rows, "offset") - offset_base
    new = offset >= 0
    for each, place in since.items():
        new &= (partition != each) | (offset >= place)
    return new


def first_arrived(rows: pa.Table, limit: int) -> Int64s:
    """Return the numbers of the rows that arrived first, in order: ``limit``, and the rest of the last one's record.

    ``rows`` has the columns ``ARRIVAL``.
    """
    partition, offset, position = (numbers(rows, name) for name in ARRIVAL)
    order: Int64s = np.lexsort((position, offset, partition))
    if len(order) <= limit:
        return order
    last = order[limit - 1]
    end = limit
    while end < len(order) and partition[order[end]] == partition[last] and offset[order[end]] == offset[last]:
        end += 1
    return order[:end]


def place_after(
    rows: pa.Table, since: Mapping[int, int], readable: Mapping[int, int], *, whole: bool, offset_base: int = 0
) -> dict[int, int]:
    """Return where to go on after ``rows``, which arrived after ``since``.

    Args:
        rows: in order of arrival, with the columns ``ARRIVAL``.
        since: where they were read from.
        readable: by partition, where what was readable then ends.
        whole: whether ``rows`` are all that had arrived. Else partitions after the last row's are untouched.
        offset_base: that of the snapshot.
    """
    place = dict(since)
    last = (int(rows["partition"][-1].as_py()), int(rows["offset"][-1].as_py())) if len(rows) else None
    for partition, end in readable.items():
        if whole or last is None or partition < last[0]:
            place[partition] = max(end, since.get(partition, 0))
    if last is not None and not whole:
        place[last[0]] = last[1] + 1 - offset_base
    return place
