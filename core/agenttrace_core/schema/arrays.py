"""Columns as one array, and as numbers: the step from Arrow to numpy that every computation begins with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Int32s = np.ndarray[Any, np.dtype[np.int32]]
Int64s = np.ndarray[Any, np.dtype[np.int64]]
UInt64s = np.ndarray[Any, np.dtype[np.uint64]]


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array, without a copy where it is one already."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def numbers(table: pa.Table, name: str) -> np.ndarray[Any, Any]:
    """Return a column of numbers that has no nulls."""
    found: np.ndarray[Any, Any] = whole(table[name]).to_numpy()
    return found
