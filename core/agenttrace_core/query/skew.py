"""Clocks that disagree: seen where a call begins before it was made, and corrected in what is shown.

What a client's span and the server's below it can tell is that the server's lies within the client's.
Where it does not, the server's clock is taken to be off by as much as puts it into the middle, and
with it all of that service's spans below, as Jaeger's query service does (``model/adjuster/clockskew.go``).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from agenttrace_core.query.settle import effective_start
from agenttrace_core.query.shape import TraceShape
from agenttrace_core.schema.arrays import Bools, Int64s, whole

SKEW_COLUMNS = ("service", "kind", "start_ns", "duration_ns")
"""What of ``LIGHT`` the skew is read from."""


def clock_skew(rows: pa.Table, shape: TraceShape) -> Int64s:
    """Return how many nanoseconds to add to each row's start so that no call begins before it was made."""
    skew = np.zeros(len(rows), np.int64)
    crosses = _crosses(rows, shape)
    if not crosses.any():
        return skew
    start = effective_start(rows)
    has_duration = np.asarray(whole(rows["duration_ns"]).is_valid())
    duration = np.maximum(whole(rows["duration_ns"]).fill_null(0).to_numpy(), 0)
    waits = has_duration & _pairs(rows, shape)
    waits &= has_duration[shape.parent] & (duration <= duration[shape.parent])
    heads = _heads(shape, crosses)
    # Each correction builds on those above it. There are as many as there are calls between services.
    entered = np.flatnonzero(crosses)
    for row in entered[np.argsort(shape.place[entered])].tolist():
        above = int(shape.parent[row])
        called = int(start[above] + skew[heads[above]])
        room = int(duration[above] - duration[row]) if waits[row] else None
        skew[row] = _correction(int(start[row]) - called, room)
    corrected: Int64s = skew[heads]
    return corrected


def _correction(after: int, room: int | None) -> int:
    """Return what puts a call into its caller.

    Args:
        after: how long after its caller it began.
        room: how much longer its caller ran; None if the caller need not have waited for it.
    """
    if after >= 0 and (room is None or after <= room):
        return 0
    return (room or 0) // 2 - after


def _crosses(rows: pa.Table, shape: TraceShape) -> Bools:
    """Mark the rows that another service than their parent's sent, and that have a start."""
    service = whole(rows["service"])
    encoded = service if pa.types.is_dictionary(service.type) else service.dictionary_encode()
    code = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    known = np.asarray(whole(rows["start_ns"]).is_valid())
    above = shape.parent
    crosses: Bools = (above >= 0) & known & known[above] & (code >= 0) & (code[above] >= 0) & (code != code[above])
    return crosses


def _pairs(rows: pa.Table, shape: TraceShape) -> Bools:
    """Mark a server's side right below a client's."""
    kind = whole(rows["kind"])
    server = np.asarray(pc.equal(kind, pa.scalar("server", pa.string())))
    client = np.asarray(pc.equal(kind, pa.scalar("client", pa.string())))
    pairs: Bools = server & (shape.parent >= 0) & client[shape.parent]
    return pairs


def _heads(shape: TraceShape, crosses: Bools) -> Int64s:
    """Return, for each row, the row above it (or itself) with which its service was entered, or the top."""
    jump = np.where(crosses | (shape.parent < 0), np.arange(len(crosses)), shape.parent)
    for _ in range(len(jump).bit_length()):
        jump = jump[jump]
    return jump
