"""Places of spans in the order of a trace, for cursors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from agenttrace_core.errors import InvalidInputError
from agenttrace_core.query.settle import effective_start
from agenttrace_core.schema.keys import words_of_hex


def place_of(rows: pa.Table, row: int) -> tuple[int | str, ...]:
    """Return the place of a row of a settled trace: start, span id, and which it is of those that share both."""
    start, span_id = effective_start(rows), rows["span_id"]
    at, own = int(start[row]), str(span_id[row].as_py())
    same = 1
    while same <= row and int(start[row - same]) == at and span_id[row - same].as_py() == own:
        same += 1
    return at, own, same


def row_at(rows: pa.Table, place: Sequence[int | str]) -> int:
    """Return the row at a place; where it is gone, the last before it.

    Raises:
        InvalidInputError: that is no place of a span.
    """
    try:
        at, span_id, which = place
        word = words_of_hex(pa.array([span_id]), 8)[0, 0]
    except (ValueError, pa.ArrowInvalid) as error:
        raise InvalidInputError("the cursor is not one of a trace") from error
    start = effective_start(rows)
    left, right = int(np.searchsorted(start, at)), int(np.searchsorted(start, at, side="right"))
    tied = words_of_hex(rows["span_id"].slice(left, right - left).combine_chunks(), 8)[:, 0]
    first, end = left + int(tied.searchsorted(word)), left + int(tied.searchsorted(word, side="right"))
    return max(0, min(first + int(which), end) - 1)
