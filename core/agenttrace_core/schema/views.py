"""Long values in another order, without a copy: what moves is where each lies and how long it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from agenttrace_core.schema.arrays import Int64s
from agenttrace_core.schema.keys import numbers_of

_VIEW_BYTES = 16
"""See https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-view-layout."""


@dataclass(frozen=True, slots=True)
class Views:
    """Where each of some values lies, and the buffers that they lie in."""

    places: np.ndarray[Any, np.dtype[np.void]]
    data: Sequence[pa.Buffer | None]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Views:
        """Look at a binary column without nulls."""
        pieces = [chunk.cast(pa.binary_view()) for chunk in column.chunks]
        views = pa.concat_arrays(pieces or [pa.array([], pa.binary_view())])
        _, places, *data = views.buffers()
        # As one item of 16 bytes each; as two of 8 numpy would take a hundred times as long to reorder them.
        return cls(numbers_of(places, np.uint8).view(f"V{_VIEW_BYTES}"), data)

    def take(self, order: Int64s) -> pa.Array:
        """Return the values in another order, which pyarrow itself does not do."""
        places = pa.py_buffer(self.places.take(order))
        return pa.Array.from_buffers(pa.binary_view(), len(order), [None, places, *self.data])
