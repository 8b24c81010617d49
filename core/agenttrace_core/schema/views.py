"""Long values in another order, without a copy: what moves is where each lies and how long it is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.keys import numbers_of

_WORDS = 2
"""Of 64 bits: https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-view-layout"""


def binary_views(column: pa.ChunkedArray) -> pa.Array:
    """Return a binary column as views into its chunks."""
    pieces = [chunk.cast(pa.binary_view()) for chunk in column.chunks]
    return pa.concat_arrays(pieces or [pa.array([], pa.binary_view())])


def taken_views(views: pa.Array, order: Int64s) -> pa.Array:
    """Return views in another order, which pyarrow itself does not do.

    They are all that ``binary_views`` made, none of them null.
    """
    _, words, *data = views.buffers()
    taken = numbers_of(words, np.uint64).reshape(-1, _WORDS)[order]
    return pa.Array.from_buffers(views.type, len(order), [None, pa.py_buffer(taken), *data])
